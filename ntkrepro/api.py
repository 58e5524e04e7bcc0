"""The library: what `import ntkrepro` promises (docs/api.md), by the functions of the command line.

A network is a pure function apply(params, x): params any pytree of real numbers, x [n, ...] ->
outputs [n, k], or [n] where there is one, each of its own example alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ntkrepro.config.keys import KEYS
from ntkrepro.config.schema import Optimizer
from ntkrepro.errors import RunFailed, UserError, first_line, nearest
from ntkrepro.figures import asked, custom, fits, gather, panels
from ntkrepro.figures import grid as drawn
from ntkrepro.networks import own
from ntkrepro.networks.own import Custom
from ntkrepro.programs import function_space, leaping
from ntkrepro.programs.setup import FUNCTION_SPACE
from ntkrepro.records import archive, store, tables
from ntkrepro.records.store import Record
from ntkrepro.records.summary import summary
from ntkrepro.sweep import in_memory
from ntkrepro.theory import dynamics
from ntkrepro.theory import linearize as taylor
from ntkrepro.theory import predict as following
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.kernels.analytic import ANALYTIC, Kernels
from ntkrepro.theory.leaps import Rule
from ntkrepro.theory.losses import LOSSES
from ntkrepro.training import leaps, loop

Apply = Callable[[Any, Any], Any]
LEAPS = Optimizer()  # its tolerance and floor


def linearize(apply: Apply, params0: Any) -> Apply:
    """f(params, x) = f_0(x) + grad f_0(x) (params - params0), f_0 = apply(params0, .) (Eq. 6).

    Its outputs are shaped as `apply`'s; params is a pytree like params0. It can be differentiated
    and compiled. Raises UserError where the pytrees aren't alike.

    >>> f = linearize(lambda w, x: x @ w**3, jnp.array([1.0, 2.0]))
    >>> f(jnp.array([1.5, 2.0]), jnp.array([[1.0, 0.0]])).tolist()  # 1 + 3 * 0.5
    [2.5]
    """
    start = own.real(params0)
    moved = taylor.linearize(apply, start)

    def f(params: Any, x: Any) -> Any:
        trees: list[Any] = [jax.tree.structure(tree) for tree in (params, start)]
        if trees[0] != trees[1]:
            raise UserError(f"params: is {trees[0]}: must be a pytree like params0, {trees[1]}")
        return moved(jax.tree.map(lambda new, old: new - old, params, start), x)

    return f


def ntk(apply: Apply, params0: Any, x1: ArrayLike, x2: ArrayLike | None = None) -> jax.Array:
    """Empirical tangent kernel grad f(x1) grad f(x2)^T at params0 (Eq. 5), without any factor.

    x1 [n, ...], x2 [m, ...] (none: x1), taken as of the parameters' dtype -> [n, k, m, k], or
    [n, m] of a network with one output; .reshape(n k, m k) is the matrix. Raises UserError for
    parameters that aren't real numbers, and for outputs of another shape.

    >>> ntk(lambda w, x: x @ w, jnp.ones(2), np.array([[3.0, 4.0]])).tolist()  # x.x'
    [[25.0]]
    """
    params = own.real(params0)
    first = _inputs("x1", x1, params)
    second = None if x2 is None else _inputs("x2", x2, params)
    for x in (first, first if second is None else second):
        _refuse_outputs("apply", apply, params, x)
    with jax.default_matmul_precision("highest"):
        model, theta = _network(apply, params)
        kernel = empirical.ntk(model, theta, first, second)
    return kernel[:, 0, :, 0] if kernel.shape[1] == 1 else kernel


def nngp(
    features: Apply,
    params0: Any,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    w_var: float = 1.0,
    b_var: float = 0.0,
) -> jax.Array:
    """Empirical NNGP: covariance of the outputs over draws of the last layer alone (Eq. S29).

    features(params, x) -> [n, width] is what that layer is applied to, which no function of outputs
    can tell; its weights have the variance w_var / width and its biases b_var. x1 [n, ...], x2
    [m, ...] (none: x1) -> [n, m], w_var h.h' / width + b_var. Raises UserError as `ntk` does.

    >>> nngp(lambda params, x: x, 0.0, np.array([[3.0, 4.0]]), b_var=0.5).tolist()  # 25 / 2 + 0.5
    [[13.0]]
    """
    params, found = own.real(params0), []
    with jax.default_matmul_precision("highest"):
        for name, x in (("x1", x1), ("x2", x1 if x2 is None else x2)):
            given = _inputs(name, x, params)
            _refuse_outputs("features", features, params, given)
            found.append(features(params, given).reshape(len(given), -1))
        scale = ((w_var / found[0].shape[1]) ** 0.5, b_var**0.5)
        return empirical.inner(found[0], found[1], scale)


def analytic(
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    depth: int,
    activation: str | Callable[[jax.Array], jax.Array] = "relu",
    w_var: float = 2.0,
    b_var: float = 0.0,
    parametrization: str = "ntk",
    width: int | None = None,
) -> Kernels:
    """`nngp` and `ntk` of the infinitely wide fully connected network (Eq. S2-S6), both [n, m].

    x1 [n, ...], x2 [m, ...] (none: x1) are flattened to d inputs; `depth` hidden layers, whose
    weights have the variance w_var / fan-in and biases b_var. activation: relu, erf, tanh, gelu,
    identity or a smooth function of JAX's. parametrization="standard" (Eq. S32) needs `width`, as
    its tangent kernel grows with it. Of each of k outputs: times the identity over outputs. float64
    where an input is. Raises UserError for arguments that don't fit.

    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> analytic(x, depth=1).nngp.round(3).tolist()  # x.x'/d = 1/2; J_1 of a right angle is 1
    [[1.0, 0.318], [0.318, 1.0]]
    """
    inputs = [np.asarray(x) for x in ([x1] if x2 is None else [x1, x2])]
    if any(x.ndim < 2 for x in inputs):
        raise UserError(f"analytic: inputs are {[list(x.shape) for x in inputs]}: must be [n, ...]")
    given: dict[str, Any] = {"depth": depth, "w_var": w_var, "b_var": b_var, "width": width}
    given |= {"activation": activation, "parametrization": parametrization}
    try:
        found = ANALYTIC["fc"](*(x.reshape(len(x), -1) for x in inputs), **given)
    except (ValueError, KeyError) as error:
        raise UserError(f"analytic: {first_line(error)}") from error
    return Kernels(*map(np.asarray, found))


class Prediction(NamedTuple):
    """Outputs of a linearized network at each step: train [t, n, k] and test [t, m, k], float64,
    or [t, n] and [t, m] where y is [n]; no test where none was asked for."""

    train: np.ndarray
    test: np.ndarray | None = None


def predict(
    kernel: ArrayLike,
    y: ArrayLike,
    lr: float,
    steps: int | Sequence[int],
    momentum: float = 0.0,
    loss: str = "mse",
    *,
    flow: bool = False,
    f0: ArrayLike = 0.0,
    kernel_test: ArrayLike | None = None,
    f0_test: ArrayLike = 0.0,
) -> Prediction:
    """What gradient descent on a linearized network comes to, without training (Eq. 10-12, 20-26).

    kernel = Theta(X, X): [n, n], the same for each output, or [n, k, n, k]; kernel_test =
    Theta(x, X): [m, n] or [m, k, n, k]. y [n] or [n, k], and f0, f0_test the outputs at the start,
    shaped likewise. `steps` ascend from 0 on; a number is one step. Full batches, and losses as of
    the command line: mse is half the mean over examples and outputs of (f - y)^2, so that a step
    moves by lr / (n k) Theta (f - y); xent the mean over examples. flow: in continuous time, of
    lr * step. Raises UserError for what doesn't fit.

    >>> predict([[2.0]], [1.0], lr=0.25, steps=[0, 1, 2]).train.ravel().tolist()
    [0.0, 0.5, 0.75]
    """
    at, target = _steps(steps), _targets(y)
    _refuse_descent(loss, lr, momentum)
    n, k = target.reshape(len(target), -1).shape
    theta, start = _kernel("kernel", kernel, (n, k), n), _start("f0", f0, (n, k))
    by = following.Descent(lr, loss, momentum, flow)
    c = following.coefficients(theta, None, start, target.reshape(n, k), at, by)
    paths = [dynamics.outputs(start, theta, c)]
    if kernel_test is not None:
        theta = _kernel("kernel_test", kernel_test, (n, k))
        paths.append(dynamics.outputs(_start("f0_test", f0_test, (len(theta), k)), theta, c))
    paths = [path[..., 0] for path in paths] if target.ndim == 1 else paths
    return Prediction(*paths)


class Reached(NamedTuple):
    """Where a network that is trained by leaps is at a step: its parameters, a pytree like params0;
    how far its outputs are estimated to be off those of the steps themselves (rms); gradients'
    worth of passes that it took so far."""

    step: int
    params: Any
    error: float
    gradients: float


def leap(
    apply: Apply,
    params0: Any,
    x: ArrayLike,
    y: ArrayLike,
    lr: float,
    steps: int | Sequence[int],
    momentum: float = 0.0,
    loss: str = "mse",
    *,
    x_test: ArrayLike | None = None,
    tolerance: float = LEAPS.tolerance,
) -> Iterator[Reached]:
    """Train the network itself, by fewer gradients than steps (docs/leaps.md): a `Reached` at each
    of `steps`, which ascend from 0 on; a number is one step.

    Gradient descent on full batches, x [n, ...], y [n] or [n, k]; n k up to 4096. Losses, lr and
    momentum as in `predict`. A leap's outputs, at the first points of x and of x_test [m, ...], are
    off by no more than about `tolerance` times the network's distance from its linearization at
    params0. Raises UserError for what doesn't fit, RunFailed where training diverges.

    >>> x, y, w = np.array([[1.0], [2.0]]), np.array([1.0, -1.0]), jnp.array([0.5])
    >>> last, = leap(lambda w, x: jnp.tanh(x @ w), w, x, y, lr=0.1, steps=200)
    >>> round(float(last.params[0]), 3), last.gradients < 200
    (-0.182, True)
    """
    at, params = _steps(steps), own.real(params0)
    _refuse_descent(loss, lr, momentum)
    if not 0 < tolerance < np.inf:
        raise UserError(f"tolerance={tolerance}: must be above 0 and finite")
    train, target = _inputs("x", x, params), _targets(y)
    test = train[:0] if x_test is None else _inputs("x_test", x_test, params)
    shape = _refuse_outputs("apply", apply, params, train)
    if target.reshape(len(target), -1).shape != (len(train), (*shape, 1)[1]):
        raise UserError(f"y is {list(target.shape)}: must be {list(shape)}, as apply(params0, x)")
    if target.size > FUNCTION_SPACE:
        raise UserError(f"y is {list(target.shape)}: leaps take n k up to {FUNCTION_SPACE}")
    rule = Rule(LOSSES[loss], 1.0, lr, momentum)
    return _leaps(
        apply, params, (train, target.reshape(len(target), -1), test), rule, at, tolerance
    )


class Comparison:
    """A network's training beside that of its linearization, as `compare` saw it."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __repr__(self) -> str:
        """What `ntkrepro run` prints: loss, accuracy and RMSE at the end, and the rate."""
        return summary(self._record)

    @property
    def frame(self) -> pd.DataFrame:
        """Rows of the record: step, time (lr * step), model, quantity, split, index, value.

        Which there are: docs/records.md. `network` is the one, `ntk_empirical` its linearization
        by the tangent kernel at params0, `linearized` the same where it was trained.
        """
        return self._record.rows.copy()

    @property
    def config(self) -> dict[str, Any]:
        """Every key of the run (docs/keys.md)."""
        return self._record.config

    @property
    def lr(self) -> float:
        """The learning rate, set or measured."""
        return self._record.lr

    def plot(self) -> Figure:
        """The panes of Figure 4: outputs, single weights, loss, accuracy, RMSE over time.

        A figure of matplotlib's, of no backend: savefig, or let a notebook show it. Raises
        UserError for a run that diverged, or was made without what a pane shows.
        """
        with mpl.rc_context():
            picture = custom.FIGURE.draw(self._shown())
            panels.caption(picture, "")
        return picture

    def claims(self) -> pd.DataFrame:
        """What Figure 4 of the paper says of wide networks, asked of this one at its width.

        A row a claim: verdict (follows, doesn't follow, inconclusive), value, its 95 % interval
        low to high over test points or weights, and what it had to be. Raises as `plot` does.
        """
        found = custom.FIGURE.claims(self._shown())
        rows = [
            (c.id, c.word, c.value, *c.interval, c.threshold, c.statement, c.source) for c in found
        ]
        names = ("claim", "verdict", "value", "low", "high", "holds_when", "statement", "source")
        return pd.DataFrame(rows, columns=names).set_index("claim")

    def _shown(self) -> dict[str, list[Record]]:
        """The record as `ntkrepro figures custom` reads it."""
        fits.refuse_diverged("custom", custom.FIGURE, self._record)
        fits.refuse_unfit("custom", custom.FIGURE.needs, self._record)
        record = self._record._replace(config=gather.whole(self._record.config))
        return {name: [record] for name in custom.FIGURE.experiments}


