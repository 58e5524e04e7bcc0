"""Empirical tangent kernel and NNGP of a network at any parameters (Eq. 5).

For a Dense layer h = s_w x w + s_b b the gradient of output a factors as (s_w x, s_b) (x) delta_a
with delta_a = d f_a / d h, so the layer's part of the kernel is

    (s_w^2 x.x' + s_b^2) (delta_a . delta'_b):

one forward and k backward passes over n examples and n^2 inner products, no Jacobian. A layer that
is applied at many positions, such as a Conv, has one such product per position: its Jacobian sum_p
x_p (x) delta_p is formed, contracted and freed, of a Conv for one offset of the window at a time.
What is left, every parameter of a user's own network, goes the ways of generic.py.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ntkrepro.compilation import jit
from ntkrepro.networks.architectures import Network
from ntkrepro.networks.functions import flatten, unflatten
from ntkrepro.networks.layers import WINDOW, convolve
from ntkrepro.networks.scaled import factor
from ntkrepro.theory.kernels import generic
from ntkrepro.theory.kernels.generic import contract

LayerPath = tuple[str, ...]  # the names that lead to a layer's parameters
MEMORY = 2**31  # bytes that the blocks of one call may take
MIXES = "BatchNorm makes outputs depend on the whole batch: there is no kernel of pairs of examples"


class Layer(NamedTuple):
    """A Dense layer's input x [n, ..., f] and delta [n, k, ..., j] = d f_k / d h_j.

    `scale` = (s_w, s_b), the factors of its weights and bias in the forward pass; `std`, the
    standard deviations of W and b: the same in the NTK parametrization.
    """

    x: jax.Array
    delta: jax.Array
    scale: tuple[jax.Array, jax.Array]
    std: tuple[jax.Array, jax.Array]

    def product(self, w: jax.Array) -> jax.Array:
        """What the layer makes of x with these weights, without factor and bias."""
        return self.x @ w

    def jacobians(self) -> Iterator[jax.Array]:
        """d f_k / d w without its factor, in parts [n, k, f, j]."""
        yield jnp.einsum("npf,nkpj->nkfj", positions(self.x, 1), positions(self.delta, 2))


class ConvLayer(Layer):
    """The same of a 3 x 3 convolution: x [n, h, w, c], delta [n, k, h', w', j]."""

    def product(self, w: jax.Array) -> jax.Array:
        return convolve(self.x, w, self.strides())

    def jacobians(self) -> Iterator[jax.Array]:
        """One part for each offset of the window: sum_p x_(p + (i, j)) delta_p."""
        for i in range(WINDOW):
            for j in range(WINDOW):
                yield offset_jacobian(self, i, j)

    def strides(self) -> tuple[int, ...]:
        """From the sizes before and after."""
        sizes = zip(self.x.shape[1:3], self.delta.shape[2:4], strict=True)
        return tuple(-(-before // after) for before, after in sizes)


LAYERS: dict[int, type[Layer]] = {2: Layer, 4: ConvLayer}  # by the number of axes of its weights


def positions(x: jax.Array, first: int) -> jax.Array:
    """All axes between the `first` ones and the last in one."""
    return x.reshape(*x.shape[:first], -1, x.shape[-1])


def capture(model: Network, params: Any, x: jax.Array) -> tuple[jax.Array, dict[LayerPath, Layer]]:
    """Outputs [n, k] and, for every Dense and Conv layer by its path, its gradient's factors."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x)).get("perturbations", {})
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def outputs(perturbations: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, "perturbations": perturbations}
        f, sown = model.apply(variables, x, mutable=["layer"])
        return f, sown.get("layer", {})

    f, pullback, given = jax.vjp(outputs, zeros, has_aux=True)
    k = f.shape[-1]
    rows = jnp.eye(k, dtype=f.dtype)[:, None, :] * jnp.ones((k, len(x), k), f.dtype)
    deltas = flatten(jax.vmap(pullback)(rows)[0])
    sown, weights = flatten(given), flatten(params)
    layers = {}
    for path in (p[:-1] for p in deltas):
        get = {name: sown[(*path, name)][0] for name in ("x", "scale", "std")}
        kind = LAYERS[weights[(*path, "w")].ndim]
        layers[path] = kind(delta=jnp.moveaxis(deltas[(*path, "h")], 0, 1), **get)
    return f, layers


def inner(x1: jax.Array, x2: jax.Array, factors: tuple[Any, Any]) -> jax.Array:
    """w^2 x.x' + b^2 for (w, b) = `factors`; x1 [n, f], x2 [m, f] -> [n, m]."""
    return factors[0] ** 2 * (x1 @ x2.T) + factors[1] ** 2


