"""Training by leaps against the steps themselves, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.theory import dynamics, moves
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.leaps import Fixed, Rule
from ntkrepro.theory.losses import LOSSES
from ntkrepro.theory.tangent import tangent
from ntkrepro.training import leaps, loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws import test_convolutions as images
from tests.laws.common import close, fc, network, omegas, problem, slope
from tests.laws.conftest import x64  # noqa: F401

LEAP = 1e-12


class Descent:
    """A network's training, by leaps and by its steps."""

    def __init__(self, model, given=problem, loss="mse", momentum=0.0, over=0.5):
        """At `over` times the critical rate of mse."""
        self.params0, x, y, x_test = given(model)
        y = jax.nn.one_hot(y.argmax(-1), y.shape[-1]) if loss == "xent" else y
        kernel = empirical.ntk(model, self.params0, jnp.concatenate([x, x_test]), x)
        theta = np.split(np.asarray(kernel), [len(x)])[0]
        spectrum, rate = dynamics.spectrum(theta), LOSSES[loss].rate(*y.shape)
        lr = over * dynamics.critical_lr(spectrum.values[-1], rate, momentum)
        self.model, self.still = model, jax.tree.map(jnp.zeros_like, self.params0)
        self.points = jnp.concatenate([x, x_test])
        self.recipe = Recipe(model, loss, momentum=momentum)
        self.task = Task(self.params0, x, y, jnp.asarray(lr))
        rule = Rule(LOSSES[loss], 1.0, lr, momentum)
        f = self.outputs(self.still)
        square, other = dynamics.matrix(theta, 0), dynamics.matrix(np.asarray(kernel), 0)
        self.linear = Fixed(rule, square, other, spectrum, (f[: len(x)], np.asarray(y), f))
        self.problem = leaps.Problem(
            rule,
            partial(loop.add, self.params0),
            lambda theta, move: tangent(model, theta, x, move),
            np.asarray(y),
            lambda theta, move: np.asarray(moves.apply(model, theta, self.points, move)),
            len(self.points),
            lambda step, f: TOLERANCE * self.deviation(step, f),
        )

    def outputs(self, omega):
        return np.asarray(network(self.model)(loop.add(self.params0, omega), self.points))

    def deviation(self, step, f):
        return leaps.rms(f - self.linear.at(step))

    def start(self):
        return leaps.start(self.still, self.problem.rule.momentum > 0)

    def solved(self, steps, done=lambda step, state: None):
        return [state for _, state, _ in leaps.solve(self.problem, self.start(), 0, steps, done)]

    def literal(self, steps):
        return [states["network"] for states in omegas(self.recipe, self.task, steps)]

    def leapt(self, size, last, extrapolated):
        """omega at step `last` by leaps of one `size`."""
        state = self.start()
        for now in range(0, last, size):
            here = leaps.point(self.problem, state)
            if extrapolated:
                ends = leaps.leap(here, now, size).ends
            else:
                ends = here.after(here.leaps([size])[0])
            state = leaps.arrived(state, ends, state.gauge)
        return state.omega


CASES = {
    "tanh": partial(Descent, fc()),
    "relu": partial(Descent, fc(width=64, activation="relu")),
    "momentum": partial(Descent, fc(), momentum=0.9),
    "xent": partial(Descent, fc(k=3), loss="xent"),
    "ten outputs": partial(Descent, fc(k=10), partial(problem, n=6)),
    "standard": partial(Descent, fc(parametrization="standard")),
    "cnn": partial(Descent, images.cnn(depth=1, k=1), partial(images.problem, size=4)),
    "wide": partial(Descent, fc(width=96)),
    "wide, with momentum": partial(Descent, fc(width=96), momentum=0.9),
    "wide, xent": partial(Descent, fc(k=3, width=96), loss="xent"),
    "xent with momentum": partial(Descent, fc(k=3), loss="xent", momentum=0.9),
}


@pytest.mark.parametrize("name", ["tanh", "momentum", "xent", "wide"])
def test_leaps_of_one_step_are_the_steps(name, monkeypatch):
    monkeypatch.setattr(leaps, "length", lambda now, target, pace: 1)
    descent = CASES[name]()
    last = descent.solved([1, 20])[-1]
    assert close(last.omega, descent.literal([20])[-1], LEAP)
    assert np.asarray(last.gauge[1:3]) == pytest.approx([0, 20])


