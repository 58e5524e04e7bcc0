"""A config becomes a record."""

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro import data, measure, models, predict, records, train
from ntkrepro.config import Experiment, Space, log_steps
from ntkrepro.data import Dataset
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.kernels import analytic, empirical
from ntkrepro.loss import kernel_rate
from ntkrepro.measure import Trajectory

FUNCTION_SPACE = 4096  # largest n * k whose kernel is decomposed
FEW_OUTPUTS = 2  # up to here linearize_dense is the cheaper linearization

Say = Callable[[str], None]
Tick = Callable[..., None]


class Setup(NamedTuple):
    """What every stage of a run starts from."""

    experiment: Experiment
    dataset: Dataset
    model: models.Module
    params0: Any
    x_train: jax.Array
    x_test: jax.Array
    steps: list[int]
    pick: measure.Pick
    norms: dict[tuple[str, ...], float]
    rate: float  # lr * rate * Theta drives the outputs


class Kernels(NamedTuple):
    """Theta(X, X), its spectrum, and Theta(x, X), of one kind: empirical or analytic."""

    train_train: np.ndarray
    spectrum: predict.Spectrum
    test_train: np.ndarray


def run(
    experiment: Experiment, say: Say = lambda line: None, tick: Tick = lambda step, **values: None
) -> Path:
    """Compute the record of a config and return its path.

    `say` receives lines for the user; tick(step) is called about every second of the training
    loop, tick(step, loss=..., rmse=...) at each logged step.
    Raises UserError for input that can't be meant, RunFailed where training diverges.
    """
    began, about = time.perf_counter(), provenance()
    x64 = jax.enable_x64(experiment.precision.name == "float64")
    quiet = np.errstate(
        over="ignore", invalid="ignore"
    )  # a linearization may diverge where a network doesn't
    with x64, jax.default_matmul_precision("highest"), quiet:
        setup = prepare(experiment)
        frames, seconds = compute(setup, say, tick)
    about["data"] = data.fingerprint(setup.dataset)
    about["seconds"] = {**seconds, "all": round(time.perf_counter() - began, 3)}
    return records.write(experiment, pd.concat(frames, ignore_index=True), about)


def prepare(experiment: Experiment) -> Setup:
    """Data, network and initial parameters of a config, and what is to be measured when."""
    dataset = data.load(experiment.data)
    k = dataset.y_train.shape[1]
    model = models.build(experiment.model, dataset.n0, k)
    x_train, x_test = jnp.asarray(dataset.x_train), jnp.asarray(dataset.x_test)
    params0 = models.init(model, jax.random.key(experiment.seed), x_train)
    ntk = experiment.model.parametrization.name == "ntk"
    w_std = 1.0 if ntk else (experiment.model.w_var / dataset.n0) ** 0.5
    return Setup(
        experiment,
        dataset,
        model,
        params0,
        x_train,
        x_test,
        log_steps(experiment.optimizer, experiment.log),
        measure.pick_weights(params0, experiment.log.weights, experiment.seed),
        measure.full_norms(params0, dataset.n0, w_std, experiment.seed),
        experiment.loss.scale * kernel_rate(experiment.loss.name.name, len(x_train), k),
    )


def compute(setup: Setup, say: Say, tick: Tick) -> tuple[list[pd.DataFrame], dict[str, float]]:
    """Rows of every model and the seconds that each side took."""
    seconds: dict[str, float] = {}
    frames, paths, critical = [], {}, float("nan")
    function, weights = spaces(setup)
    if function or fits(setup):
        began = time.perf_counter()
        theta = empirical_kernels(setup)
        critical = predict.critical_lr(
            theta.spectrum, setup.rate, setup.experiment.optimizer.momentum
        )
        frames.append(stability_rows(theta, critical))
        warn(setup, critical, say)
        if function:
            paths["ntk_empirical"] = function_space(setup, theta, with_weights=True)
            seconds["function_space"] = round(time.perf_counter() - began, 3)
        if function and setup.experiment.linearized.analytic:
            paths["ntk_analytic"] = function_space(
                setup, analytic_kernels(setup), with_weights=False
            )
    names = ("network", "linearized") if weights else ("network",)
    reference = paths.get("ntk_empirical")
    trained, changes, seconds["training"] = training(setup, names, critical, reference, tick)
    return [*frames, *changes, *all_rows(setup, {**trained, **paths})], seconds