def layer_kernel(a: Layer, b: Layer, trace: bool) -> jax.Array:
    """One layer's part of the kernel: [n, k, m, k], or its trace over outputs / k [n, m]."""
    if a.delta.ndim > 3:
        return positions_kernel(a, b, trace)
    x = inner(a.x, b.x, a.scale)
    k = a.delta.shape[1]
    if trace:
        flat = [layer.delta.reshape(len(layer.delta), -1) for layer in (a, b)]
        return x * (flat[0] @ flat[1].T) / k
    return x[:, None, :, None] * jnp.tensordot(a.delta, b.delta, [[2], [2]])


def positions_kernel(a: Layer, b: Layer, trace: bool) -> jax.Array:
    """That of a layer applied at many positions: from its Jacobian, a part at a time."""
    sums = [layer.delta.sum(tuple(range(2, layer.delta.ndim - 1))) for layer in (a, b)]
    total = a.scale[1] ** 2 * contract(sums[0], sums[1], trace)
    others = b.jacobians()
    for first in a.jacobians():
        second = first if a is b else next(others)
        total = total + a.scale[0] ** 2 * contract(first, second, trace)
    return total


def offset_jacobian(layer: ConvLayer, i: int, j: int) -> jax.Array:
    """d f_k / d w[i, j] of a Conv layer without its factor: sum_p x_(p + (i, j)) delta_p
    [n, k, c, j]."""
    sizes, out, strides = layer.x.shape[1:3], layer.delta.shape[2:4], layer.strides()
    pads = jax.lax.padtype_to_pads(sizes, (WINDOW, WINDOW), strides, "SAME")
    x = jnp.pad(layer.x, ((0, 0), *pads, (0, 0)))
    rows, columns = (
        slice(start, start + (o - 1) * stride + 1, stride)
        for start, o, stride in zip((i, j), out, strides, strict=True)
    )
    return jnp.einsum("nhwc,nkhwj->nkcj", x[:, rows, columns], layer.delta)


def spread(x: jax.Array) -> jax.Array:
    """Rows over all devices, where there are several and they divide the rows evenly."""
    devices = jax.devices()
    if len(devices) == 1 or len(x) % len(devices):
        return x
    mesh = Mesh(np.array(devices), ("rows",))
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec("rows")))


@partial(jit, static_argnames=("model", "trace", "per_layer"))
def _block(
    model: Network, params: Any, x1: jax.Array, x2: jax.Array | None, trace: bool, per_layer: bool
) -> Any:
    first = capture(model, params, x1)[1]
    second = first if x2 is None else capture(model, params, x2)[1]
    parts = {path: layer_kernel(first[path], second[path], trace) for path in first}
    rest = _without(params, first)
    if rest:
        parts[("rest",)] = _rest_kernel(model, params, rest, x1, x2, trace)
    return parts if per_layer else sum(parts.values())


def _without(params: Any, layers: dict[LayerPath, Layer]) -> list[LayerPath]:
    """Paths of the parameters that no Dense or Conv layer owns."""
    return [path for path in flatten(params) if path[:-1] not in layers]


def _rest_kernel(
    model: Network,
    params: Any,
    paths: list[LayerPath],
    x1: jax.Array,
    x2: jax.Array | None,
    trace: bool,
) -> jax.Array:
    """Any other parameter's part, by the way that takes fewer operations."""
    leaves = flatten(params)
    chosen = {path: leaves[path] for path in paths}

    def outputs(chosen: dict[LayerPath, jax.Array], x: jax.Array) -> jax.Array:
        return model.apply({"params": unflatten({**leaves, **chosen})}, x)  # type: ignore

    m = len(x1 if x2 is None else x2)
    counted = generic.counts(model, x1.shape[1:], x1.dtype, tuple(paths))
    way = generic.way(counted, len(x1), m, trace)
    return generic.WAYS[way](outputs, chosen, x1, x2, trace)


def way(model: Network, x: Any, m: int) -> str:
    """Which of generic.py's ways gives the kernel of x [n, ...] and m others; "" where every
    parameter is a layer's."""
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    params = jax.eval_shape(model.init, jax.random.key(0), one)["params"]
    rest = _without(params, jax.eval_shape(partial(capture, model), params, one)[1])
    if not rest:
        return ""
    return generic.way(generic.counts(model, one.shape[1:], x.dtype, tuple(rest)), len(x), m, False)


