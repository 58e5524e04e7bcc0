"""What ends a run: a kernel that is not finite, a model that diverges."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ntkrepro.config import held
from ntkrepro.config.rules import gradient_descent
from ntkrepro.config.schema import Experiment, Precision, Program
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs.setup import Setup
from ntkrepro.theory.kernels.analytic import Kernels
from ntkrepro.training.measure import Trajectory

# a loss so many times the first one has diverged. Above the critical rate that of a network that
# comes back rises by about half its width on the way (800 times at width 2048)
RISE = 1e6
OTHERWISE = {  # what a run does without the model
    "ntk_analytic": ", or do without it: linearized.analytic=false",
    "ntk_empirical": ", or train the network alone: linearized.space=none",
    "linearized": ", or train the network alone: linearized.space=none",
}


def finite(experiment: Experiment, name: str, values: Any, train: Any, test: Any = ()) -> Any:
    """The values [n, ...] of so many train and then test points.

    Raises RunFailed where they are not all finite. It names the point that has most of those.
    """
    good = np.isfinite(values)
    if good.all():
        return values
    bad, points = (~good).reshape(len(good), -1).sum(1), [*np.asarray(train), *np.asarray(test)]
    worst, where = int(bad.argmax()), ""
    if bad.min() < bad.max():
        points = points[worst : worst + 1]
        split, i = ("train", worst) if worst < len(train) else ("test", worst - len(train))
        where = f" at {split} example {i}, counted from 0"
    size = max(float(np.abs(x).max()) for x in points)
    raise RunFailed(f"the {name} is not finite{where}: {mend(experiment, size)}")


def analytic(experiment: Experiment, kernel: Callable[..., Kernels], *x: Any) -> Kernels:
    """An analytic kernel of points. Raises UserError where the model has none."""
    try:
        return kernel(*x)
    except ValueError as error:
        without = {Program.train: "; linearized.analytic=false does without"}
        told = f"({error}){without.get(experiment.program, '')}"
        raise UserError(f"model: no analytic kernel {told}") from error


def mend(experiment: Experiment, size: float) -> str:
    """What makes outputs and kernels at initialization too large, for inputs of this size."""
    model, inputs = experiment.model, f"(inputs up to {size:.3g})"
    for key in ("factory", "params"):
        if own := getattr(model, key):
            return f"mend {held.told(f'model.{key}', own)}, or the data {inputs}"
    keys = ", ".join(f"model.{key}={getattr(model, key):g}" for key in ("w_var", "b_var", "depth"))
    further = {Precision.float32: "; precision=float64 reaches further", Precision.float64: ""}
    return f"lower {keys}, or scale the data {inputs}{further[experiment.precision]}"


def diverged(setup: Setup, path: Trajectory, start: Trajectory) -> Any:
    """Whether a model at one step, or at each [t], is not finite, or its train loss RISE times that
    of `start`, or of outputs 0 where that is larger."""
    loss, y = setup.loss.per_example, setup.dataset.y_train[: path.train.shape[-2]]
    train, test = loss(path.train, y).mean(-1), loss(path.test, setup.dataset.y_test).mean(-1)
    first = max(abs(float(loss(f, y).mean())) for f in (start.train, 0 * y))
    own = (path.kernel_change, path.kernel_distance, path.norms)
    kernels = [np.isinf(part).any(-1) for part in own if part is not None]
    return np.any([ran_away(train, first), ~np.isfinite(test), *kernels], axis=0)


def recorded(setup: Setup, index: int) -> bool:
    """Whether a model that is seen to have diverged at this logged step ends there, and no run
    fails for it: none that never was finite."""
    return setup.experiment.log.diverged and index > 0


def end(setup: Setup, path: Trajectory) -> int:
    """How many logged steps [t] a model has before it diverged."""
    away = np.flatnonzero(diverged(setup, path, path.at(0)))
    return int(away[0]) if len(away) else len(path.train)


def outputs_diverged(squares: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same at each [t], of outputs whose squares [t, ..., points] are given, by their means."""
    sizes = squares.mean(-1)
    away = ran_away(sizes, np.maximum(sizes[0], (y**2).mean()))
    return np.asarray(away.reshape(len(away), -1).any(1))


def ran_away(sizes: np.ndarray, first: Any) -> np.ndarray:
    return ~(np.isfinite(sizes) & (sizes <= RISE * first))


def over_critical(setup: Setup, critical: dict[str, float], model: str) -> str:
    """The learning rate by the key that sets it, and over the critical one of the model's kernel,
    which is the network's unless `critical` has the model's own."""
    fraction = setup.experiment.optimizer.lr_over_critical
    own = critical[model if model in critical else "network"]
    given = f"optimizer.lr={setup.lr:g}"
    if fraction is not None:
        given = f"optimizer.lr_over_critical={fraction:g}: lr={setup.lr:g}"
    if not np.isfinite(own):
        return given
    known = f"the critical learning rate {own:.4g} of {model}'s kernel"
    return f"{given} is {setup.lr / own:.3g} x {known}"


def divergence(setup: Setup, critical: dict[str, float], model: str, index: int) -> RunFailed:
    """Of a model that is seen to have diverged at a logged step."""
    experiment, steps = setup.experiment, setup.steps
    if not index:
        size = max(float(np.abs(x).max()) for x in (setup.x_train, setup.x_test))
        return RunFailed(f"the loss of {model} is not finite at step 0: {mend(experiment, size)}")
    train, key = experiment.program is Program.train, "optimizer.lr"
    otherwise = (train and OTHERWISE.get(model)) or ""
    if experiment.optimizer.lr_over_critical is not None:
        key = "optimizer.lr_over_critical"
    elif train and gradient_descent(experiment) and np.isnan(critical["network"]):
        key += ", or set optimizer.lr_over_critical=0.5 in its place"
    return RunFailed(
        f"training diverged between step {steps[index - 1]} and step {steps[index]}: "
        f"{over_critical(setup, critical, model)}; lower {key}{otherwise}"
    )


def lost(frame: pd.DataFrame) -> RunFailed | None:
    """What of a record's rows is not finite; a relative change of what starts at 0 is no number."""
    rows = frame[~np.isfinite(frame["value"])]
    change = rows["quantity"].str.endswith("_change") & rows["value"].isna()
    for row in rows[~change].itertuples():
        return RunFailed(f"{row.quantity} of {row.model} is {row.value} at step {row.step}")
    return None
