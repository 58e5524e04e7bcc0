import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.theory import dynamics, losses
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws.common import EXACT, SINGLE, error, fc, network, omegas, problem, slope
from tests.oracles import ORACLE, oracle, oracle_params

LR, STEPS = 0.3, [0, 1, 2, 17, 200]


def closed_form(model, params0, x, y, x_test, steps, lr=LR, flow=False):
    """Outputs on train and test points and weights of the linearized network."""
    rate = lr * losses.LOSSES["mse"].rate(*y.shape)
    k_train, k_test = empirical.ntk(model, params0, x), empirical.ntk(model, params0, x_test, x)
    f, f_test = network(model)(params0, x), network(model)(params0, x_test)
    c = dynamics.coefficients(dynamics.spectrum(k_train), f - y, steps, rate, flow)
    pull = jax.vjp(lambda p: network(model)(p, x), params0)[1]
    omega = [jax.tree.map(jnp.negative, pull(jnp.asarray(c_t, x.dtype))[0]) for c_t in c]
    return dynamics.outputs(f, k_train, c), dynamics.outputs(f_test, k_test, c), omega


def trained(model, params0, x, y, x_test, steps, few):
    """The same by descending the loss of f_lin in weight space."""
    recipe = Recipe(model, few=few)
    task = Task(params0, x, y, jnp.asarray(LR, x.dtype))
    apply_lin = loop.applies(recipe, params0)["linearized"]
    points = [omega["linearized"] for omega in omegas(recipe, task, steps, "linearized")]
    return [np.stack([apply_lin(p, data) for p in points]) for data in (x, x_test)], points


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize(("depth", "k"), [(1, 1), (3, 2), (5, 1)])
def test_training_the_linearized_network_is_the_closed_form(depth, k, few):
    model = fc(depth=depth, k=k)
    params0, x, y, x_test = problem(model)
    train_f, test_f, omega = closed_form(model, params0, x, y, x_test, STEPS)
    (train_w, test_w), points = trained(model, params0, x, y, x_test, STEPS, few)
    assert error(train_w, train_f) < EXACT
    assert error(test_w, test_f) < EXACT
    for path in (("layer1", "w"), ("readout", "b")):
        assert error(points[-1][path[0]][path[1]], omega[-1][path[0]][path[1]]) < EXACT


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_in_single_precision_to_1e_5(depth):
    model = fc(depth=depth, width=128, activation="relu")
    problem32 = problem(model, d=30, dtype=jnp.float32)
    train_f, test_f, _ = closed_form(model, *problem32, STEPS)
    (train_w, test_w), _ = trained(model, *problem32, STEPS, few=True)
    assert train_w.dtype == np.float32
    assert error(train_w, train_f) < SINGLE
    assert error(test_w, test_f) < SINGLE


@pytest.mark.parametrize("flow", [False, True])
def test_it_starts_at_the_network_and_ends_at_the_linear_solve(flow):
    """t = 0: f_0; t -> infinity: f_0(x) - Theta(x, X) Theta^-1 (f_0(X) - y) (Eq. 11, 12)."""
    model = fc(k=2)
    params0, x, y, x_test = problem(model)
    train_f, test_f, _ = closed_form(model, params0, x, y, x_test, [0, 10**9], flow=flow)
    f, f_test = network(model)(params0, x), network(model)(params0, x_test)
    assert error(train_f[0], f) < EXACT
    assert error(test_f[0], f_test) < EXACT
    assert error(train_f[1], y) < EXACT
    big, side = (empirical.ntk(model, params0, a, x) for a in (x, x_test))
    solve = np.linalg.solve(np.reshape(big, (18, 18)), np.ravel(f - y))
    assert error(test_f[1], f_test - (np.reshape(side, (10, 18)) @ solve).reshape(5, 2)) < ORACLE


def test_the_flow_is_the_limit_of_small_steps():
    """At a fixed time, discrete minus flow falls like lr."""
    model = fc()
    params0, x, y, x_test = problem(model)
    rates, gaps = np.array([0.08, 0.04, 0.02, 0.01]), []
    for lr in rates:
        steps = [round(4 / lr)]
        pair = [
            closed_form(model, params0, x, y, x_test, steps, lr, flow)[1] for flow in (False, True)
        ]
        gaps.append(float(np.abs(pair[0] - pair[1]).max()))
    assert slope(rates, gaps) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("a", [0.0, 1e-320, 1e-18, 1e-9, 0.3, 1.0, 1.7, 2.0, 2.1])
