"""Minibatches and cross entropy in function space (Eq. 20, 24-26), discrete and as a flow."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.errors import UserError
from ntkrepro.theory import dynamics, flow
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.losses import LOSSES
from ntkrepro.training import batches, loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws.common import EXACT, error, fc, network, problem
from tests.laws.common import slope as log_slope
from tests.oracles import ORACLE, oracle, oracle_params

ODE = 1e-7  # Dopri5 at flow.TOLERANCE, and the stored solutions of the same kind


def onehot(n, k):
    return np.eye(k)[np.arange(n) % k]


@pytest.mark.parametrize("name", ["mse", "xent"])
def test_the_losses_in_numpy_are_those_that_are_descended(name):
    rng = np.random.default_rng(0)
    f, y = rng.standard_normal((5, 3)), onehot(5, 3)
    loss = LOSSES[name]
    assert error(loss.gradient(f, y), jax.grad(loss.value)(jnp.asarray(f), y)) < EXACT
    value = float(loss.value(jnp.asarray(f), y))
    assert loss.per_example(f, y).mean() == pytest.approx(value, rel=EXACT)


@pytest.mark.parametrize("name", ["mse", "xent"])
@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_the_linearized_network_is_the_recursion(name, batch, momentum):
    model, steps = fc(k=3), [0, 1, 10, 300]
    params0, x, _, x_test = problem(model)
    y = jnp.asarray(onehot(9, 3))
    schedule = batches.batch_schedule(0, 9, batch, 300)
    recipe = Recipe(model, loss=name, momentum=momentum)
    batched = None if schedule is None else jnp.asarray(schedule)
    task = Task(params0, x, y, jnp.asarray(0.1), batched)
    apply_lin = loop.applies(recipe, params0)["linearized"]
    states = loop.train(recipe, task, ("linearized",), steps)
    trained = np.stack([apply_lin(s["linearized"], x_test) for _, s in states])

    f, f_test = (network(model)(params0, a) for a in (x, x_test))
    big, side = empirical.ntk(model, params0, x), empirical.ntk(model, params0, x_test, x)
    c = dynamics.recursion(big, f, y, LOSSES[name].gradient, steps, 0.1, momentum, schedule)
    assert np.abs(trained[-1] - trained[0]).max() > 0.1
    assert error(trained, dynamics.outputs(f_test, side, c)) < EXACT


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_on_full_batches_of_mse_the_recursion_is_the_closed_form(momentum):
    v = oracle("predict.npz")
    f, y, steps = v["fx_train_0"], v["y_train"], [0, 1, 50, 400]
    rate = 0.5 * LOSSES["mse"].rate(*y.shape)
    spectrum = dynamics.spectrum(v["ntk_dd"])
    closed = dynamics.coefficients(spectrum, f - y, steps, rate, momentum=momentum)
    gradient = LOSSES["mse"].gradient
    recursed = dynamics.recursion(v["ntk_dd"], f, y, gradient, steps, 0.5, momentum)
    assert error(recursed, closed) < EXACT


@pytest.mark.parametrize("name", ["mse", "xent"])
def test_flow_minus_discrete_falls_like_lr(name):
    v = oracle("predict.npz")
    f, y, rates, gaps = v["fx_train_0"], v["y_onehot"], np.array([0.4, 0.2, 0.1, 0.05]), []
    for lr in rates:
        steps = [0, round(20 / lr)]
        c = dynamics.recursion(v["ntk_dd"], f, y, LOSSES[name].gradient, steps, lr)
        smooth = flow.coefficients(flow.dense(v["ntk_dd"]), f, y, name, steps, lr)
        gaps.append(float(np.abs(c - smooth).max()))
    assert log_slope(rates, gaps) == pytest.approx(1, abs=0.05)


def test_the_flow_and_many_small_steps_agree_to_1e_6():
    """Richardson's extrapolation of two step sizes takes the recursion's error of order lr away."""
    v = oracle("predict.npz")
    f, y, lr = v["fx_train_0"], v["y_onehot"], 2e-3
    smooth = flow.coefficients(flow.dense(v["ntk_dd"]), f, y, "xent", [0, 10 / lr], lr)[-1]
    once, half = (
        dynamics.recursion(v["ntk_dd"], f, y, LOSSES["xent"].gradient, [0, round(10 / r)], r)[-1]
        for r in (lr, lr / 2)
    )
    assert error(predict_at(v, 2 * half - once), predict_at(v, smooth)) < 1e-6


def predict_at(v, c):
    return dynamics.outputs(v["fx_test_0"], v["ntk_td"], c[None])[0]


def test_the_flow_of_mse_is_its_closed_form():
    v = oracle("predict.npz")
    f, y, steps = v["fx_train_0"], v["y_train"], [0.0, 1.0, 50.0]
    spectrum, rate = dynamics.spectrum(v["ntk_dd"]), LOSSES["mse"].rate(*y.shape)
    for momentum in (0.0, 0.9):
        closed = dynamics.coefficients(spectrum, f - y, steps, rate, True, momentum)
        solved = flow.coefficients(flow.dense(v["ntk_dd"]), f, y, "mse", steps, 1.0, momentum)
        assert error(solved, closed) < ODE


@pytest.mark.parametrize(("stored", "factor"), [("sum", 20), ("meanN", 1), ("meanNk", 1 / 3)])
def test_reference_values_of_cross_entropy(stored, factor):
    """Eq. 25, 26 for the total loss and two means; ours is the mean over examples."""
    v = oracle("predict.npz")
    lr = float(v[f"lr_ce_{stored}"]) * factor
    c = flow.coefficients(
        flow.dense(v["ntk_dd"]), v["fx_train_0"], v["y_onehot"], "xent", v["t_ce"], lr
    )
    for split, side in (("train", "ntk_dd"), ("test", "ntk_td")):
        f = dynamics.outputs(v[f"fx_{split}_0"], v[side], c)
        assert error(f, v[f"ref_ce_{stored}_{split}"]) < ODE


def test_reference_values_of_cross_entropy_with_momentum():
    v = oracle("predict.npz")
    c = flow.coefficients(
        flow.dense(v["ntk_dd"]), v["fx_train_0"], v["y_onehot"], "xent", v["t_ce_mom"], 0.3, 0.9
    )
    for split, side in (("train", "ntk_dd"), ("test", "ntk_td")):
        f = dynamics.outputs(v[f"fx_{split}_0"], v[side], c)
        assert error(f, v[f"ref_ce_meanN_mom_{split}"]) < ODE


def test_reference_values_of_a_network_and_without_its_kernel():
    """Coupled outputs (Eq. 25, 26): the stored kernel's flow, and ours matrix-free."""
    v = oracle("empirical_fc_ntk.npz")
    model = fc(k=3, width=12, activation="relu").clone(w_var=2.0)
    params0, x1, x2 = oracle_params(v), jnp.asarray(v["x1"]), jnp.asarray(v["x2"])
    f1, f2 = (network(model)(params0, x) for x in (x1, x2))
    theta = flow.dense(empirical.ntk(model, params0, x1))
    free = flow.matrix_free(model, params0, x1, x1)
    steps = v["t"][:4]
    c = [flow.coefficients(op, f1, v["y1_onehot"], "xent", steps, 0.5) for op in (theta, free)]
    side = np.asarray(empirical.ntk(model, params0, x2, x1))
    assert error(dynamics.outputs(f2, side, c[0]), v["ce_full_f2"]) < ODE
    assert error(c[1], c[0]) < ORACLE
    apart = np.stack([flow.matrix_free(model, params0, x2, x1)(jnp.asarray(a)) for a in c[1]])
    assert error(f2 - apart, v["ce_full_f2"]) < ODE


def test_without_diffrax_the_flow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(
        UserError, match=r"flow: needs diffrax here; pip install 'ntkrepro\[flow\]'"
    ):
        flow.coefficients(flow.dense(np.eye(2)), np.zeros((2, 1)), np.ones((2, 1)), "mse", [1], 0.1)
