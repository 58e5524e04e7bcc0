"""The program `train`: a network and its linearization over the steps of gradient descent."""

import time

import numpy as np
import pandas as pd

from ntkrepro.config.identity import Run
from ntkrepro.config.rules import gradient_descent
from ntkrepro.config.schema import Experiment, Solver, Space
from ntkrepro.data import load
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs import failures, function_space, observe, weight_space
from ntkrepro.programs.function_space import TangentKernel
from ntkrepro.programs.observe import Member, Result
from ntkrepro.programs.setup import FUNCTION_SPACE, Setup, fits, outputs, prepare
from ntkrepro.progress import Say, Tick
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


def side_by_side(pack: list[Run], say: Say, tick: Tick) -> list[Result | RunFailed]:
    """For each member of a pack, whose configs differ in seed and learning rate alone: rows of the
    record, and for its provenance the data's fingerprint, each side's seconds and the rate used; or
    why it failed.
    """
    dataset = load.load(pack[0].experiment.data)
    setups = [prepare(run, dataset) for run in pack]
    function, names = spaces(setups[0])[0], trained(setups[0])
    members = [before(setup, function, say) for setup in setups]
    paths, seconds = weight_space.trajectories(members, names, tick)
    return [result(m, t, seconds, len(members)) for m, t in zip(members, paths, strict=True)]


def before(setup: Setup, function: bool, say: Say) -> Member:
    """Kernels at initialization, the critical learning rate, and with `function` what they say."""
    began, frames, paths = time.perf_counter(), [], {}
    critical, seconds = {"network": float("nan")}, 0.0
    try:
        first = theta = function_space.empirical_kernels(setup) if fits(setup) else None
        setup, critical["network"] = rates(setup, theta)
        if theta or setup.experiment.optimizer.lr_over_critical:
            values = theta and theta.spectrum.values
            frames.append(observe.stability_rows("network", setup, values, critical["network"]))
        if function and theta:
            paths["ntk_empirical"] = function_space.trajectory(setup, theta, with_weights=True)
        elif function:
            paths["ntk_empirical"] = function_space.matrix_free(setup)
        seconds = round(time.perf_counter() - began, 3)
        if function and theta and setup.experiment.linearized.analytic:
            theta = function_space.analytic_kernels(setup)
            values = theta.spectrum.values
            critical["ntk_analytic"] = own = critical_lr(setup, float(values[-1]))
            frames.append(observe.stability_rows("ntk_analytic", setup, values, own))
            paths["ntk_analytic"] = function_space.trajectory(setup, theta, with_weights=False)
    except RunFailed as error:
        return Member(setup, critical, {}, [], seconds, (0, error))
    member = Member(setup, critical, paths, frames, seconds)
    if setup.experiment.optimizer.solver is Solver.leaps:
        member = member._replace(theta=first)
    warn(member, say)
    return member._replace(end=foreseen(member))


def rates(setup: Setup, theta: TangentKernel | None) -> tuple[Setup, float]:
    """The setup with its learning rate, and the critical one of the network's kernel, nan if not
    known. Raises RunFailed where a fraction is asked for and there is none."""
    fraction, critical = setup.experiment.optimizer.lr_over_critical, float("nan")
    if theta and gradient_descent(setup.experiment):
        critical = critical_lr(setup, float(theta.spectrum.values[-1]))
    elif fraction:
        critical = critical_lr(setup, function_space.largest_eigenvalue(setup))
    if fraction and not np.isfinite(critical):
        raise RunFailed(
            f"optimizer.lr_over_critical={fraction:g}: the kernel at initialization is 0, so that "
            "no learning rate is critical; set optimizer.lr in its place"
        )
    return setup._replace(lr=fraction * critical) if fraction else setup, critical


def foreseen(member: Member) -> tuple[int, RunFailed] | None:
    """Member.end: a predicted model that diverges ends the run before its training, unless the
    network may be done before that step, or log.diverged asks for it."""
    setup, opt = member.setup, member.setup.experiment.optimizer
    for model, path in member.paths.items():
        for index in map(int, np.flatnonzero(failures.diverged(setup, path, path.at(0)))):
            if failures.recorded(setup, index):
                break
            why = failures.divergence(setup, member.critical, model, index)
            return (index + 1 if opt.stop or opt.plateau else 0), why
    return None