def ntk(
    model: Network,
    params: Any,
    x1: jax.Array,
    x2: jax.Array | None = None,
    *,
    trace: bool = False,
    per_layer: bool = False,
    memory: int = MEMORY,
) -> Any:
    """Empirical tangent kernel grad f(x1) grad f(x2)^T at `params` (Eq. 5).

    x1 [n, ...], x2 [m, ...] (none: x1) -> [n, k, m, k], or [n, m] with `trace`, the trace over
    outputs divided by k. `per_layer` gives {path: part}. Rows are computed in blocks whose
    intermediates stay below `memory` bytes (the answer itself is not counted), and shared out over
    the devices where there are several. Raises ValueError for a network with BatchNorm.
    """
    if getattr(model, "mixes_examples", False):  # any Flax module has a kernel
        raise ValueError(MIXES)
    size = rows_at_once(model, x1, memory)
    if len(x1) <= size and (x2 is None or len(x2) <= size):
        return _block(model, params, spread(x1), x2, trace, per_layer)
    columns = x1 if x2 is None else x2
    symmetric, out = x2 is None, None
    for i in range(0, len(x1), size):
        for j in range(0, len(columns), size):
            if symmetric and j > i:
                continue
            rows, cols = x1[i : i + size], columns[j : j + size]
            same = symmetric and i == j
            block = _block(model, params, spread(rows), None if same else cols, trace, per_layer)
            block = jax.tree.map(np.asarray, block)
            if out is None:
                out = jax.tree.map(lambda b: _empty(b, len(x1), len(columns)), block)
            jax.tree.map(partial(_put, i=i, j=j, mirror=symmetric and i != j), out, block)
    return jax.tree.map(jnp.asarray, out)


def _empty(block: np.ndarray, n: int, m: int) -> np.ndarray:
    shape = (n, m) if block.ndim == 2 else (n, block.shape[1], m, block.shape[1])
    return np.empty(shape, block.dtype)


def _put(out: np.ndarray, block: np.ndarray, i: int, j: int, mirror: bool) -> None:
    """Place a block at rows i, columns j, and its transpose across the diagonal."""
    half = block.ndim // 2
    rows, cols = slice(i, i + block.shape[0]), slice(j, j + block.shape[half])
    skip = (slice(None),) * (half - 1)
    out[(rows, *skip, cols)] = block
    if mirror:
        turned = np.moveaxis(block, range(half), range(half, 2 * half))
        out[(cols, *skip, rows)] = turned


def rows_at_once(model: Network, x: jax.Array, memory: int) -> int:
    """Examples whose inputs, deltas and block of the kernel fit into `memory` bytes."""
    each, square = _sizes(model, x.shape[1:], x.dtype, len(x))
    return max(1, int((-each + (each**2 + 4 * square * memory) ** 0.5) / (2 * square)))


@lru_cache
def _sizes(model: Network, inputs: tuple[int, ...], dtype: Any, n: int) -> tuple[int, int]:
    """Bytes for one example of n, and for one pair; cached: tracing takes longer than a kernel."""
    x = jax.ShapeDtypeStruct((1, *inputs), dtype)
    params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    f, layers = jax.eval_shape(partial(capture, model), params, x)
    item, k = f.dtype.itemsize, f.shape[-1]
    each = 2 * item * sum(layer.x.size + layer.delta.size for layer in layers.values())
    each += (
        2
        * item
        * k
        * max(
            (
                layer.x.shape[-1] * layer.delta.shape[-1]
                for layer in layers.values()
                if layer.x.ndim > 2
            ),
            default=0,
        )
    )
    if rest := _without(params, layers):
        counted = generic.counts(model, inputs, dtype, tuple(rest))
        each += generic.bytes_of(counted, generic.way(counted, n, n, False), item)
    return each, 3 * item * k * k  # x.x', delta.delta' and their product


def _leaves(params: Any, paths: list[LayerPath]) -> list[Any]:
    flat = flatten(params)
    return [flat[path] for path in paths]


@partial(jit, static_argnames="model")
def nngp(model: Network, params: Any, x1: jax.Array, x2: jax.Array | None = None) -> jax.Array:
    """Empirical NNGP: sigma_w^2 x.x' / n + sigma_b^2 of the layer `readout`'s input [n, m].

    The covariance of the outputs over draws of the readout alone (Eq. 13, Eq. S29).
    """
    first = capture(model, params, x1)[1]["readout",]
    second = first if x2 is None else capture(model, params, x2)[1]["readout",]
    return factor(model) ** 2 * inner(first.x, second.x, first.std)