def spaces(setup: Setup) -> tuple[bool, bool]:
    """Whether the linearized side runs in function space, and whether in weight space."""
    space, experiment = setup.experiment.linearized.space, setup.experiment
    opt = experiment.optimizer
    full = opt.batch is None or opt.batch == experiment.data.train
    closed = full and opt.momentum == 0 and experiment.loss.name.name == "mse"
    function = space in (Space.function, Space.both) or (
        space is Space.auto and closed and fits(setup)
    )
    if function and not closed:
        raise UserError(
            f"linearized.space={space.name}: function space is for full-batch gradient descent on "
            "mse without momentum; use linearized.space=weights"
        )
    if function and not fits(setup):
        raise UserError(
            f"linearized.space={space.name}: the kernel of n * k = {size(setup)} outputs is above "
            f"{FUNCTION_SPACE}; use linearized.space=weights or lower data.train"
        )
    return function, space in (Space.weights, Space.both) or not function


def size(setup: Setup) -> int:
    return setup.dataset.y_train.size


def fits(setup: Setup) -> bool:
    """Whether the train kernel is small enough to be decomposed."""
    return size(setup) <= FUNCTION_SPACE


def empirical_kernels(setup: Setup) -> Kernels:
    """Theta_0 of this network at its initial parameters."""
    ntk = partial(empirical.ntk, setup.model, setup.params0)
    train_train = np.asarray(ntk(setup.x_train), np.float64)
    test_train = np.asarray(ntk(setup.x_test, setup.x_train), np.float64)
    return Kernels(train_train, predict.spectrum(train_train), test_train)


def analytic_kernels(setup: Setup) -> Kernels:
    """Theta of the infinitely wide network, in float64."""
    model = setup.experiment.model
    fc = partial(
        analytic.fc,
        depth=model.depth,
        activation=model.activation.name,
        w_var=model.w_var,
        b_var=model.b_var,
        parametrization=model.parametrization.name,
        width=model.width,
        n0=setup.dataset.n0,
    )
    train_train = np.asarray(fc(setup.dataset.x_train).ntk)
    test_train = np.asarray(fc(setup.dataset.x_test, setup.dataset.x_train).ntk)
    return Kernels(train_train, predict.spectrum(train_train), test_train)


def function_space(setup: Setup, theta: Kernels, with_weights: bool) -> Trajectory:
    """The linearized network at every logged step, by predict.py."""
    f_train, f_test = (
        models.apply(setup.model, setup.params0, x) for x in (setup.x_train, setup.x_test)
    )
    residual = np.asarray(f_train, np.float64) - setup.dataset.y_train
    c = predict.coefficients(
        theta.spectrum,
        residual,
        setup.steps,
        setup.experiment.optimizer.lr * setup.rate,
        setup.experiment.linearized.flow,
    )
    path = Trajectory(
        predict.outputs(f_train, theta.train_train, c), predict.outputs(f_test, theta.test_train, c)
    )
    if not with_weights:
        return path
    entries, changes = zip(*(weights_at(setup, c_t) for c_t in c), strict=True)
    return path._replace(weights=np.stack(entries), weight_change=np.stack(changes))


