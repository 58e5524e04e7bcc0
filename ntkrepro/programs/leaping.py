"""The network by leaps: what training/leaps.py is given of a setup, and what it gives."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.programs.function_space import TangentKernel
from ntkrepro.programs.observe import Reached
from ntkrepro.programs.setup import Setup
from ntkrepro.theory import dynamics, moves
from ntkrepro.theory.leaps import Fixed, Rule
from ntkrepro.theory.moves import STILL, Move
from ntkrepro.theory.tangent import tangent
from ntkrepro.training import leaps, loop, measure

PROBES = 64  # train points, and test points, at which errors are measured


class Descended(NamedTuple):
    """What is trained by leaps: train points x [n, ...] with targets y [n, k], from params0; x_test
    [m, ...], at which errors are measured too."""

    model: Any
    params0: Any
    x: jax.Array
    y: np.ndarray
    x_test: jax.Array


def problem_of(setup: Setup, theta: TangentKernel) -> leaps.Problem:
    """The descent of a setup's network."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    rule = Rule(setup.loss, experiment.loss.scale, setup.lr, opt.momentum)
    y = np.asarray(setup.dataset.y_train, np.float64)
    own = Descended(setup.model, setup.params0, setup.x_train, y, setup.x_test)
    return problem(own, rule, theta, opt.tolerance, opt.floor)


def problem(
    own: Descended, rule: Rule, theta: TangentKernel, tolerance: float, floor: float
) -> leaps.Problem:
    """A descent, and what errors it may have: `tolerance` times the rms between its outputs and
    those of its linearization at theta_0, whose kernel is `theta`, or times `floor` of the rms of
    f_0 - y where that is more."""
    model, params0, x, y, x_test = own
    probes = jnp.concatenate([x[:PROBES], x_test[:PROBES]])

    def outputs(theta: Any, move: Move) -> np.ndarray:
        return np.asarray(moves.apply(model, theta, probes, move), np.float64)

    f0 = np.asarray(measure.apply(model, params0, x), np.float64)
    kernel = dynamics.matrix(theta.train_train, 0)
    other = np.concatenate([theta.train_train[:PROBES], theta.test_train[:PROBES]])
    values = f0, y, outputs(params0, STILL)
    linear = Fixed(rule, kernel, dynamics.matrix(other, 0), theta.spectrum, values)
    least = floor * leaps.rms(f0 - y)

    def allowed(step: int, f: np.ndarray) -> float:
        deviation, way = leaps.rms(f - linear.at(step)), leaps.rms(f - linear.f_other)
        return tolerance * max(float(np.fmin(deviation, way)), least)  # it may diverge

    return leaps.Problem(
        rule,
        partial(loop.add, params0),
        lambda theta, move: tangent(model, theta, x, move),
        y,
        outputs,
        len(probes),
        allowed,
    )


def start(setup: Setup) -> leaps.State:
    still = jax.tree.map(jnp.zeros_like, setup.params0)
    return leaps.start(still, setup.experiment.optimizer.momentum > 0)


def train(
    setup: Setup,
    theta: TangentKernel | None,
    steps: list[int],
    tick: Callable[[int], None],
    keep: Callable[[int, Any], None],
    resume: tuple[int, leaps.State],
) -> Iterator[Reached]:
    """As loop.train, of one network by leaps."""

    def done(step: int, state: leaps.State) -> None:
        tick(step)
        keep(step, state)

    assert theta is not None, "leaps are refused where there is no kernel"
    now, state = resume
    for step, reached, point in leaps.solve(problem_of(setup, theta), state, now, steps, done):
        spent = np.asarray(reached.gauge[1:], np.float64)
        yield Reached(step, {"network": reached.omega}, spent, partial(getattr, point, "full"))