def critical_lr(setup: Setup, largest: float) -> float:
    return dynamics.critical_lr(largest, setup.rate, setup.experiment.optimizer.momentum)


def result(
    member: Member, trained: weight_space.Outcome, seconds: float, pack: int
) -> Result | RunFailed:
    """Rows of every model up to where it or the run ended, and provenance."""
    if isinstance(trained, RunFailed):
        return trained
    setup, whole = member.setup, {**trained, **member.paths}
    ends = {name: failures.end(setup, path) for name, path in whole.items()}
    last = ends["network"]
    paths = {name: measure.first(path, min(ends[name], last)) for name, path in whole.items()}
    frames = [*member.frames, *all_rows(setup, setup.steps, paths)]
    if setup.experiment.log.diverged:
        frames += observe.diverged_rows(setup.steps, ends, whole)
    about = {
        "data": load.fingerprint(setup.dataset),
        "seconds": {"function_space": member.seconds, "training": round(seconds / pack, 3)},
        "lr": setup.lr,
        "pack": pack,
    }
    return observe.result(frames, about)


def trained(setup: Setup) -> tuple[str, ...]:
    """The models that are."""
    return ("network", "linearized") if spaces(setup)[1] else ("network",)


def stepping(setup: Setup) -> tuple[str, ...]:
    """The models that are, by steps."""
    names = trained(setup)
    return () if weight_space.solves(setup) else names


def spaces(setup: Setup) -> tuple[bool, bool]:
    """Whether the linearized side runs in function space, and whether in weight space."""
    experiment, linearized = setup.experiment, setup.experiment.linearized
    if setup.model.mixes_examples:
        refuse_pairs(experiment)
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
    if experiment.optimizer.solver is Solver.leaps and not fits(setup):
        raise UserError(
            f"optimizer.solver=leaps: the kernel of n * k = {outputs(setup)} outputs is above "
            f"{FUNCTION_SPACE}; use optimizer.solver=steps or lower data.train"
        )
    function = function or (auto and plain and fits(setup))
    return function, weights or (auto and not function)


def refuse_pairs(experiment: Experiment) -> None:
    """Raises UserError for what needs a kernel of pairs of examples, where outputs depend on all
    of their batch: of a network of the user's own, as rules.py knows the others."""
    why = "as the network says mixes_examples = True: there is no kernel of pairs of examples"
    if experiment.log.kernel:
        raise UserError(f"log.kernel=true: must be false, {why}")
    if experiment.optimizer.solver is Solver.leaps:
        raise UserError(f"optimizer.solver=leaps: must be steps, {why}")


def warn(member: Member, say: Say) -> None:
    """Before training: above its kernel's critical learning rate a linearization can't converge on
    mse, but in continuous time.

    On cross entropy the curvature is below that of mse, and its own rate is not known beforehand.
    """
    setup = member.setup
    for model, critical in member.critical.items():
        steps = setup.loss.quadratic and not setup.experiment.linearized.flow
        if steps and setup.lr > critical:
            rate = failures.over_critical(setup, member.critical, model)
            say(f"warning: {rate} at initialization: its linearization diverges")


def all_rows(setup: Setup, steps: list[int], paths: dict[str, Trajectory]) -> list[pd.DataFrame]:
    experiment, log = setup.experiment, setup.experiment.log
    keep = log.outputs if log.examples else 0
    frames = observe.target_rows(setup.dataset, keep)
    for name, path in paths.items():
        count = len(path.train)
        frames += observe.trajectory_rows(
            name,
            steps[:count],
            path,
            measure.first(paths["network"], count),
            setup.dataset,
            experiment.loss.name.name,
            keep,
            examples=log.examples and len(paths) > 1,
            fidelity=log.fidelity,
        )
    return frames