def weights_at(setup: Setup, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 9: picked weights' displacement and change per layer from omega_t = -J^T c_t."""
    cotangent = jnp.asarray(c, setup.x_train.dtype)
    omega = _pull(setup.model, setup.params0, setup.x_train, cotangent)
    entries, changes = measure.displacement(omega, setup.pick, setup.norms)
    return np.asarray(entries), np.asarray(changes)


@partial(jax.jit, static_argnames="model")
def _pull(model: models.Module, params: Any, x: jax.Array, c: jax.Array) -> Any:
    pullback = jax.vjp(lambda p: models.apply(model, p, x), params)[1]
    return jax.tree.map(jnp.negative, pullback(c)[0])


def training(
    setup: Setup, names: tuple[str, ...], critical: float, reference: Trajectory | None, tick: Tick
) -> tuple[dict[str, Trajectory], list[pd.DataFrame], float]:
    """Train the named models together; their trajectories, the kernels' change, and seconds."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    k = setup.dataset.y_train.shape[1]
    program = train.Program(
        setup.model,
        experiment.loss.name.name,
        experiment.loss.scale,
        opt.momentum,
        k <= FEW_OUTPUTS,
    )
    schedule = train.batch_schedule(experiment.seed, len(setup.x_train), opt.batch, opt.steps)
    dtype = setup.x_train.dtype
    task = train.Task(
        setup.params0,
        setup.x_train,
        jnp.asarray(setup.dataset.y_train, dtype),
        jnp.asarray(opt.lr, dtype),
        None if schedule is None else jnp.asarray(schedule),
    )
    points: dict[str, list[Trajectory]] = {name: [] for name in names}
    kernels0, changes = None, []
    began, measuring, last = time.perf_counter(), 0.0, 0
    for step, params in train.run(program, task, names, setup.steps, tick):
        pause = time.perf_counter()
        for name in names:
            points[name].append(observe(program, setup, name, params[name]))
        refuse_divergence(setup, points["network"][-1], last, step, critical)
        if experiment.log.kernel:
            x = setup.x_train[: experiment.log.outputs]
            kernels = measure.kernels(setup.model, params["network"], x)
            kernels0 = kernels0 or kernels
            changes.append(measure.relative_change(kernels, kernels0))
        tick(step, **shown(setup, {name: p[-1] for name, p in points.items()}, reference, step))
        measuring, last = measuring + time.perf_counter() - pause, step
    seconds = round(time.perf_counter() - began - measuring, 3)
    return (
        {name: measure.stack(p) for name, p in points.items()},
        kernel_rows(setup, changes),
        seconds,
    )


@partial(jax.jit, static_argnames=("program", "name"))
def _outputs(
    program: train.Program, name: str, params0: Any, params: Any, x: jax.Array
) -> jax.Array:
    return train.applies(program, params0)[name](params, x)


@jax.jit
def _minus(params: Any, params0: Any) -> Any:
    return jax.tree.map(jnp.subtract, params, params0)


def observe(program: train.Program, setup: Setup, name: str, params: Any) -> Trajectory:
    """Outputs and weights of one model at one step."""
    f = partial(_outputs, program, name, setup.params0, params)
    omega = _minus(params, setup.params0)
    entries, changes = measure.displacement(omega, setup.pick, setup.norms)
    return Trajectory(
        *(np.asarray(a) for a in (f(setup.x_train), f(setup.x_test), entries, changes))
    )


def kernel_rows(setup: Setup, changes: list[dict[str, float]]) -> list[pd.DataFrame]:
    """`ntk_change` and `nngp_change` of the network, relative to step 0."""
    return [
        measure.rows(
            "network", f"{name}_change", setup.steps, [change[name] for change in changes], "train"
        )
        for name in (changes[0] if changes else {})
    ]


def shown(
    setup: Setup, now: dict[str, Trajectory], reference: Trajectory | None, step: int
) -> dict[str, float]:
    """Train loss of the network and test RMSE to its linearization, for the progress bar."""
    f = now["network"]
    linear = reference.test[setup.steps.index(step)] if reference else now["linearized"].test
    loss = measure.losses(setup.experiment.loss.name.name, f.train[None], setup.dataset.y_train)
    return {"loss": float(loss[0]), "rmse": float(np.sqrt(np.mean((f.test - linear) ** 2)))}


def refuse_divergence(
    setup: Setup, point: Trajectory, last: int, step: int, critical: float
) -> None:
    if not all(np.isfinite(f).all() for f in (point.train, point.test)):
        lr = setup.experiment.optimizer.lr
        raise RunFailed(
            f"training diverged between step {last} and step {step}: optimizer.lr={lr:g} is "
            f"{lr / critical:.3g} x the critical learning rate {critical:.4g}; lower optimizer.lr"
        )


def warn(setup: Setup, critical: float, say: Say) -> None:
    """Before training: a learning rate above the critical one can't converge."""
    lr = setup.experiment.optimizer.lr
    if lr > critical:
        say(
            f"warning: optimizer.lr={lr:g} is {lr / critical:.3g} x the critical learning rate "
            f"{critical:.4g} of the kernel at initialization: the linearization diverges"
        )


def stability_rows(theta: Kernels, critical: float) -> pd.DataFrame:
    """Largest and smallest eigenvalue of the empirical kernel, and the critical learning rate."""
    values = theta.spectrum.values
    quantities = {"lambda_max": values[-1], "lambda_min": values[0], "lr_critical": critical}
    return pd.concat([measure.rows("network", q, [0], [v], "train") for q, v in quantities.items()])


def all_rows(setup: Setup, paths: dict[str, Trajectory]) -> list[pd.DataFrame]:
    experiment = setup.experiment
    frames = measure.target_rows(setup.dataset, experiment.log.outputs)
    for name, path in paths.items():
        frames += measure.trajectory_rows(
            name,
            setup.steps,
            path,
            paths["network"],
            setup.dataset,
            experiment.loss.name.name,
            experiment.log.outputs,
        )
    return frames


def provenance() -> dict[str, Any]:
    """Where and with what a run was computed."""
    device = jax.devices()[0]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "device": device.device_kind,
        "platform": device.platform,
        "devices": jax.device_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {
            p: version(p) for p in ("ntkrepro", "jax", "jaxlib", "flax", "optax", "numpy")
        },
        "matmul_precision": "highest",
        "command": command(),
    }


def command() -> str | None:
    """The command line, without folders of this machine; none where the library was called."""
    words = [w for w in sys.argv if not w.startswith(("data.dir=", "results="))]
    return " ".join(words) if words[0] == "ntkrepro run" else None


def commit() -> str | None:
    """The checkout's commit, with `+` where files differ from it; none outside a checkout."""
    git = partial(
        subprocess.run, capture_output=True, text=True, cwd=Path(__file__).parent, check=True
    )
    try:
        head = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
