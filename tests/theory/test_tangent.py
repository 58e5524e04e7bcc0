"""A network's tangent against its Jacobian from reverse mode, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ntkrepro.config.compose import compose
from ntkrepro.networks import architectures
from ntkrepro.theory import moves
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.moves import Move
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


def formed(move, params):
    """A move in one piece."""
    still = jax.tree.map(jnp.zeros_like, params)
    return -ravel_pytree(moves.settled(still, move))[0]


def agrees(model, params, x, structured):
    f = partial(network(model), x=x)
    flat, back = ravel_pytree(params)
    jacobian = jax.jacobian(lambda p: f(back(p)).ravel())(flat)
    found, rng = tangent(model, params, x), np.random.default_rng(0)
    assert (found.factors is not None) == structured
    assert error(found.f, f(params)) < EXACT
    omega, c = (jnp.asarray(rng.standard_normal(size)) for size in (flat.shape, found.f.shape))
    move, pulled = 0.5 * Move(((2.0, back(omega)),)), found.pull(c)
    assert error(found.push(move).ravel(), jacobian @ omega) < EXACT
    assert error(formed(pulled, params), jacobian.T @ c.ravel()) < EXACT
    assert error(found.push(pulled).ravel(), jacobian @ jacobian.T @ c.ravel()) < EXACT
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


THIN = [
    (fc(), problem),
    (fc(k=3, activation="relu", b_var=0.0), problem),
    (fc(k=10, parametrization="standard"), problem),
    (fc(depth=0, k=2), problem),
]


@pytest.mark.parametrize(("model", "given"), THIN)
def test_what_is_pulled_twice_is_a_move_that_need_not_be_formed(monkeypatch, model, given):
    """Outputs, and the tangent, of a network whose layers take off thin products."""
    params, x, *_ = given(model)
    rng = np.random.default_rng(1)
    draw = lambda: 0.1 * rng.standard_normal((len(x), model.outputs))  # noqa: E731
    monkeypatch.setattr(moves, "stays_thin", lambda layers: True)
    first = tangent(model, params, x)
    halfway = tangent(model, params, x, first.pull(draw()))
    a, b, c = (p.pull(draw()) for p in (first, first, halfway))
    move, omega = a - 0.3 * b + 2.0 * c, draw()
    assert len(move.pulls) == move.passes == 2
    assert moves.absorbed(move) == 0
    parts = [formed(part, params) for part in (a, b, c)]
    assert error(formed(move, params), parts[0] - 0.3 * parts[1] + 2 * parts[2]) < EXACT
    there = moves.settled(params, move)
    found, exact = tangent(model, params, x, move), tangent(model, there, x)
    assert error(moves.apply(model, params, x[:4], move), network(model)(there, x[:4])) < EXACT
    for part in ("f", "kernel"):
        pair = [getattr(t, part) for t in (found, exact)]
        assert error(*(p() if callable(p) else p for p in pair)) < EXACT
    assert error(found.push(move), exact.push(move)) < EXACT
    assert error(formed(found.pull(omega), params), formed(exact.pull(omega), params)) < EXACT
    formed_too = move + Move(((0.5, params),))  # a tree has to be formed, and the pulls with it
    assert moves.absorbed(formed_too) == 2
    half = moves.settled(params, formed_too)
    assert error(tangent(model, params, x, formed_too).f, network(model)(half, x)) < EXACT
    together = found.push(move) + 0.5 * found.push(Move(((1.0, params),)))
    assert error(found.push(formed_too), together) < EXACT


@pytest.mark.parametrize(
    ("model", "given", "thin"),
    [(fc(), problem, False), (fc(width=96), problem, True), (cnn(), images.problem, False)],
)
def test_moves_are_formed_where_that_is_less_work(model, given, thin):
    params, x, *_ = given(model)
    move = tangent(model, params, x).pull(np.ones((len(x), model.outputs)))
    assert (bool(move.pulls), bool(move.trees)) == (thin, not thin)


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
