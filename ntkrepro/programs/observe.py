"""What is seen of the models at a logged step, and the rows of a record that it becomes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro.compilation import jit
from ntkrepro.config.schema import Space
from ntkrepro.data.load import Dataset
from ntkrepro.errors import RunFailed
from ntkrepro.programs import failures
from ntkrepro.programs.function_space import TangentKernel
from ntkrepro.programs.setup import Setup, fits
from ntkrepro.records.rows import joined, rows
from ntkrepro.theory.losses import LOSSES, correct
from ntkrepro.training import behaviour, loop, measure
from ntkrepro.training.fidelity import quantities
from ntkrepro.training.measure import Trajectory, root_mean_square
from ntkrepro.training.recipe import Recipe

SPENT = ("error_estimate", "linearizations", "gradients")  # of a network by leaps


class Result(NamedTuple):
    """What a record will hold: its rows, and what its program tells for provenance: `seconds` of
    each part, and more."""

    rows: pd.DataFrame
    about: dict[str, Any]


def result(frames: list[pd.DataFrame], about: dict[str, Any]) -> Result | RunFailed:
    """Of the rows of a run, or what of them is not finite."""
    frame = joined(frames)
    return failures.lost(frame) or Result(frame, about)


def trajectory_rows(
    model: str,
    steps: list[int],
    path: Trajectory,
    network: Trajectory,
    data: Dataset,
    loss: str,
    keep: int,
    examples: bool,
    fidelity: bool = False,
) -> list[pd.DataFrame]:
    """Loss, accuracy, outputs, RMSE against the network, and weights of one model.

    `output` index = example * k + output, for the first `keep` examples of each split. With
    `examples`, `example_loss` and `example_correct` (0, 1) of all test points, index = example.
    Real targets have no accuracy. With `fidelity`, what fidelity.py has of a linearization.
    """
    out = []
    for split, y in (("train", data.y_train), ("test", data.y_test)):
        f, reference = getattr(path, split), getattr(network, split)
        y = y[: f.shape[1]]
        losses, right = LOSSES[loss].per_example(f, y), correct(f, y[None])
        if split == "test" and examples:
            out.append(rows(model, "example_loss", steps, losses, split))
            out += [] if data.real else [rows(model, "example_correct", steps, right, split)]
        out.append(rows(model, "loss", steps, losses.mean(-1), split))
        out += [] if data.real else [rows(model, "accuracy", steps, right.mean(-1), split)]
        out += [
            rows(model, "output", steps, f[:, :keep], split),
            rows(model, "output_rms", steps, root_mean_square(f), split),
        ]
        if model != "network":
            out.append(rows(model, "rmse", steps, root_mean_square(f - reference), split))
        if model != "network" and fidelity:
            for name, values in quantities(reference, f, y, data.real).items():
                out += known(model, name, steps, values, split)
    if path.weights is not None:
        out.append(rows(model, "weight", steps, path.weights))
        out.append(rows(model, "weight_change", steps, path.weight_change))
    if path.moved is not None:
        out.append(rows(model, "parameter_change", steps, path.moved))
    return [*out, *inner_rows(model, steps, path), *spent_rows(model, steps, path.spent)]


def inner_rows(model: str, steps: list[int], path: Trajectory) -> list[pd.DataFrame]:
    """How kernels move and behave and how large layers are, as far as that was asked for."""
    named: dict[str, Any] = {}
    if path.kernel_change is not None:
        named |= dict(zip(("ntk_change", "nngp_change"), path.kernel_change.T, strict=False))
    if path.kernel_distance is not None:
        named["ntk_distance"] = path.kernel_distance
    if path.norms is not None:
        named |= dict(zip(measure.NORMS, path.norms.T, strict=True))
    out = [rows(model, name, steps, values, "train") for name, values in named.items()]
    if path.behaviour is not None:
        for name, values in zip(behaviour.NAMES, path.behaviour.T, strict=True):
            out += known(model, name, steps, values, "train")
    if path.eigenvalues is not None:
        out.append(rows(model, "ntk_eigenvalue", steps, path.eigenvalues, "train"))
    if path.coordinates is not None:
        for name, sizes in zip(measure.COORDINATES, path.coordinates.swapaxes(0, 1), strict=True):
            out.append(rows(model, name, steps, sizes, "train"))
    return out


def known(
    model: str, name: str, steps: list[int], values: np.ndarray, split: str
) -> list[pd.DataFrame]:
    """Rows of the steps at which the values [t] are numbers, if there are any."""
    there = np.isfinite(values)
    own = np.asarray(steps)[there]
    return [rows(model, name, own, values[there], split)] if there.any() else []


def spent_rows(model: str, steps: list[int], spent: np.ndarray | None) -> list[pd.DataFrame]:
    """Of SPENT [t, ..., 3], where leaps were taken."""
    if spent is None:
        return []
    return [rows(model, name, steps, spent[..., i]) for i, name in enumerate(SPENT)]


def diverged_rows(
    steps: list[int], ends: dict[str, int], paths: dict[str, Trajectory]
) -> list[pd.DataFrame]:
    """The step at which a model was seen to have diverged, of each that did."""
    away = [name for name, path in paths.items() if ends[name] < len(path.train)]
    return [rows(name, "diverged", [steps[ends[name]]], [1.0]) for name in away]


def target_rows(data: Dataset, keep: int) -> list[pd.DataFrame]:
    """The targets of the examples whose outputs are kept."""
    pairs = (("train", data.y_train), ("test", data.y_test))
    return [rows("data", "target", [0], y[:keep].reshape(1, -1), split) for split, y in pairs]


def stability_rows(
    model: str, setup: Setup, values: np.ndarray | None, critical: float
) -> pd.DataFrame:
    """Extreme eigenvalues of a model's kernel, its rate, and the critical learning rate."""
    quantities = {"kernel_rate": setup.rate}
    if values is not None:
        quantities = {"lambda_max": values[-1], "lambda_min": values[0]} | quantities
    if np.isfinite(critical):
        quantities["lr_critical"] = critical
    return pd.concat([rows(model, q, [0], [v], "train") for q, v in quantities.items()])


