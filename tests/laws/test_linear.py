import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.linear import displaced_structured, linearize
from tests.laws.common import (
    EXACT,
    ORACLE,
    error,
    fc,
    network,
    oracle,
    oracle_params,
    problem,
    slope,
)


def moved(params, seed=1, size=1.0):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    draws = [
        size * jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)
    ]
    return jax.tree.map(jnp.add, params, jax.tree.unflatten(tree, draws))


def both(model, params0):
    def dense(params, x):
        return displaced_structured(model, params0)(jax.tree.map(jnp.subtract, params, params0), x)

    return linearize(network(model), params0), dense


def test_at_params0_it_is_the_network():
    model = fc(k=3)
    params0, x, *_ = problem(model)
    for apply_lin in both(model, params0):
        assert error(apply_lin(params0, x), network(model)(params0, x)) < EXACT


def test_it_is_the_first_order_expansion_with_the_jacobian():
    """Eq. 6 with grad f from reverse mode."""
    model = fc(k=3, activation="gelu")
    params0, x, *_ = problem(model)
    params = moved(params0)
    jacobian = jax.jacrev(lambda p: network(model)(p, x))(params0)
    terms = jax.tree.map(lambda j, a, b: jnp.tensordot(j, a - b, a.ndim), jacobian, params, params0)
    expected = network(model)(params0, x) + sum(jax.tree.leaves(terms))
    for apply_lin in both(model, params0):
        assert error(apply_lin(params, x), expected) < EXACT


def test_the_error_is_of_second_order():
    model = fc(depth=3)
    params0, x, *_ = problem(model)
    apply_lin, sizes = linearize(network(model), params0), np.array([1e-2, 3e-3, 1e-3, 3e-4])
    gaps = []
    for size in sizes:
        params = moved(params0, size=size)
        gaps.append(float(jnp.abs(network(model)(params, x) - apply_lin(params, x)).max()))
    assert slope(sizes, gaps) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("b_var", [0.0, 0.1])
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_both_ways_have_the_same_gradient(parametrization, b_var):
    model = fc(k=2, activation="relu", parametrization=parametrization, b_var=b_var)
    params0, x, y, _ = problem(model)
    params = moved(params0)
    gradients = [
        jax.grad(lambda p, f=apply_lin: jnp.sum((f(p, x) - y) ** 2))(params)
        for apply_lin in both(model, params0)
    ]
    for a, b in zip(*(jax.tree.leaves(g) for g in gradients), strict=True):
        assert error(a, b) < EXACT


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_reference_values(parametrization):
    values = oracle(f"empirical_fc_{parametrization}.npz")
    model = fc(k=3, width=12, activation="relu", parametrization=parametrization)
    model = model.clone(w_var=2.0)
    start = oracle_params(values)
    params = jax.tree.map(jnp.add, start, oracle_params(values, "d"))
    assert error(network(model)(params, values["x2"]), values["f2_at_delta"]) < ORACLE
    for apply_lin in both(model, start):
        assert (
            error(apply_lin(params, jnp.asarray(values["x2"])), values["flin2_at_delta"]) < ORACLE
        )
