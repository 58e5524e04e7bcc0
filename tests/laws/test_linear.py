from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.theory.linearize import linearize, linearize_structured
from ntkrepro.training import loop
from tests.laws.common import EXACT, close, error, fc, network, problem, slope
from tests.oracles import ORACLE, oracle, oracle_params


def displacement(params):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    draws = (jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True))
    return jax.tree.unflatten(tree, draws)


def both(model, params0):
    return linearize(network(model), params0), linearize_structured(model, params0)


def order_of_linearization(model, params0, omega, x) -> float:
    """p in |f(theta_0 + s omega) - f_lin(s omega)| ~ s^p."""
    sizes, gaps = np.array([1e-2, 3e-3, 1e-3, 3e-4]), []
    for size in sizes:
        moved = jax.tree.map(partial(jnp.multiply, size), omega)
        f = network(model)(loop.add(params0, moved), x)
        gaps.append(float(jnp.abs(f - linearize(network(model), params0)(moved, x)).max()))
    return slope(sizes, gaps)


def test_at_params0_it_is_the_network():
    model = fc(k=3)
    params0, x, *_ = problem(model)
    still = jax.tree.map(jnp.zeros_like, params0)
    for apply_lin in both(model, params0):
        assert error(apply_lin(still, x), network(model)(params0, x)) < EXACT


def test_it_is_the_first_order_expansion_with_the_jacobian():
    """Eq. 6 with grad f from reverse mode."""
    model = fc(k=3, activation="gelu")
    params0, x, *_ = problem(model)
    omega = displacement(params0)
    jacobian = jax.jacrev(lambda p: network(model)(p, x))(params0)
    terms = jax.tree.map(lambda j, a: jnp.tensordot(j, a, a.ndim), jacobian, omega)
    expected = network(model)(params0, x) + sum(jax.tree.leaves(terms))
    for apply_lin in both(model, params0):
        assert error(apply_lin(omega, x), expected) < EXACT


def test_the_error_is_of_second_order():
    model = fc(depth=3)
    params0, x, *_ = problem(model)
    order = order_of_linearization(model, params0, displacement(params0), x)
    assert order == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("b_var", [0.0, 0.1])
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_both_ways_have_the_same_gradient(parametrization, b_var):
    model = fc(k=2, activation="relu", parametrization=parametrization, b_var=b_var)
    params0, x, y, _ = problem(model)
    omega = displacement(params0)
    gradients = [
        jax.grad(lambda w, f=apply_lin: jnp.sum((f(w, x) - y) ** 2))(omega)
        for apply_lin in both(model, params0)
    ]
    assert close(*gradients)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_reference_values(parametrization):
    values = oracle(f"empirical_fc_{parametrization}.npz")
    model = fc(k=3, width=12, activation="relu", parametrization=parametrization)
    model = model.clone(w_var=2.0)
    params0, omega = oracle_params(values), oracle_params(values, "d")
    x2 = jnp.asarray(values["x2"])
    f2 = network(model)(loop.add(params0, omega), x2)
    assert error(f2, values["f2_at_delta"]) < ORACLE
    for apply_lin in both(model, params0):
        assert error(apply_lin(omega, x2), values["flin2_at_delta"]) < ORACLE
