"""Momentum (Eq. 20-23): the closed form against its recursion, its flow and stored values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.theory import dynamics, losses
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws.common import EXACT, close, error, fc, network, omegas, problem, slope
from tests.oracles import ORACLE, oracle

BETA = 0.9
STEPS = [0, 1, 2, 7, 100, 1000]


def recursed(a, steps, beta):
    """phi_t by Eq. 21, step by step."""
    phi = w = 0.0
    out = {0: 0.0}
    for step in range(1, max(steps) + 1):
        w = beta * w + 1 - a * phi
        out[step] = phi = phi + w
    return [out[step] for step in steps]


CRITICALLY_DAMPED = (1 - BETA**0.5) ** 2


@pytest.mark.parametrize(
    "a", [0.0, 1e-18, 1e-6, CRITICALLY_DAMPED, CRITICALLY_DAMPED * (1 + 1e-9), 0.1, 1.0, 3.5]
)
def test_the_closed_form_is_the_recursion(a):
    """Overdamped, critically damped, oscillating, and at 3.5 of the stable 2 (1 + beta) = 3.8."""
    closed = dynamics.momentum_progress(np.array([a]), STEPS, BETA, flow=False)[:, 0]
    assert closed == pytest.approx(recursed(a, STEPS, BETA), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("flow", [False, True])
def test_without_momentum_it_is_gradient_descent(flow):
    """Discrete: the geometric series. The flow keeps a friction of 1 (a = 0 is solved by hand)."""
    a = np.array([0.0, 1e-9, 0.3, 1.7])
    closed = dynamics.momentum_progress(a, STEPS, 0.0, flow)
    if flow:  # phi'' + phi' = 1 from rest: t - 1 + exp(-t)
        t = np.array(STEPS, float)
        assert error(closed[:, 0], t - 1 + np.exp(-t)) < EXACT
    else:
        assert error(closed, dynamics.progress(a, np.array(STEPS), flow)) < EXACT


@pytest.mark.parametrize("k", [1, 3])
def test_training_the_linearized_network_is_the_closed_form(k):
    model = fc(k=k)
    params0, x, y, x_test = problem(model)
    recipe = Recipe(model, momentum=BETA)
    task = Task(params0, x, y, jnp.asarray(0.1))
    omega = [moved["linearized"] for moved in omegas(recipe, task, STEPS, "linearized")]
    apply_lin = loop.applies(recipe, params0)["linearized"]

    f, f_test = (network(model)(params0, a) for a in (x, x_test))
    big, side = empirical.ntk(model, params0, x), empirical.ntk(model, params0, x_test, x)
    rate = 0.1 * losses.LOSSES["mse"].rate(*y.shape)
    c = dynamics.coefficients(dynamics.spectrum(big), f - y, STEPS, rate, momentum=BETA)
    assert error(np.stack([apply_lin(w, x) for w in omega]), dynamics.outputs(f, big, c)) < EXACT
    test = np.stack([apply_lin(w, x_test) for w in omega])
    assert error(test, dynamics.outputs(f_test, side, c)) < EXACT
    pull = jax.vjp(lambda p: network(model)(p, x), params0)[1]
    last = pull(-jnp.asarray(c[-1]))[0]
    assert close(omega[-1], last)


def test_the_flow_is_the_limit_of_small_steps():
    """With 1 - beta = sqrt(lr), at a fixed time sqrt(lr) t: discrete minus flow ~ sqrt(lr)."""
    roots, gaps = np.array([0.04, 0.02, 0.01, 0.005]), []
    for root in roots:
        steps = [round(5 / root)]
        pair = [
            root**2 * dynamics.momentum_progress(np.array([root**2]), steps, 1 - root, flow)
            for flow in (False, True)
        ]
        gaps.append(abs(float(pair[0][0, 0] - pair[1][0, 0])))
    assert slope(roots, gaps) == pytest.approx(1, abs=0.05)


def test_reference_values():
    """Eq. 23 with given kernels, and the discrete recursion of Eq. 21."""
    v = oracle("predict.npz")
    rate = float(v["lr_mom"]) * losses.LOSSES["mse"].rate(*v["y_train"].shape)
    spectrum, beta = dynamics.spectrum(v["ntk_dd"]), float(v["beta_mom"])
    residual = v["fx_train_0"] - v["y_train"]
    for stored, flow in (("ref_mom_mse", True), ("ref_disc_mom_mse", False)):
        c = dynamics.coefficients(spectrum, residual, v["t_mom"], rate, flow, beta)
        for split, side in (("train", "ntk_dd"), ("test", "ntk_td")):
            f = dynamics.outputs(v[f"fx_{split}_0"], v[side], c)
            assert error(f, v[f"{stored}_{split}"]) < ORACLE
    critical = dynamics.critical_lr(
        spectrum.values[-1], losses.LOSSES["mse"].rate(*v["y_train"].shape), 0.9
    )
    assert critical == pytest.approx(float(v["max_lr_ntk_mom0.9"]), rel=ORACLE)
