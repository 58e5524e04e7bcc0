"""NNGP and tangent kernel of infinitely wide fully-connected networks (Eq. S2-S6, S32).

What depends on one point, the variances K(x, x) of every layer above all, is worked out first, in
float64. The pairs follow in tiles, each through all layers while it is in the cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import dynamic_slice_in_dim, dynamic_update_slice

from ntkrepro.theory.kernels import duals
from ntkrepro.theory.kernels.duals import Activation, Points

CPU_EDGE = 256  # of a tile that stays in a core's cache
TEMPORARIES = 16  # arrays of a tile's size alive at once, at most


class Kernels(NamedTuple):
    """K and Θ of the readout [n, m], for one output."""

    nngp: jax.Array | np.ndarray
    ntk: jax.Array | np.ndarray


class Side(NamedTuple):
    """Rows or columns of a kernel: x [n, d], with `Points` of the inputs and of every layer."""

    x: Any
    inputs: Points
    layers: Points


class Scales(NamedTuple):
    """K = w_var T + b_var; a layer's own part of Θ is `first` T or `later` T, + bias."""

    w_var: Any
    b_var: Any
    inverse_n0: Any
    first: Any
    later: Any
    bias: Any


def fc(
    x1: Any,
    x2: Any = None,
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
    """K and Θ after `depth` hidden layers (Eq. S3-S6), of x1 [n, d] and x2 [m, d] (or x1): [n, m].

    float64 inputs give float64 kernels whatever JAX's x64 flag says (where it is off, go on in
    NumPy), all others float32. `n0` divides x.x' (default d). `parametrization="standard"`
    (Eq. S32) gives the Θ of hidden layers `width` wide: it grows with the width, K does not.
    Tiles are as large as about `memory` bytes of temporaries allow.

    Raises:
        ValueError: arguments that do not fit; an activation too rough for its series.
    """
    dual = duals.dual(activation)
    with jax.enable_x64(True):
        inputs = [jnp.asarray(x) for x in ([x1] if x2 is None else [x1, x2])]
        _check(inputs, depth, w_var, b_var)
        dtype = np.dtype("float64" if jnp.result_type(*inputs) == jnp.float64 else "float32")
        scales = _scales(parametrization, w_var, b_var, n0 or inputs[0].shape[1], width)
        sides, spans = _sides(inputs, depth, activation, scales, dtype)
        left, right = sides[0], sides[-1]
        edges, tiles = _tiles(len(left.x), len(right.x), x2 is None, memory // dtype.itemsize)
        scales = Scales(*(dtype.type(scale) for scale in scales))
        static = {"dual": dual, "edges": edges, "symmetric": x2 is None}
        return _kernels(left, right, spans, depth, tiles, scales, **static)


ANALYTIC: dict[str, Callable[..., Kernels]] = {  # by Network.analytic
    "fc": fc,
}


def _check(inputs: list[jax.Array], depth: int, w_var: float, b_var: float) -> None:
    shapes = [x.shape for x in inputs]
    if any(len(shape) != 2 for shape in shapes) or len({shape[-1] for shape in shapes}) != 1:
        raise ValueError(f"inputs of shapes {shapes}: flatten them to [n, d] and [m, d]")
    if depth < 1 or w_var <= 0 or b_var < 0:
        raise ValueError(f"{depth=}, {w_var=}, {b_var=}: must be >= 1, > 0, >= 0")


def _scales(parametrization: str, w_var: float, b_var: float, n0: int, width: int | None) -> Scales:
    """A layer's weights add Σ x x' = fan_in T to Θ; in NTK parametrization w_var T, bias b_var."""
    if parametrization not in OWN_PARTS:
        raise ValueError(f"{parametrization=}: {' or '.join(OWN_PARTS)}")
    parts = OWN_PARTS[parametrization](w_var, b_var, n0, width)
    if None in parts:
        raise ValueError(f"the kernel in {parametrization} parametrization grows: give width=")
    return Scales(w_var, b_var, 1 / n0, *parts)


OWN_PARTS: dict[str, Callable[..., tuple[Any, Any, Any]]] = {  # Scales.first, later, bias
    "ntk": lambda w_var, b_var, n0, width: (w_var, w_var, b_var),
    "standard": lambda w_var, b_var, n0, width: (n0, width, float(b_var > 0)),
}


def _sides(inputs: list[jax.Array], depth: int, activation: Activation, scales: Scales, dtype: Any):
    """Each input with its `Points`, worked out together so that all series are of one length.

    The inputs' constants are 1/|x|, and |h| of the readout.
    """
    square = np.concatenate([_square_norms(x) for x in inputs])
    if not np.isfinite(square).all():
        raise ValueError("inputs hold NaN or infinite values, or overflow when squared")
    shares, q = duals.split(square * scales.inverse_n0, scales.w_var, scales.b_var)
    layers, spans, last = duals.trajectory(activation, q, depth, scales.w_var, scales.b_var, dtype)
    norms = np.stack([duals.inverse(np.sqrt(square)), np.sqrt(last)])
    first = Points(norms.astype(dtype), shares.astype(dtype))
    ends = np.cumsum([len(x) for x in inputs])
    parts = [slice(end - len(x), end) for x, end in zip(inputs, ends, strict=True)]
    points = [(first.at(part), layers.at(part)) for part in parts]
    return [Side(x.astype(dtype), *p) for x, p in zip(inputs, points, strict=True)], spans


@jax.jit
def _square_norms(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x.astype(jnp.float64)), axis=1)


def _tiles(n: int, m: int, symmetric: bool, memory: int):
    """Edges of a tile, and where each begins [tiles, 2]; the last ones overlap their neighbours."""
    edge = max(int(np.sqrt(memory / TEMPORARIES)), 1)
    edge = min(edge, CPU_EDGE) if jax.default_backend() == "cpu" else edge
    edges = min(n, edge), min(m, edge)
    rows = [min(i, n - edges[0]) for i in range(0, n, edges[0])]
    columns = [min(j, m - edges[1]) for j in range(0, m, edges[1])]
    return edges, np.array([(i, j) for i in rows for j in columns if j >= i or not symmetric])


@partial(jax.jit, static_argnames=("dual", "edges", "symmetric"))
def _kernels(left: Side, right: Side, spans, depth, tiles, scales, *, dual, edges, symmetric):
    """Tile by tile; the tiles above the diagonal serve below it too."""

    def fetch(t):
        i, j = tiles[t]
        return (i, j), _cut(left, i, edges[0], -1), _cut(right, j, edges[1], -2)

    def step(kernels, fetched):
        (i, j), rows, columns = fetched
        same = symmetric & (i + jnp.arange(edges[0])[:, None] == j + jnp.arange(edges[1]))
        tile = _tile(rows, columns, same, spans, depth, scales, dual)
        kernels = [dynamic_update_slice(k, t, (i, j)) for k, t in zip(kernels, tile, strict=True)]
        if symmetric:
            pairs = zip(kernels, tile, strict=True)
            kernels = [dynamic_update_slice(k, t.T, (j, i)) for k, t in pairs]
        return Kernels(*kernels)

    empty = jnp.zeros((len(left.x), len(right.x)), left.x.dtype)
    return duals.loop(0, len(tiles), fetch, step, Kernels(empty, empty))


def _cut(side: Side, start: jax.Array, size: int, axis: int) -> Side:
    """A tile's rows [..., e, 1] (axis -1) or columns [..., 1, e] (axis -2)."""

    def cut(p):
        return jnp.expand_dims(dynamic_slice_in_dim(p, start, size, axis=-1), axis)

    x = dynamic_slice_in_dim(side.x, start, size)
    return Side(x, jax.tree.map(cut, side.inputs), jax.tree.map(cut, side.layers))


def _tile(left: Side, right: Side, same, spans, depth, scales: Scales, dual) -> Kernels:
    """Eq. S3-S6. Where others carry covariances, ReLU carries angles."""
    dot = jnp.matmul(left.x, right.x.T, precision="highest")
    t = dot * scales.inverse_n0
    relu = dual is duals.relu
    state = _gap(left, right, dot, same) if relu else scales.w_var * t + scales.b_var

    def fetch(layer):
        cut = [Points(s.layers.constants[layer], s.layers.shares[layer]) for s in (left, right)]
        return cut, spans[layer]

    def step(carry, fetched):
        (state, ntk), ((one, two), span) = carry, fetched
        one, two = (p._replace(series=s.layers.series) for p, s in ((one, left), (two, right)))
        t, t_dot, *gap = dual(state, one, two, span)
        state = gap[0] if gap else scales.w_var * t + scales.b_var
        return state, scales.later * t + scales.bias + scales.w_var * ntk * t_dot

    carry = state, scales.first * t + scales.bias
    state, ntk = duals.loop(0, depth, fetch, step, carry)
    if relu:
        state = left.inputs.constants[1] * right.inputs.constants[1] * (1 - state)
    return Kernels(state, ntk)


def _gap(left: Side, right: Side, dot, same):
    """The angle between (w, b) times (x, 1) and (x', 1), as `duals.relu` takes it."""
    near, far = _angle(left, right, dot, same)
    one, two = left.inputs.shares, right.inputs.shares
    opposite = two[0], -two[1]
    return duals.signed(duals.add_bias(near, one, two), duals.add_bias(far, one, opposite))


def _angle(left: Side, right: Side, dot, same):
    """1 -+ cosine of x and x'; by x/|x| -+ x'/|x'| where rounding of the product would tell."""
    cosine = dot * (left.inputs.constants[0] * right.inputs.constants[0])
    near = jnp.where(same, 0, jnp.maximum(1 - cosine, 0))
    far = jnp.maximum(1 + cosine, 0)
    close = ~same & (jnp.minimum(near, far) < jnp.finfo(dot.dtype).eps ** (1 / 3))

    def refine():
        units = [side.x * side.inputs.constants[0].reshape(-1, 1) for side in (left, right)]
        rows = units[0], near, far, close
        return jax.lax.map(lambda row: _refined(units[1], *row), rows)

    return jax.lax.cond(close.any(), refine, lambda: (near, far))


def _refined(units, unit, near, far, close):
    """One row of `_angle`."""

    def refine():
        sign = jnp.where(near < far, 1, -1).astype(unit.dtype)
        gap = jnp.sum((unit - sign[:, None] * units) ** 2, axis=1) / 2
        return jnp.where(close & (sign > 0), gap, near), jnp.where(close & (sign < 0), gap, far)

    return jax.lax.cond(close.any(), refine, lambda: (near, far))
