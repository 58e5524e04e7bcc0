from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.networks.layers import Dense
from ntkrepro.theory.kernels import empirical
from tests.laws.common import EXACT, SINGLE, error, fc, jacobian_kernel, network, problem
from tests.oracles import ORACLE, oracle, oracle_params

cases = pytest.mark.parametrize(
    ("parametrization", "b_var", "k"),
    [
        ("ntk", 0.1, 1),
        ("ntk", 0.0, 10),
        ("standard", 0.1, 10),
        ("standard", 0.0, 1),
        ("ntk", 0.1, 10),
    ],
)


def product_kernel(model, params, x1, x2):
    """The same column by column: jvp after vjp, no Jacobian."""
    f2, pullback = jax.vjp(lambda p: network(model)(p, x2), params)

    def column(cotangent):
        (tangent,) = pullback(cotangent)
        return jax.jvp(lambda p: network(model)(p, x1), (params,), (tangent,))[1]

    basis = jnp.eye(f2.size).reshape(f2.size, *f2.shape)
    return jnp.moveaxis(jax.vmap(column)(basis), 0, -1).reshape(len(x1), f2.shape[1], *f2.shape)


@cases
def test_structured_is_jacobian_is_products(parametrization, b_var, k):
    model = fc(k=k, activation="gelu", parametrization=parametrization, b_var=b_var)
    params, x, _, x_test = problem(model)
    structured = empirical.ntk(model, params, x_test, x)
    assert structured.shape == (5, k, 9, k)
    assert error(structured, jacobian_kernel(model, params, x_test, x)) < EXACT
    assert error(structured, product_kernel(model, params, x_test, x)) < EXACT


@pytest.mark.parametrize(
    ("k", "symmetric", "trace"), [(1, True, False), (3, True, True), (3, False, False)]
)
def test_blocks_are_the_whole(k, symmetric, trace):
    model = fc(k=k)
    params, x, _, x_test = problem(model)
    ntk = partial(empirical.ntk, model, params, x, None if symmetric else x_test, trace=trace)
    memory = next(m for m in 2 ** np.arange(30) if empirical.rows_at_once(model, x, m) > 1)
    assert empirical.rows_at_once(model, x, memory) < 5
    assert error(ntk(memory=memory), ntk()) < EXACT


def test_trace_is_the_mean_over_outputs():
    model = fc(k=3)
    params, x, *_ = problem(model)
    full, trace = (empirical.ntk(model, params, x, trace=t) for t in (False, True))
    assert error(trace, jnp.einsum("nkmk->nm", full) / 3) < EXACT


def test_layers_sum_to_the_kernel_and_the_readout_s_part_is_the_nngp():
    model = fc(depth=3)
    params, x, *_ = problem(model)
    parts = empirical.ntk(model, params, x, trace=True, per_layer=True)
    assert set(parts) == {("layer1",), ("layer2",), ("layer3",), ("readout",)}
    assert error(sum(parts.values()), empirical.ntk(model, params, x, trace=True)) < EXACT
    assert error(parts["readout",], empirical.nngp(model, params, x)) < EXACT


def test_nngp_is_the_covariance_over_readouts_in_both_parametrizations():
    """2000 draws: relative error about sqrt(2/2000) = 3 %."""
    for parametrization in ("ntk", "standard"):
        model = fc(depth=1, width=16, k=2000, parametrization=parametrization)
        params, x, *_ = problem(model)
        f = network(model)(params, x)
        expected = empirical.nngp(model, params, x)
        assert error(f @ f.T / 2000, expected) < 0.15


class Scaled(nn.Module):
    """Dense layers, and a scale per unit that belongs to none of them."""

    outputs: int = 2

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.normal(1.0), (8,), x.dtype)
        x = scale * jnp.tanh(Dense(8, "ntk", 1.5, 0.1, name="layer1")(x))
        return Dense(self.outputs, "ntk", 1.5, 0.1, name="readout")(x)


@pytest.mark.parametrize("memory", [2**31, 10**4])
def test_parameters_outside_dense_layers_count_too(memory):
    model = Scaled()
    params, x, _, x_test = problem(model)
    expected = jacobian_kernel(model, params, x, x_test)
    assert error(empirical.ntk(model, params, x, x_test, memory=memory), expected) < EXACT


def test_any_flax_module_has_a_kernel():
    class Plain(nn.Module):
        outputs: int = 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.outputs, param_dtype=x.dtype)(
                jnp.tanh(nn.Dense(6, param_dtype=x.dtype)(x))
            )

    model = Plain()
    params, x, _, x_test = problem(model)
    expected = jacobian_kernel(model, params, x, x_test)
    assert error(empirical.ntk(model, params, x, x_test), expected) < EXACT
    assert error(empirical.ntk(model, params, x), jacobian_kernel(model, params, x, x)) < EXACT


def test_single_precision_agrees_with_double():
    model = fc(depth=3, width=256, activation="relu")
    params, x, *_ = problem(model, n=20, d=50)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    kernel = empirical.ntk(model, single, x.astype(jnp.float32))
    assert kernel.dtype == jnp.float32
    assert error(kernel, empirical.ntk(model, params, x)) < SINGLE


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_reference_values(parametrization):
    values = oracle(f"empirical_fc_{parametrization}.npz")
    model = fc(k=3, width=12, activation="relu", parametrization=parametrization).clone(w_var=2.0)
    params = oracle_params(values)
    x1, x2 = jnp.asarray(values["x1"]), jnp.asarray(values["x2"])
    ntk = partial(empirical.ntk, model, params)
    for kernel, name in ((ntk(x1, x2), "12"), (ntk(x1), "11"), (ntk(x2, x1), "21")):
        assert error(kernel, values[f"ntk{name}_full"].transpose(0, 2, 1, 3)) < ORACLE
    assert error(ntk(x1, x2, trace=True), values["ntk12_trace"]) < ORACLE
    assert error(ntk(x1, trace=True), values["ntk11_trace"]) < ORACLE
    if parametrization == "ntk":
        assert error(empirical.nngp(model, params, x1, x2), values["ref_readout_ntk12"]) < ORACLE