def test_progress_is_the_sum_of_a_geometric_series(a):
    """(1 - (1 - a)^t) / a = sum_s<t (1 - a)^s, for every a: small, oscillating, growing."""
    series = np.sum((1 - a) ** np.arange(50))
    assert dynamics.progress(np.array([a]), np.array([50]), flow=False)[0, 0] == pytest.approx(
        series, rel=EXACT
    )


def test_a_shared_kernel_acts_on_each_output():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 6))
    kernel, residual = root @ root.T, rng.standard_normal((6, 3))
    shared = dynamics.coefficients(dynamics.spectrum(kernel), residual, [3, 9], 0.1)
    full = np.einsum("nm,ab->namb", kernel, np.eye(3))
    coupled = dynamics.coefficients(dynamics.spectrum(full), residual, [3, 9], 0.1)
    assert error(shared, coupled) < EXACT
    assert (
        error(dynamics.outputs(residual, kernel, shared), dynamics.outputs(residual, full, coupled))
        < EXACT
    )


def test_rounding_does_not_make_a_kernel_indefinite():
    assert dynamics.spectrum(np.array([[1.0, 1.0], [1.0, 1.0 - 1e-9]])).values[0] == 0


def test_above_the_critical_rate_gradient_descent_grows_and_below_it_does_not():
    model = fc()
    params0, x, y, x_test = problem(model)
    kernel = dynamics.spectrum(empirical.ntk(model, params0, x))
    critical = dynamics.critical_lr(kernel.values[-1], losses.LOSSES["mse"].rate(*y.shape))
    sizes = []
    for factor in (0.99, 1.01):
        f = closed_form(model, params0, x, y, x_test, [0, 3000], factor * critical)[0]
        sizes.append(float(np.abs(f[1] - y).max() / np.abs(f[0] - y).max()))
    assert sizes[0] < 1 < 1e3 < sizes[1]


def test_reference_values():
    """Flow and discrete steps with given kernels."""
    v = oracle("predict.npz")
    c0 = losses.LOSSES["mse"].rate(*v["y_train"].shape)
    residual = v["fx_train_0"] - v["y_train"]
    for name in ("ntk", "nngp"):
        kernel, side = v[f"{name}_dd"], v[f"{name}_td"]
        c = dynamics.coefficients(
            dynamics.spectrum(kernel), residual, v["t"], v["lr"] * c0, flow=True
        )
        assert error(dynamics.outputs(v["fx_train_0"], kernel, c), v[f"mse_{name}_train"]) < ORACLE
        assert error(dynamics.outputs(v["fx_test_0"], side, c), v[f"mse_{name}_test"]) < ORACLE
    spectrum = dynamics.spectrum(v["ntk_dd"])
    c = dynamics.coefficients(spectrum, residual, v["t_mom"], v["lr_mom"] * c0)
    assert (
        error(dynamics.outputs(v["fx_test_0"], v["ntk_td"], c), v["ref_disc_gd_mse_test"]) < ORACLE
    )
    assert dynamics.critical_lr(spectrum.values[-1], c0) == pytest.approx(
        float(v["max_lr_ntk"]), rel=ORACLE
    )


def test_reference_values_of_a_network():
    """Coupled outputs, outputs and weights of the library's own linearized network (Eq. 9)."""
    v = oracle("empirical_fc_ntk.npz")
    model = fc(k=3, width=12, activation="relu").clone(w_var=2.0)
    names = ("layer1", "layer2", "readout")
    params0 = oracle_params(v)
    x1, x2, y = (jnp.asarray(v[n]) for n in ("x1", "x2", "y1"))
    f1, f2, omega = closed_form(model, params0, x1, y, x2, v["t"], 0.5, flow=True)
    assert error(f1, v["mse_full_f1"]) < ORACLE
    assert error(f2, v["mse_full_f2"]) < ORACLE
    flat = [np.concatenate([np.ravel(w[n][leaf]) for n in names for leaf in "wb"]) for w in omega]
    assert error(np.stack(flat), v["ref_omega_t"]) < ORACLE