def compare(
    network: Any,
    data: Any,
    *,
    loss: str = "mse",
    lr: float | None = None,
    steps: int = 1024,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    batch: int | None = None,
    seed: int = 0,
    precision: str = "float32",
    params0: Any = None,
    results: str | Path | None = None,
    keys: Mapping[str, Any] | None = None,
) -> Comparison:
    """Train a network and, beside it, its linearization at its initial parameters.

    network: a Flax module, Linen's or NNX's; an Equinox model; a class or function of `rngs` or
    `key` that draws one of the latter two; a pair (init, apply), or an object that has both,
    init(key, x) -> params and apply(params, x) -> outputs; with params0 also apply alone. data:
    (x_train, y_train, x_test, y_test), or a dict of these: x [n, ...], as it is; y integers [n],
    the classes, one output each, or real numbers [n] or [n, k], the targets.

    lr: none is half the critical rate of the network's own kernel, or 0.1 where none is known, as
    with Adam. batch: none is all. params0: the start, in place of the one that `seed` draws. keys:
    any others of docs/keys.md, such as {"log.kernel": True}, which is costly and therefore off.
    Where the kernel is small enough the linearization follows in closed form, else it is trained.
    results: a folder that keeps the record, found by the next such call; none: nothing is kept.

    Raises UserError for what can't be meant, and RunFailed, one of these, where training diverges.
    """
    given: dict[str, Any] = {
        "loss.name": loss,
        "optimizer.name": optimizer,
        "optimizer.steps": steps,
        "optimizer.momentum": momentum,
        "optimizer.batch": batch,
        "seed": seed,
        "precision": precision,
        "log.kernel": False,
    }
    rate = {} if lr is None else {"optimizer.lr": lr}
    given = {**given, **rate, **(keys or {})}
    return Comparison(in_memory.record(network, params0, data, given, results))


