"""Kernels of networks of which nothing is known but f, either way; and which way is taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro import api
from ntkrepro.theory.kernels import empirical, generic
from tests.laws.common import close
from tests.laws.conftest import x64  # noqa: F401

RNG = np.random.default_rng(0)
ways = pytest.mark.parametrize("way", generic.WAYS)


def mlp(params, x):
    h = jnp.tanh(x.reshape(len(x), -1) @ params["w"])
    return h @ params["v"] + params["b"]


def theta(width, k, inputs=6):
    w, v = RNG.standard_normal((inputs, width)), RNG.standard_normal((width, k))
    return {"b": jnp.zeros(k), "v": jnp.asarray(v), "w": jnp.asarray(w)}


def shared(params, x):
    """The same weights at 50 positions."""
    moved = jnp.sin(x[:, None] + jnp.arange(50.0)[:, None])
    return mlp(params, jnp.reshape(moved, (-1, x.shape[1]))).reshape(len(x), 50, -1).mean(1)


def jacobians(f, params, *xs):
    found = [jax.tree.leaves(jax.jacobian(f)(params, x)) for x in xs]
    return [jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in j], -1) for j in found]


@ways
@pytest.mark.parametrize("f", [mlp, shared])
def test_either_way_gives_the_jacobian_times_its_transpose(x64, way, f):  # noqa: F811
    params, x, other = theta(7, 3), *map(jnp.asarray, RNG.standard_normal((2, 5, 6)))
    first, second = jacobians(f, params, x, other[:4])
    for b, x2 in ((first, None), (second, other[:4])):
        kernel = generic.WAYS[way](f, params, x, x2, False)
        close(kernel, jnp.einsum("ikp,jlp->ikjl", first, b), 1e-13)
        trace = generic.WAYS[way](f, params, x, x2, True)
        close(trace, jnp.einsum("ikp,jkp->ij", first, b) / 3, 1e-13)


def counted(f, params, n, memory=2**31):
    x = jnp.asarray(RNG.standard_normal((n, 6)))
    model, flat = api._network(f, params)
    paths = tuple((name,) for name in flat)
    kernel = empirical.ntk(model, flat, x, memory=memory)
    return generic.counts(model, (6,), x.dtype, paths), kernel, empirical.way(model, x, n)


@pytest.mark.parametrize(
    ("f", "k", "n", "wanted"),
    [
        (mlp, 1, 30, "products"),
        (mlp, 1, 1000, "Jacobians"),
        (mlp, 10, 30, "products"),
        (shared, 10, 30, "Jacobians"),
    ],
)
def test_the_way_of_fewer_operations_is_taken(x64, f, k, n, wanted):  # noqa: F811
    found, _, way = counted(f, theta(64, k), n)
    costs = generic.costs(found, n, n, False)
    assert way == wanted == min(costs, key=costs.get)
    assert max(costs.values()) > 1.2 * min(costs.values())


@ways
def test_operations_are_as_many_as_are_compiled(monkeypatch, way):
    """Of one row, as XLA counts what a loop does once; what is moved aside."""
    monkeypatch.setattr(generic, "MOVED", 0)
    params, x = theta(64, 10), jnp.asarray(RNG.standard_normal((1, 6)))
    found, _, _ = counted(mlp, params, 1)
    others = jnp.asarray(RNG.standard_normal((40, 6)))
    program = jax.jit(lambda p, x, y: generic.WAYS[way](mlp, p, x, y, False))
    compiled = program.lower(params, x, others).cost_analysis()["flops"]
    assert 2 / 3 < compiled / generic.costs(found, 1, 40, False)[way] < 3 / 2


@pytest.mark.parametrize("k", [1, 10])
def test_blocks_are_the_whole(x64, k):  # noqa: F811
    params = theta(64, k)
    state = RNG.bit_generator.state
    whole = counted(mlp, params, 30)[1]
    RNG.bit_generator.state = state
    found, parts, _ = counted(mlp, params, 30, memory=30_000 * k)
    assert generic.bytes_of(found, "Jacobians", 8) * 30 > 30_000 * k
    close(parts, whole, 1e-13)


def test_convolutions_never_go_by_a_loop():
    class Convolutional(api.Custom):
        pass

    model, _ = api._network(mlp, theta(64, 10))
    own = Convolutional(model.start, model.forward, model.names, model.tree, convolutional=True)
    x = jnp.zeros((4, 6))
    assert [empirical.way(m, x, 4) for m in (model, own)] == ["products", "Jacobians"]


@pytest.mark.parametrize("p", [3, 64, 130, 1000])
def test_long_rows_are_multiplied_in_pieces(x64, monkeypatch, p):  # noqa: F811
    monkeypatch.setattr(generic, "PIECE", 64)
    a, b = (jnp.asarray(RNG.standard_normal((n, p))) for n in (2, 5))
    close(generic.rows_product(a, b), a @ b.T, 1e-13)
    loops = "scan" in str(jax.make_jaxpr(generic.rows_product)(a, b))
    assert loops == (p > 64)