class Member(NamedTuple):
    """One run of a pack before its training: the critical learning rates of the network's kernel,
    nan if unknown, and of other kernels; what was predicted; rows and seconds of both.

    `end`: why it fails once so many logged steps have been seen; `theta`, of leaps: the tangent
    kernel at theta_0.
    """

    setup: Setup
    critical: dict[str, float]
    paths: dict[str, Trajectory]
    frames: list[pd.DataFrame]
    seconds: float
    end: tuple[int, RunFailed] | None = None
    theta: TangentKernel | None = None


Point = dict[str, Trajectory]  # of every model at one step


def finite(point: Trajectory) -> bool:
    return bool(np.isfinite(point.train).all() and np.isfinite(point.test).all())


class Reached(NamedTuple):
    """A logged step of the training: omega of every model; of leaps, what was `spent` so far, and
    `kernel`(), the tangent kernel there [n, k, n, k]."""

    step: int
    omegas: dict[str, Any]
    spent: np.ndarray | None = None
    kernel: Callable[[], jax.Array] | None = None


def observe_all(
    recipe: Recipe,
    setup: Setup,
    reached: Reached,
    start: measure.Empirical | None,
    before: np.ndarray | None = None,
) -> tuple[Point, np.ndarray | None]:
    """Every model at one step, how far the network's kernels have moved, and with log.behaviour
    the tangent kernel here; `before`: the one of the logged step before."""
    omegas = reached.omegas
    point = {name: observe(recipe, setup, name, omega) for name, omega in omegas.items()}
    network = point["network"]._replace(spent=reached.spent)
    theta = None
    if setup.experiment.log.coordinates:
        network = network._replace(coordinates=coordinates_of(setup, omegas["network"]))
    if start:
        there = finite(network)
        now = kernels_of(setup, omegas["network"], reached.kernel) if there else infinite(start)
        network = with_kernels(setup, network, omegas["network"], now, start)
        if setup.experiment.log.behaviour:
            theta = np.asarray(now["ntk"])
            network = behaves(setup, network, reached.step, theta, start, before)
    return {**point, "network": network}, theta


def behaves(
    setup: Setup,
    point: Trajectory,
    step: int,
    now: np.ndarray,
    start: measure.Empirical,
    before: np.ndarray | None,
) -> Trajectory:
    """With what behaviour.py has of the tangent kernel."""
    earlier = max((s for s in setup.steps if s < step), default=0)
    lapse = np.log(step / earlier) if earlier else np.inf
    y = setup.dataset.y_train[: len(now)]
    found = behaviour.seen(now, np.asarray(start["ntk"]), before, lapse, y)
    return point._replace(behaviour=found[0], eigenvalues=found[1])


def has_bound(setup: Setup) -> bool:
    """Whether the bound of SM F can be measured: on mse, with the kernel of all train points."""
    experiment = setup.experiment
    compared = experiment.linearized.space is not Space.none
    quadratic = compared and setup.loss.quadratic
    return quadratic and fits(setup) and experiment.log.outputs >= len(setup.x_train)


