import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from ntkrepro.config.compose import compose
from ntkrepro.networks import architectures, functions
from tests.laws.common import EXACT, error, fc, network, problem

PHI = {
    "relu": lambda h: np.maximum(h, 0),
    "tanh": np.tanh,
    "erf": erf,
    "gelu": lambda h: h * (1 + erf(h / np.sqrt(2))) / 2,
    "identity": lambda h: h,
}


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("activation", list(PHI))
def test_outputs_are_eq_1_and_eq_s32(activation, parametrization):
    model = fc(depth=2, k=3, activation=activation, parametrization=parametrization)
    params, x, *_ = problem(model)
    h = np.asarray(x)
    for i, name in enumerate(("layer1", "layer2", "readout")):
        w, b = (np.asarray(params[name][leaf]) for leaf in "wb")
        scale = (np.sqrt(1.5 / len(w)), np.sqrt(0.1)) if parametrization == "ntk" else (1, 1)
        h = scale[0] * h @ w + scale[1] * b
        h = PHI[activation](h) if i < 2 else h
    assert error(network(model)(params, x), h) < EXACT


def test_initial_weights_have_the_variances_of_both_parametrizations():
    for parametrization, w_var, b_var in (("ntk", 1, 1), ("standard", 1.5 / 400, 0.1)):
        model = fc(depth=2, width=400, parametrization=parametrization)
        layer = problem(model)[0]["layer2"]
        assert np.var(layer["w"]) == pytest.approx(w_var, rel=0.02)
        assert np.var(layer["b"]) == pytest.approx(b_var, rel=0.3)


def test_no_bias_without_variance():
    assert set(problem(fc(b_var=0.0))[0]["layer1"]) == {"w"}


def test_a_seed_names_one_network_in_both_precisions():
    model = fc()
    double, x, *_ = problem(model)
    single = functions.init(model, jax.random.key(0), x.astype(jnp.float32))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), double, single)
    assert all(jax.tree.leaves(same))
    assert double["layer1"]["w"].dtype == jnp.float64


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_output_variance_does_not_depend_on_width(parametrization):
    """Mean square over 400 networks; its relative sampling error is about 1/sqrt(200) = 7 %."""
    variances = []
    for width in (16, 128):
        model = fc(width=width, parametrization=parametrization)
        x = problem(model)[1][:1]
        keys = jax.random.split(jax.random.key(1), 400)
        f = jax.vmap(lambda key, m=model, x=x: network(m)(functions.init(m, key, x), x))(keys)
        variances.append(float((f**2).mean()))
    assert variances[0] == pytest.approx(variances[1], rel=0.3)


@pytest.mark.parametrize("architecture", ["fc", "cnn", "wrn"])
def test_initial_parameters_are_those_that_flax_draws(architecture):
    """To the bit, though no layer is run to draw them."""
    experiment = compose(["scale=smoke", f"experiment={architecture}_cifar"]).experiment
    x = jnp.ones((2, 12) if architecture == "fc" else (2, 8, 8, 3))
    model, key = architectures.build(experiment.model, x[0].size, 2, x), jax.random.key(3)
    ours, flax = (
        functions.init(model, key, x),
        jax.jit(functions.draw, static_argnums=0)(model, key, x),
    )
    assert jax.tree.structure(ours) == jax.tree.structure(flax)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), ours, flax))
