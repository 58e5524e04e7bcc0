"""The program `train`: a network and its linearization over the steps of gradient descent."""

import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from ntkrepro import data, function_space, measure, predict, weight_space
from ntkrepro.config import Experiment, Space
from ntkrepro.errors import UserError
from ntkrepro.function_space import Kernels
from ntkrepro.measure import Trajectory
from ntkrepro.setup import FUNCTION_SPACE, Setup, fits, outputs, prepare
from ntkrepro.weight_space import Tick

Say = Callable[[str], None]


def run(experiment: Experiment, say: Say, tick: Tick) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of the record, and for its provenance the data's fingerprint and each side's seconds."""
    setup = prepare(experiment)
    frames, seconds = compute(setup, say, tick)
    about = {"data": data.fingerprint(setup.dataset), "seconds": seconds}
    return pd.concat(frames, ignore_index=True), about


def compute(setup: Setup, say: Say, tick: Tick) -> tuple[list[pd.DataFrame], dict[str, float]]:
    """Rows of every model and the seconds that each side took."""
    function, weights = spaces(setup)
    frames: list[pd.DataFrame] = []
    paths: dict[str, Trajectory] = {}
    seconds: dict[str, float] = {}
    critical = float("nan")
    if fits(setup):
        began = time.perf_counter()
        theta = function_space.empirical_kernels(setup)
        opt = setup.experiment.optimizer
        critical = predict.critical_lr(theta.spectrum, setup.rate, opt.momentum)
        frames.append(stability_rows(theta, critical))
        warn(setup, critical, say)
        if function:
            paths["ntk_empirical"] = function_space.trajectory(setup, theta, with_weights=True)
        seconds["function_space"] = round(time.perf_counter() - began, 3)
    if function and setup.experiment.linearized.analytic:
        kernels = function_space.analytic_kernels(setup)
        paths["ntk_analytic"] = function_space.trajectory(setup, kernels, with_weights=False)
    names = ("network", "linearized") if weights else ("network",)
    reference = paths.get("ntk_empirical")
    trained, spent = weight_space.trajectories(setup, names, critical, reference, tick)
    seconds["training"] = spent
    return [*frames, *all_rows(setup, {**trained, **paths})], seconds


def spaces(setup: Setup) -> tuple[bool, bool]:
    """Whether the linearized side runs in function space, and whether in weight space."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    space = experiment.linearized.space
    full = opt.batch is None or opt.batch == experiment.data.train
    closed = full and opt.momentum == 0 and experiment.loss.name.name == "mse"
    function = space in (Space.function, Space.both)
    if function and not closed:
        raise UserError(
            f"linearized.space={space.name}: function space is for full-batch gradient descent on "
            "mse without momentum; use linearized.space=weights"
        )
    if function and not fits(setup):
        raise UserError(
            f"linearized.space={space.name}: the kernel of n * k = {outputs(setup)} outputs is "
            f"above {FUNCTION_SPACE}; use linearized.space=weights or lower data.train"
        )
    function = function or (space is Space.auto and closed and fits(setup))
    weights = space in (Space.weights, Space.both) or (space is Space.auto and not function)
    return function, weights


def warn(setup: Setup, critical: float, say: Say) -> None:
    """Before training: above the critical learning rate the linearization can't converge."""
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