def observe(recipe: Recipe, setup: Setup, name: str, omega: Any) -> Trajectory:
    """Outputs and weights of one model at one step."""
    log = setup.experiment.log
    if name == "network":
        f = network(setup, omega)
    else:
        f = partial(_linearized, recipe, setup.params0, omega)
    points = setup.x_train[: log.train], setup.x_test
    seen = measure.outputs(f, points, log.batch, setup.model.mixes_examples)
    if not log.weights:
        return Trajectory(*seen)
    full = loop.fill(setup.params0, omega)
    entries, changes = measure.displacement(full, setup.pick, setup.norms)
    path = Trajectory(*seen, np.asarray(entries), np.asarray(changes))
    return path._replace(moved=measure.moved(full, setup.size)) if log.fidelity else path


def coordinates_of(setup: Setup, omega: Any) -> np.ndarray:
    """measure.COORDINATES on the first `log.outputs` train points."""
    x, theta = setup.x_train[: setup.experiment.log.outputs], loop.add(setup.params0, omega)
    return np.asarray(measure.coordinates(setup.model, setup.params0, theta, x))


def network(setup: Setup, omega: Any) -> Callable[[jax.Array], jax.Array]:
    """x -> its outputs at theta_0 + omega, with model.centred minus those at theta_0."""
    f = partial(measure.apply, setup.model, loop.add(setup.params0, omega))
    f0 = partial(measure.apply, setup.model, setup.params0)
    return (lambda x: f(x) - f0(x)) if setup.experiment.model.centred else f


@partial(jit, static_argnames="recipe")
def _linearized(recipe: Recipe, params0: Any, omega: Any, x: jax.Array) -> jax.Array:
    return loop.applies(recipe, params0)["linearized"](omega, x)


def kernels_of(
    setup: Setup, omega: Any, kernel: Callable[[], jax.Array] | None = None
) -> measure.Empirical:
    """Empirical NTK and NNGP on the first `log.outputs` train points; `kernel`() has the former of
    all train points."""
    x = setup.x_train[: setup.experiment.log.outputs]
    ntk = kernel()[: len(x), :, : len(x)] if kernel else None
    return measure.kernels(setup.model, loop.add(setup.params0, omega), x, ntk)


def initial_kernels(
    setup: Setup, kernel: Callable[[], jax.Array] | None = None
) -> measure.Empirical | None:
    """The kernels at theta_0, where their change is logged; `kernel` as for `kernels_of`. Raises
    RunFailed where their norms, to which it is relative, aren't finite."""
    if not setup.experiment.log.kernel:
        return None
    found = kernels_of(setup, jax.tree.map(jnp.zeros_like, setup.params0), kernel)
    norms = np.array([[jnp.linalg.norm(kernel) for kernel in found.values()]])
    failures.finite(setup.experiment, "norm of a kernel at initialization", norms, setup.x_train)
    return found


def infinite(kernels: measure.Empirical) -> measure.Empirical:
    """Kernels of a network whose outputs aren't finite."""
    return {name: jnp.full_like(kernel, jnp.inf) for name, kernel in kernels.items()}


def with_kernels(
    setup: Setup, point: Trajectory, omega: Any, now: measure.Empirical, start: measure.Empirical
) -> Trajectory:
    """How far the kernels have moved; the distance of Eq. S48 where the bound can be measured;
    NORMS where they are asked for."""
    if setup.experiment.log.norms:
        point = point._replace(norms=measure.norms(omega, now, start))
    point = point._replace(kernel_change=measure.relative_change(now, start))
    if has_bound(setup):
        point = point._replace(kernel_distance=measure.distance(now, start))
    return point


def train_loss(setup: Setup, network: Trajectory) -> float:
    """The mean loss that is descended, without loss.scale, on the train points that are logged."""
    y = setup.dataset.y_train[: len(network.train)]
    return float(setup.loss.per_example(network.train, y).mean())


def shown(member: Member, points: list[Point]) -> dict[str, float]:
    """Train loss of the network and test RMSE to its linearization, for the progress bar."""
    if not points:
        return {}
    network = points[-1]["network"]
    values = {"loss": train_loss(member.setup, network)}
    predicted = member.paths.get("ntk_empirical")
    linear = predicted.test[len(points) - 1] if predicted else None
    if linear is None and "linearized" in points[-1]:
        linear = points[-1]["linearized"].test
    if linear is not None:
        values["rmse"] = float(np.sqrt(np.mean((network.test - linear) ** 2)))
    return values
