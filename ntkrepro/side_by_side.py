"""The program `train`: a network and its linearization over the steps of gradient descent."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ntkrepro import data, function_space, measure, models, predict, weight_space
from ntkrepro.config import Experiment, Space
from ntkrepro.errors import UserError
from ntkrepro.function_space import Kernels
from ntkrepro.kernels.empirical import MIXES
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
    critical, began = float("nan"), time.perf_counter()
    if fits(setup):
        theta = function_space.empirical_kernels(setup)
        if gradient_descent(setup.experiment):
            momentum = setup.experiment.optimizer.momentum
            critical = predict.critical_lr(theta.spectrum, setup.rate, momentum)
        frames.append(stability_rows(setup, theta, critical))
        warn(setup, critical, say)
        if function:
            paths["ntk_empirical"] = function_space.trajectory(setup, theta, with_weights=True)
    elif function:
        paths["ntk_empirical"] = function_space.matrix_free(setup)
    seconds = {"function_space": round(time.perf_counter() - began, 3)}
    if function and fits(setup) and setup.experiment.linearized.analytic:
        kernels = function_space.analytic_kernels(setup)
        paths["ntk_analytic"] = function_space.trajectory(setup, kernels, with_weights=False)
    names = ("network", "linearized") if weights else ("network",)
    reference = paths.get("ntk_empirical")
    trained, spent = weight_space.trajectories(setup, names, critical, reference, tick)
    seconds["training"] = spent
    return [*frames, *all_rows(setup, {**trained, **paths})], seconds


def gradient_descent(experiment: Experiment) -> bool:
    """Whether the steps are those of Eq. 20: then outputs move by the tangent kernel alone."""
    opt = experiment.optimizer
    plain = opt.name.name == "sgd" and opt.layer_rates.name == "same" and opt.weight_decay == 0
    return plain and opt.train.name == "all" and not experiment.data.augment


def spaces(setup: Setup) -> tuple[bool, bool]:
    """Whether the linearized side runs in function space, and whether in weight space."""
    experiment, linearized = setup.experiment, setup.experiment.linearized
    space, plain = linearized.space, gradient_descent(setup.experiment)
    function = space in (Space.function, Space.both) or (linearized.flow and space is Space.auto)
    if function and not plain:
        raise UserError(
            f"linearized.space={space.name}: function space is for optimizer.name=sgd without "
            "weight decay, layer rates and augmentation that trains all; use "
            "linearized.space=weights"
        )
    if function and models.mixes_examples(setup.model):
        raise UserError(
            f"linearized.space={space.name}: {MIXES}; use linearized.space=weights or "
            "model.norm=none"
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
    function = function or (space is Space.auto and plain and fits(setup))
    weights = space in (Space.weights, Space.both) or (space is Space.auto and not function)
    return function, weights


def warn(setup: Setup, critical: float, say: Say) -> None:
    """Before training: above the critical learning rate the linearization can't converge on mse.

    On cross entropy the curvature is below that of mse, and its own rate is not known beforehand.
    """
    lr = setup.experiment.optimizer.lr
    if lr > critical and setup.experiment.loss.name.name == "mse":
        say(
            f"warning: optimizer.lr={lr:g} is {lr / critical:.3g} x the critical learning rate "
            f"{critical:.4g} of the kernel at initialization: the linearization diverges"
        )


def stability_rows(setup: Setup, theta: Kernels, critical: float) -> pd.DataFrame:
    """Extreme eigenvalues of the empirical kernel, its rate, and the critical learning rate."""
    values = theta.spectrum.values
    quantities = {"lambda_max": values[-1], "lambda_min": values[0], "kernel_rate": setup.rate}
    if np.isfinite(critical):
        quantities["lr_critical"] = critical
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
            examples=len(paths) > 1,
        )
    return frames
