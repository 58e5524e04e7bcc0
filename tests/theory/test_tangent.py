"""A network's tangent against its Jacobian from reverse mode, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ntkrepro.config.compose import compose
from ntkrepro.networks import architectures
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.tangent import tangent
from tests import own
from tests.laws import test_convolutions as images
from tests.laws.common import EXACT, error, fc, network, problem
from tests.laws.conftest import x64  # noqa: F401

cnn = partial(images.cnn, depth=1)
OURS = [
    (fc(), problem, True),
    (fc(k=10, parametrization="standard"), problem, True),
    (fc(k=3, activation="relu", b_var=0.0), problem, True),
    (cnn(), images.problem, True),
    (cnn(pool="flatten", k=1, parametrization="standard"), images.problem, True),
]


def agrees(model, params, x, structured):
    f = partial(network(model), x=x)
    flat, back = ravel_pytree(params)
    jacobian = jax.jacobian(lambda p: f(back(p)).ravel())(flat)
    found, rng = tangent(model, params, x), np.random.default_rng(0)
    assert (found.factors is not None) == structured
    assert error(found.f, f(params)) < EXACT
    omega, c = (jnp.asarray(rng.standard_normal(size)) for size in (flat.shape, found.f.shape))
    assert error(found.push(back(omega)).ravel(), jacobian @ omega) < EXACT
    assert jax.tree.structure(found.pull(c)) == jax.tree.structure(params)
    assert error(ravel_pytree(found.pull(c))[0], jacobian.T @ c.ravel()) < EXACT
    kernel = found.kernel()
    assert kernel.shape == (*f(params).shape, *f(params).shape)
    assert error(kernel.reshape(2 * (found.f.size,)), jacobian @ jacobian.T) < EXACT


@pytest.mark.parametrize(("model", "given", "structured"), OURS)
def test_it_is_that_of_the_jacobian(model, given, structured):
    params, x, *_ = given(model)
    agrees(model, params, x, structured)


@pytest.mark.parametrize(("model", "given", "structured"), [OURS[1], OURS[3]])
def test_where_memory_holds_no_factors_it_is_the_same(monkeypatch, model, given, structured):
    monkeypatch.setattr(empirical, "MEMORY", 1)
    params, x, *_ = given(model)
    agrees(model, params, x, structured=False)


def test_of_a_network_of_the_user_s_own(here):
    model = compose(own.words("Pair")).experiment.model
    x = jnp.asarray(own.PIXELS[:5])
    built = architectures.build(model, 16, 3, x)
    params = built.init(jax.random.key(0), x)["params"]
    agrees(built, params, x, structured=False)


def test_of_batchnorm_there_is_no_kernel():
    model = images.wrn()
    params, x, *_ = images.problem(model)
    with pytest.raises(ValueError, match="BatchNorm"):
        tangent(model, params, x).kernel()
