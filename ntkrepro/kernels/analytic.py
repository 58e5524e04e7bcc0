"""NNGP and tangent kernel of an infinitely wide fully-connected network (Eq. S2-S6)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.kernels import duals
from ntkrepro.kernels.duals import Activation, Points

EDGE = {"cpu": 512}  # of a tile that stays in the cache; elsewhere as large as memory allows


class Kernels(NamedTuple):
    """K and Θ of the readout, for one output."""

    nngp: jax.Array
    ntk: jax.Array


def fc(
    x1,
    x2=None,
    *,
    depth: int,
    activation: Activation,
    w_var: float,
    b_var: float,
    parametrization: str = "ntk",
    width: int | None = None,
    n0: int | None = None,
    memory: int = 2**30,
) -> Kernels:
    """K and Θ of Eq. S3-S6 between x1 [n, d] and x2 [m, d], or x1 and itself: [n, m]."""
    with jax.enable_x64(True):
        dtype = np.dtype(jnp.result_type(x1, x1 if x2 is None else x2))
        dtype = np.dtype(np.float64 if dtype == np.float64 else np.float32)
        n0 = n0 or x1.shape[1]
        own = _own_layers(parametrization, w_var, b_var, n0, width)
        units, norms = zip(*(_normalize(x, dtype) for x in ([x1] if x2 is None else [x1, x2])))
        points, spans = _points(activation, norms, n0, depth, w_var, b_var, dtype)
        edge = min(int(np.sqrt(memory / (16 * dtype.itemsize))), EDGE.get(jax.default_backend(), 2**13))
        tiles = _tiles(len(units[0]), len(units[-1]), max(edge,1), x2 is None)
        scalars = jnp.asarray([w_var, b_var, *own], dtype)
        return _kernels((units[0], *points[0]), (units[-1], *points[-1]), spans, scalars, *tiles, activation=activation,
           symmetric=x2 is None)


def _own_layers(parametrization, w_var, b_var, n0, width):
    if parametrization == "ntk":
        return w_var, w_var, b_var
    return n0, width, float(b_var > 0)


@partial(jax.jit, static_argnames="dtype")
def _normalize(x, dtype):
    norms = jnp.sqrt(jnp.sum(jnp.square(x.astype(jnp.float64)), axis=1))
    return (x / jnp.where(norms > 0, norms, 1)[:, None]).astype(dtype), norms


def _points(activation, norms, n0, depth, w_var, b_var, dtype):
    norm = np.concatenate(norms)
    shares, q = duals.split(norm**2 / n0, w_var, b_var)
    inputs = Points((norm / np.sqrt(n0))[None].astype(dtype), shares.astype(dtype))
    layers, spans = duals.trajectory(activation, q, depth, w_var, b_var, dtype)
    cut = len(norms[0])
    both = (inputs, layers)
    first = jax.tree.map(lambda x: x[..., :cut], both)
    if len(norms) == 1:
        return (first,), spans
    return (first, jax.tree.map(lambda x: x[..., cut:], both)), spans


def _tiles(n, m, edge, symmetric):
    e1, e2 = min(n, edge), min(m, edge)
    rows = [min(i, n - e1) for i in range(0, n, e1)]
    columns = [min(j, m - e2) for j in range(0, m, e2)]
    tiles = [(i, j) for i in rows for j in columns if j >= i or not symmetric]
    return np.array(tiles), (e1, e2)


@partial(jax.jit, static_argnames=("edges", "activation", "symmetric"))
def _kernels(left, right, spans, scalars, tiles, edges, *, activation, symmetric):
    tiles=jnp.asarray(tiles)
    def fetch(t):
        i, j = tiles[t]
        return i, j, _take(left, i, edges[0]), _take(right, j, edges[1])

    def tile(kernels, fetched):
        i, j, one, two = fetched
        same = (i + jnp.arange(edges[0]))[:, None] == (j + jnp.arange(edges[1])) if symmetric else False
        out = _tile(one, two, spans, scalars, same, activation)
        kernels = jax.tree.map(lambda k, o: jax.lax.dynamic_update_slice(k, o, (i, j)), kernels, out)
        if symmetric:
            kernels = jax.tree.map(lambda k, o: jax.lax.dynamic_update_slice(k, o.T, (j, i)), kernels, out)
        return kernels

    shape = len(left[0]), len(right[0])
    empty = jnp.zeros(shape, scalars.dtype)
    return duals.loop(0, len(tiles), fetch, tile, Kernels(empty, empty))


def _take(side, start, size):
    units, *points = side
    cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
    return cut(units, axis=0), *jax.tree.map(partial(cut, axis=-1), points)


def _tile(one, two, spans, scalars, same, activation):
    u1, in1, layers1 = one[0], *jax.tree.map(lambda x: x[..., :, None], one[1:])
    u2, in2, layers2 = two[0], *jax.tree.map(lambda x: x[..., None, :], two[1:])
    w_var, b_var, own_first, own, own_bias = scalars
    relu = activation == "relu"
    dual = duals.DUALS.get(activation, duals.smooth)
    cosine = jnp.matmul(u1, u2.T, precision="highest")
    t = in1.constants[0] * in2.constants[0] * cosine
    ntk = own_first * t + own_bias
    state = w_var * t + b_var
    if relu:
        near, far = _angles(u1, u2, cosine, same)
        near = duals.add_bias(near, in1.shares, in2.shares)
        b1, b2 = in1.shares, in2.shares
        far = duals.add_bias(far, b1, (b2[0], -b2[1]))
        state = jnp.where(near <= far, near, -jnp.maximum(far, jnp.finfo(far.dtype).tiny))

    def layer(carry, xs):
        state, ntk = carry
        (c1, s1), (c2, s2), span = xs
        t, t_dot, state = dual(state, Points(c1, s1, layers1.series), Points(c2, s2, layers2.series), span)
        state = duals.add_bias(state, s1, s2) if relu else w_var * t + b_var
        return state, own * t + own_bias + w_var * ntk * t_dot

    xs = layers1[:2], layers2[:2], jnp.asarray(spans)
    state, ntk = duals.loop(0, len(spans), lambda l: jax.tree.map(lambda x: x[l], xs), layer, (state, ntk))
    if relu:
        state = layers1.constants[-1][1] * layers2.constants[-1][1] * (1 - state)
    return Kernels(state, ntk)


def _angles(u1, u2, cosine, same):
    """1 -+ cosine between unit vectors, from their differences where rounding would tell."""
    near = jnp.where(same, 0, jnp.maximum(1 - cosine, 0))
    far = jnp.maximum(1 + cosine, 0)
    close = (jnp.minimum(near, far) < jnp.finfo(near.dtype).eps ** (1 / 3)) & ~jnp.asarray(same)

    def row(args):
        u, near, far, close = args
        sign = jnp.where(near < far, 1, -1).astype(u.dtype)
        gap = jnp.sum((u - sign[:, None] * u2) ** 2, axis=1) / 2
        return jnp.where(close & (sign > 0), gap, near), jnp.where(close & (sign < 0), gap, far)

    def refine():
        keep = lambda args: args[1:3]
        return jax.lax.map(lambda args: jax.lax.cond(args[3].any(), row, keep, args), (u1, near, far, close))

    return jax.lax.cond(close.any(), refine, lambda: (near, far))