@pytest.mark.parametrize("name", ["tanh", "momentum", "wide", "wide, with momentum"])
def test_a_leap_of_two_steps_is_the_steps(name):
    """Each of its halves is one."""
    descent = CASES[name]()
    assert close(descent.leapt(2, 6, True), descent.literal([6])[-1], LEAP)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("extrapolated", [False, True])
def test_one_leap_of_a_network_linear_in_its_weights_is_eq_9(momentum, extrapolated):
    """A readout alone."""
    descent = Descent(fc(depth=0), momentum=momentum)
    theta = descent.linear
    rate = descent.problem.rule.lr * LOSSES["mse"].rate(*theta.y.shape)
    residual = theta.f - theta.y
    (c,) = dynamics.coefficients(theta.spectrum, residual, [64], rate, momentum=momentum)
    pull = jax.vjp(lambda p: network(descent.model)(p, descent.task.x), descent.params0)[1]
    expected = jax.tree.map(jnp.negative, pull(jnp.asarray(c))[0])
    omega = descent.leapt(64, 64, extrapolated)
    assert close(omega, expected, 1e-11 if extrapolated else LEAP)
    assert close(omega, descent.literal([64])[-1], 1e-10)


@pytest.mark.parametrize(("extrapolated", "order"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("name", ["tanh", "xent"])
def test_the_error_falls_with_the_length_of_leaps(name, extrapolated, order):
    descent, sizes = CASES[name](over=0.05), [64, 32, 16, 8]
    exact = descent.outputs(descent.literal([128])[-1])
    errors = [
        leaps.rms(descent.outputs(descent.leapt(size, 128, extrapolated)) - exact) for size in sizes
    ]
    assert slope(sizes, errors) == pytest.approx(order, abs=0.25)


LOGGED, TOLERANCE = [4, 16, 64, 256], 0.01


@pytest.mark.parametrize("name", CASES)
def test_the_error_is_within_the_tolerance_and_about_the_estimate(name):
    descent, taken = CASES[name](), []
    states = descent.solved(LOGGED, lambda step, state: taken.append(step))
    for step, state, omega in zip(LOGGED, states, descent.literal(LOGGED), strict=True):
        exact, estimate = descent.outputs(omega), float(state.gauge[1])
        off = leaps.rms(descent.outputs(state.omega) - exact)
        assert off <= TOLERANCE * descent.deviation(step, exact)
        assert off < LEAP or off / 10 <= estimate
        little = off < TOLERANCE / 100 * descent.deviation(step, exact)  # it has died out since
        assert little or estimate <= 10 * off
    assert set(LOGGED) <= set(taken)
    assert len(taken) < LOGGED[-1] / 2
    assert states[-1].gauge[2] >= len(taken)


def test_what_diverges_ends_at_the_next_logged_steps_with_what_is_not_finite():
    descent, taken = Descent(fc(activation="identity"), over=50), []
    with np.errstate(over="ignore", invalid="ignore"):  # as programs/run.py
        states = descent.solved([10**5, 10**6], lambda step, state: taken.append(step))
    assert not any(np.isfinite(descent.outputs(state.omega)).all() for state in states)
    assert len(taken) < 100


def test_where_a_kernel_is_not_finite_leaps_are_steps():
    """Outputs reach further than their squares."""
    descent = CASES["tanh"]()

    tangent, n = descent.problem.tangent, len(descent.task.x)
    kernel = jnp.full((n, 1, n, 1), jnp.inf)
    descent.problem = descent.problem._replace(
        tangent=lambda *there: tangent(*there)._replace(kernel=lambda: kernel)
    )
    assert close(descent.solved([1, 12])[-1].omega, descent.literal([12])[-1], LEAP)


NUMBERS = st.floats(min_value=0) | st.just(np.nan)
PACES = st.floats(1e-9, 1e9)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 10**6), PACES)
def test_a_leap_ends_at_or_before_the_target_and_is_no_short_one(now, left, pace):
    size = leaps.length(now, now + left, pace)
    assert size == 1 or leaps.CHEAPER < size <= left
    assert size == 1 or np.log1p(now + size) - np.log1p(now) <= pace * (1 + 1e-9)
    assert size in (1, left) or left - size >= size - 1


@settings(deadline=None)
@given(PACES, NUMBERS, st.floats(0, 1e9), PACES)
def test_a_leap_that_is_refused_is_followed_by_a_shorter_one(pace, off, limit, used):
    """And so on, until it is a step: no estimate goes round for ever."""
    state = leaps.State({}, None, leaps.gauge(pace, np.zeros(3)))
    then = leaps.next_pace(state, off, limit, min(used, pace))
    assert then > 0
    if not off <= limit:
        assert then < min(used, pace)