def read_records(
    results: str | Path = "results",
    experiment: str | None = None,
    quantity: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows of all records of a results folder, with every key of their configs as a column.

    run (the record's id), step, time, model, quantity, split, index, value (docs/records.md), lr
    (the rate, set or measured), then the keys as `model.width` (docs/keys.md); lists in JSON. Of
    one experiment, by its name, and of some quantities alone, where these are given. Raises
    UserError where there is none.
    """
    wanted = [quantity] if isinstance(quantity, str) else quantity
    names, configs, frames = set(), [], []
    archive.unpack(folder := Path(results, "runs"))
    for record in filter(None, map(store.read, sorted(folder.glob("*.parquet")))):
        names.add(record.config["name"])
        if experiment in (None, record.config["name"]):
            rows = record.rows
            configs.append(tables.about(record._replace(config=gather.whole(record.config))))
            frames.append(rows if wanted is None else rows[rows["quantity"].isin(wanted)])
    if not names:
        raise UserError(f"results={results}: has no records; ntkrepro run makes them")
    if not frames:
        raise UserError(f"experiment={experiment}: {nearest(str(experiment), sorted(names))}")
    return tables.with_configs(configs, frames)


def grid(
    frame: pd.DataFrame,
    x: str = "step",
    y: str = "rmse",
    *,
    hue: str = "",
    facet: str = "",
    of: str = "",
    split: str = "",
    index: int | None = None,
    at: int | str = "last",
    xscale: str = "auto",
    yscale: str = "auto",
) -> Figure:
    """A quantity y of the runs in a frame of `read_records`, against a column of it.

    x: step or time, for curves, or a column that runs differ in: a key, `width` for `model.width`,
    or one of your own. A line for each `hue`, a pane for each `facet`. of: the model, split: of
    which points, index: which of several; left out, the first there is of the network, its
    linearization, and of test, train. at: a step, or each run's last. Scales: auto, log, linear.

    Points are means over seeds (geometric on a log axis) with Student's 95 % intervals; on two log
    axes the legend has each line's slope, fitted seed by seed, with its interval. A figure of
    matplotlib's. Raises UserError for what isn't there, and for runs that would be one point.
    """
    asked.refuse_other(frame)
    number = "" if index is None else str(index)
    known = [name for name in frame.columns if name not in ("run", "quantity", "value", "lr")]
    words = asked.Asked(x, hue, facet, y, of, split, number, str(at), xscale, yscale)
    own = asked.checked(words, known)
    keys = [name for name in known if name in {*KEYS, *own.columns} - {*asked.OF_ROWS}]
    configs = frame.drop_duplicates("run")[keys].astype(object)
    asked.refuse_pooled(configs.where(configs.notna(), None).to_dict("records"), own)
    with mpl.rc_context():
        picture = drawn.picture(asked.rows(frame, own), own)
        panels.caption(picture, "")
    return picture


def _leaps(
    apply: Apply, params: Any, data: Any, rule: Rule, at: list[int], tolerance: float
) -> Iterator[Reached]:
    """`leap`, whose arguments are checked. Between two steps JAX's precision is the caller's."""
    train, target, test = data
    tree = jax.tree.structure(params)
    with jax.default_matmul_precision("highest"):
        model, theta = _network(apply, params)
        kernels = function_space.tangent_kernel(model, theta, train, test, _refuse_infinite)
        descended = leaping.Descended(model, theta, train, target, test)
        problem = leaping.problem(descended, rule, kernels, tolerance, LEAPS.floor)
    state = leaps.start(jax.tree.map(jnp.zeros_like, theta), rule.momentum > 0)
    reached = leaps.solve(problem, state, 0, at)
    for step in at:
        with jax.default_matmul_precision("highest"), np.errstate(all="ignore"):
            _, state, point = next(reached)
        if not np.isfinite(point.f).all():
            rate = rule.loss.rate(*target.shape)
            critical = dynamics.critical_lr(kernels.spectrum.values[-1], rate, rule.momentum)
            told = f"lr={rule.lr:g} is {rule.lr / critical:.3g} times the critical one"
            raise RunFailed(f"leap: diverged before step {step}; {told}; choose a lower lr")
        moved = loop.add(theta, state.omega)
        params = jax.tree.unflatten(tree, [moved[name] for name in model.names])
        yield Reached(step, params, float(state.gauge[1]), float(state.gauge[3]))


def _refuse_infinite(kernel: jax.Array, *_: jax.Array) -> None:
    if not np.isfinite(kernel).all():
        raise UserError("leap: the tangent kernel at params0 has values that are not finite")


def _steps(steps: int | Sequence[int]) -> list[int]:
    """Ascending from 0 on."""
    at = np.atleast_1d(steps)
    if at.dtype.kind != "i" or at.ndim > 1 or not at.size or at[0] < 0 or (np.diff(at) <= 0).any():
        raise UserError(f"steps={steps}: must be whole numbers that ascend from 0 on")
    return at.tolist()


def _targets(y: ArrayLike) -> np.ndarray:
    """[n] or [n, k], float64."""
    target = np.asarray(y, np.float64)
    if target.ndim not in (1, 2) or not target.size:
        raise UserError(f"y is {list(target.shape)}: must be [n] or [n, k]")
    return target


def _refuse_descent(loss: str, lr: float, momentum: float) -> None:
    if loss not in LOSSES:
        raise UserError(f"loss={loss}: {nearest(loss, list(LOSSES))}")
    if not (0 < lr < np.inf and 0 <= momentum < 1):
        raise UserError(f"lr={lr}, momentum={momentum}: must be above 0 and finite, and in [0, 1)")


def _inputs(name: str, x: ArrayLike, params: Any) -> jax.Array:
    """[n, ...] of the parameters' dtype."""
    found = jnp.asarray(x, jnp.result_type(*jax.tree.leaves(params)))
    if not found.ndim or not found.size:
        raise UserError(f"{name} is {list(found.shape)}: must be [n, ...]")
    return found


def _refuse_outputs(name: str, f: Apply, params: Any, x: jax.Array) -> tuple[int, ...]:
    """The shape of f(params, x). Raises UserError where it isn't [n, k] or [n]."""
    try:
        shape = jax.eval_shape(f, params, x).shape
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{name}(params0, x) of x {list(x.shape)} raised {told}") from error
    if len(shape) not in (1, 2) or shape[0] != len(x):
        wanted = f"[{len(x)}, k] or [{len(x)}]"
        raise UserError(
            f"{name}(params0, x) of x {list(x.shape)} is {list(shape)}: must be {wanted}"
        )
    return shape


def _network(apply: Apply, params: Any) -> tuple[Any, dict[str, jax.Array]]:
    """A Custom, and its parameters, as the programs see them."""
    leaves = jax.tree.leaves(params)
    names, tree = own.paths("params0", params)
    model = _custom(apply, names, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    return model, dict(zip(names, leaves, strict=True))


@lru_cache(maxsize=32)
def _custom(apply: Apply, names: tuple[str, ...], tree: Any, sizes: tuple) -> Custom:
    """Cached, as each has its own compiled programs."""

    def start(key: jax.Array, x: jax.Array) -> Any:
        return tree.unflatten([jnp.zeros(*size) for size in sizes])

    return Custom(start, partial(own.columns, apply), names, tree, convolutional=False)


def _kernel(name: str, kernel: ArrayLike, size: tuple[int, int], rows: int = 0) -> np.ndarray:
    """[m, n] or [m, k, n, k] for (n, k) = `size`, float64; m = `rows`, 0: any number."""
    found, (n, k) = np.asarray(kernel, np.float64), size
    m = rows or len(np.atleast_1d(found))
    if found.shape not in ((m, n), (m, k, n, k)):
        wanted = f"[{rows or 'm'}, {n}] or [{rows or 'm'}, {k}, {n}, {k}]"
        raise UserError(f"{name} is {list(found.shape)}: must be {wanted}, as y has {n} x {k}")
    if not np.isfinite(found).all():
        raise UserError(f"{name} has values that are not finite")
    return found


def _start(name: str, value: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """[m, k] = `size`, of an array shaped as y or of a number for all."""
    found, (m, k) = np.asarray(value, np.float64), size
    if found.shape not in ((), (m, k), *([(m,)] if k == 1 else [])):
        raise UserError(f"{name} is {list(found.shape)}: must be {[m, k]}")
    return np.broadcast_to(found.reshape(found.shape and size), size)
