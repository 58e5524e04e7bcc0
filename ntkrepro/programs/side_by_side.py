"""The program `train`: a network and its linearization over the steps of gradient descent."""

import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from ntkrepro.config.identity import Run
from ntkrepro.config.rules import gradient_descent
from ntkrepro.config.schema import Space
from ntkrepro.data import load
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs import function_space, observe, weight_space
from ntkrepro.programs.function_space import TangentKernel
from ntkrepro.programs.observe import Member, Result
from ntkrepro.programs.setup import FUNCTION_SPACE, Setup, fits, outputs, prepare
from ntkrepro.progress import Say, Tick
from ntkrepro.records.rows import rows
from ntkrepro.theory import dynamics
from ntkrepro.training import measure
from ntkrepro.training.measure import Trajectory

SIDES = {  # whether function space is asked for, and whether weight space
    Space.auto: (False, False),  # what fits
    Space.function: (True, False),
    Space.weights: (False, True),
    Space.both: (True, True),
    Space.none: (False, False),
}


class Side(NamedTuple):
    """A run before its training: rows, and what its linearization is predicted to do."""

    setup: Setup
    critical: float
    frames: list[pd.DataFrame]
    paths: dict[str, Trajectory]
    seconds: float


def side_by_side(pack: list[Run], say: Say, tick: Tick) -> list[Result | RunFailed]:
    """For each member of a pack, whose configs differ in seed and learning rate alone: rows of the
    record, and for its provenance the data's fingerprint, each side's seconds and the rate used; or
    why it failed.
    """
    dataset = load.load(pack[0].experiment.data)
    setups = [prepare(run, dataset) for run in pack]
    function, names = spaces(setups[0])[0], trained(setups[0])
    sides = [before(setup, function, say) for setup in setups]
    members = [Member(s.setup, s.critical, s.paths.get("ntk_empirical")) for s in sides]
    paths, seconds = weight_space.trajectories(members, names, tick)
    return [result(s, t, seconds, len(sides)) for s, t in zip(sides, paths, strict=True)]


def before(setup: Setup, function: bool, say: Say) -> Side:
    """Kernels at initialization, the critical learning rate, and with `function` what they say."""
    frames: list[pd.DataFrame] = []
    paths: dict[str, Trajectory] = {}
    critical, began = float("nan"), time.perf_counter()
    theta = function_space.empirical_kernels(setup) if fits(setup) else None
    fraction = setup.experiment.optimizer.lr_over_critical
    if theta and gradient_descent(setup.experiment):
        critical = critical_lr(setup, float(theta.spectrum.values[-1]))
    elif fraction:
        critical = critical_lr(setup, function_space.largest_eigenvalue(setup))
    if fraction:
        setup = setup._replace(lr=fraction * critical)
    if theta or fraction:
        frames.append(stability_rows(setup, theta, critical))
    if theta:
        warn(setup, critical, say)
    if theta and function:
        paths["ntk_empirical"] = function_space.trajectory(setup, theta, with_weights=True)
    elif function:
        paths["ntk_empirical"] = function_space.matrix_free(setup)
    seconds = round(time.perf_counter() - began, 3)
    if function and theta and setup.experiment.linearized.analytic:
        kernels = function_space.analytic_kernels(setup)
        paths["ntk_analytic"] = function_space.trajectory(setup, kernels, with_weights=False)
    return Side(setup, critical, frames, paths, seconds)


def critical_lr(setup: Setup, largest: float) -> float:
    return dynamics.critical_lr(largest, setup.rate, setup.experiment.optimizer.momentum)


def result(
    side: Side, trained: weight_space.Outcome, seconds: float, pack: int
) -> Result | RunFailed:
    """Rows up to where the run ended, and provenance."""
    if isinstance(trained, RunFailed):
        return trained
    setup, count = side.setup, len(trained["network"].train)
    paths = {name: measure.first(path, count) for name, path in {**trained, **side.paths}.items()}
    frames = [*side.frames, *all_rows(setup, setup.steps[:count], paths)]
    about = {
        "data": load.fingerprint(setup.dataset),
        "seconds": {"function_space": side.seconds, "training": round(seconds / pack, 3)},
        "lr": setup.lr,
        "pack": pack,
    }
    return Result(pd.concat(frames, ignore_index=True), about)


def trained(setup: Setup) -> tuple[str, ...]:
    """The models that are."""
    return ("network", "linearized") if spaces(setup)[1] else ("network",)


def spaces(setup: Setup) -> tuple[bool, bool]:
    """Whether the linearized side runs in function space, and whether in weight space."""
    experiment, linearized = setup.experiment, setup.experiment.linearized
    space, plain = linearized.space, gradient_descent(experiment)
    auto = space is Space.auto
    function, weights = SIDES[space]
    function = function or (auto and linearized.flow)
    if function and not plain:
        raise UserError(
            f"linearized.space={space.name}: function space is for optimizer.name=sgd without "
            "weight decay, layer rates and augmentation that trains all; use "
            "linearized.space=weights"
        )
    in_parts = setup.schedule is not None or experiment.log.batch or experiment.log.train
    if function and in_parts and setup.model.mixes_examples:
        raise UserError(
            f"linearized.space={space.name}: BatchNorm makes outputs depend on their batch, and "
            "function space follows all train points as one; set optimizer.batch, log.batch and "
            "log.train to null, or use linearized.space=weights or model.norm=none"
        )
    if linearized.flow and setup.schedule is not None:
        raise UserError(
            f"linearized.flow=true: continuous time has no minibatches; set optimizer.batch=null "
            f"(now {experiment.optimizer.batch}) or linearized.flow=false"
        )
    if function and not fits(setup) and not linearized.flow:
        raise UserError(
            f"linearized.space={space.name}: the kernel of n * k = {outputs(setup)} outputs is "
            f"above {FUNCTION_SPACE}; use linearized.space=weights or lower data.train"
        )
    function = function or (auto and plain and fits(setup))
    return function, weights or (auto and not function)


def warn(setup: Setup, critical: float, say: Say) -> None:
    """Before training: above the critical learning rate the linearization can't converge on mse.

    On cross entropy the curvature is below that of mse, and its own rate is not known beforehand.
    """
    lr = setup.lr
    if lr > critical and setup.loss.quadratic:
        say(
            f"warning: optimizer.lr={lr:g} is {lr / critical:.3g} x the critical learning rate "
            f"{critical:.4g} of the kernel at initialization: the linearization diverges"
        )


def stability_rows(setup: Setup, theta: TangentKernel | None, critical: float) -> pd.DataFrame:
    """Extreme eigenvalues of the empirical kernel, its rate, and the critical learning rate."""
    quantities = {"kernel_rate": setup.rate}
    if theta:
        values = theta.spectrum.values
        quantities = {"lambda_max": values[-1], "lambda_min": values[0]} | quantities
    if np.isfinite(critical):
        quantities["lr_critical"] = critical
    return pd.concat([rows("network", q, [0], [v], "train") for q, v in quantities.items()])


def all_rows(setup: Setup, steps: list[int], paths: dict[str, Trajectory]) -> list[pd.DataFrame]:
    experiment, log = setup.experiment, setup.experiment.log
    keep = log.outputs if log.examples else 0
    frames = observe.target_rows(setup.dataset, keep)
    for name, path in paths.items():
        frames += observe.trajectory_rows(
            name,
            steps,
            path,
            paths["network"],
            setup.dataset,
            experiment.loss.name.name,
            keep,
            examples=log.examples and len(paths) > 1,
        )
    return frames
