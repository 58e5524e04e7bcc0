"""K steps on a linearization at once, against the K steps."""

import numpy as np
import pytest

from ntkrepro.theory import dynamics
from ntkrepro.theory.leaps import Fixed, Rule, Start, leaps
from ntkrepro.theory.losses import LOSSES
from tests.laws.common import error

LEAP = 1e-12
STEPS = [1, 2, 7, 40, 300]
rules = pytest.mark.parametrize("momentum", [0.0, 0.9])
losses = pytest.mark.parametrize("name", LOSSES)


def drawn(name, n, k, weights, seed=0):
    """J, f and y of n points whose outputs depend on so many weights, and those of others."""
    rng = np.random.default_rng(seed)
    jacobian, other = rng.standard_normal((n * k, weights)), rng.standard_normal((3 * k, weights))
    f, f_other = rng.standard_normal((n, k)), rng.standard_normal((3, k))
    y = np.eye(k)[rng.integers(k, size=n)] if name == "xent" else rng.standard_normal((n, k))
    return jacobian, f, y, other, f_other


def rule_of(name, momentum, jacobian, f):
    """At 0.9 of the critical rate of mse: some modes oscillate."""
    loss = LOSSES[name]
    top = np.linalg.norm(jacobian, 2) ** 2
    lr = 0.9 * dynamics.critical_lr(top, 0.7 * loss.rate(*f.shape), momentum)
    return Rule(loss, 0.7, lr, momentum)


def descended(rule, jacobian, f, y, v, steps):
    """theta and v after each of `steps`, by Eq. 20, 21 in the weights."""
    theta, out = np.zeros_like(v), {0: (np.zeros_like(v), v)}
    for step in range(1, max(steps) + 1):
        g = rule.gradient(f + (jacobian @ theta).reshape(f.shape), y)
        v = rule.momentum * v + jacobian.T @ g.ravel()
        theta = theta - rule.lr * v
        out[step] = theta, v
    return [out[step] for step in steps]


@losses
@rules
@pytest.mark.parametrize(("n", "k", "weights"), [(6, 1, 20), (4, 3, 20), (4, 3, 5)])
def test_leaps_are_the_steps(name, momentum, n, k, weights):
    """Also where directions of the outputs don't move at all."""
    jacobian, f, y, *_ = drawn(name, n, k, weights)
    rule = rule_of(name, momentum, jacobian, f)
    v = np.random.default_rng(1).standard_normal(weights) if momentum else np.zeros(weights)
    jv = (jacobian @ v).reshape(f.shape)
    done = leaps(rule, Start(jacobian @ jacobian.T, f, y, jv), STEPS)
    theta, velocity = map(np.stack, zip(*descended(rule, jacobian, f, y, v, STEPS), strict=True))
    moved = np.stack([-jacobian.T @ leap.c.ravel() - leap.slide * v for leap in done])
    assert error(moved, theta) < LEAP
    if momentum:
        turned = np.stack([jacobian.T @ leap.w.ravel() + leap.decay * v for leap in done])
        assert error(turned, velocity) < LEAP


@losses
def test_one_step_reads_no_kernel(name):
    jacobian, f, y, *_ = drawn(name, 4, 2, 9)
    rule = rule_of(name, 0.9, jacobian, f)
    v = np.ones(9)
    start = Start(np.zeros((0, f.size)), f, y, (jacobian @ v).reshape(f.shape))
    (leap,) = leaps(rule, start, [1])
    ((theta, _),) = descended(rule, jacobian, f, y, v, [1])
    assert error(-jacobian.T @ leap.c.ravel() - leap.slide * v, theta) < LEAP


@losses
@rules
def test_one_linearization_at_other_points_is_its_training_in_any_order(name, momentum):
    jacobian, f, y, other, f_other = drawn(name, 4, 3, 20)
    rule = rule_of(name, momentum, jacobian, f)
    kernel = jacobian @ jacobian.T
    fixed = Fixed(rule, kernel, other @ jacobian.T, dynamics.spectrum(kernel), (f, y, f_other))
    asked = [7, 40, 0, 9, 40, 300, 3, 8]
    for step, (theta, _) in zip(
        asked, descended(rule, jacobian, f, y, np.zeros(20), asked), strict=True
    ):
        assert error(fixed.at(step), f_other + (other @ theta).reshape(3, 3)) < LEAP
