"""Moves of the weights that are known by what they are made of: sums of k omega and of J_i^T c_i.

Of a Dense layer h = s_w x w + s_b b the part of J^T c over n points is a product of two thin
matrices, (s_w X)^T D with D = sum_a c_a delta_a [n, j] (kernels/empirical.py), and what it takes
from h of any input is

    (s_w^2 x X^T + s_b^2) D.

So a wide network's outputs at theta - J^T c, and its tangent there, need no weights but theta's:
neither J^T c nor theta - J^T c is formed, each of which would be written and read from end to end.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntkrepro.compilation import jit
from ntkrepro.networks import functions
from ntkrepro.networks.architectures import Network
from ntkrepro.networks.functions import flatten, unflatten
from ntkrepro.theory.kernels.empirical import Layer, LayerPath, capture

Layers = dict[LayerPath, Layer]


@dataclass(frozen=True)
class Move:
    """sum of k tree over `trees` (k, like theta), and of J^T c over `pulls` (c [n, k], the layers
    that J is of): a vector space, in which the same tree or layers stand once."""

    trees: tuple[tuple[Any, Any], ...] = ()
    pulls: tuple[tuple[Any, Layers], ...] = ()

    def __add__(self, other: "Move") -> "Move":
        return Move(merged(self.trees + other.trees), merged(self.pulls + other.pulls))

    def __rmul__(self, k: float) -> "Move":
        return Move(*(tuple((k * own, of) for own, of in part) for part in self.parts))

    def __sub__(self, other: "Move") -> "Move":
        return self + -1.0 * other

    def __bool__(self) -> bool:
        return any(self.parts)

    @property
    def parts(self) -> tuple[tuple, tuple]:
        return self.trees, self.pulls

    @property
    def passes(self) -> int:
        """Through the network, that forming it costs: the products of `pulls`."""
        return len(self.pulls)


STILL = Move()


def merged(terms: tuple[tuple[Any, Any], ...]) -> tuple[tuple[Any, Any], ...]:
    found: dict[int, tuple[Any, Any]] = {}
    for amount, of in terms:
        before = found.get(id(of))
        found[id(of)] = (amount if before is None else before[0] + amount, of)
    return tuple(found.values())


class Outer(NamedTuple):
    """A Dense layer's part of a pull: its x [r, f] and D [r, j], and the layer's (s_w, s_b)."""

    x: jax.Array
    d: jax.Array
    scale: tuple[jax.Array, jax.Array]

    def of(self, x: jax.Array) -> jax.Array:
        """What it adds to h of inputs x [m, f]."""
        return (self.scale[0] ** 2 * (x @ self.x.T) + self.scale[1] ** 2) @ self.d


def outers(pulls: Any) -> dict[LayerPath, list[Outer]]:
    """Of all pulls, layer by layer."""
    found: dict[LayerPath, list[Outer]] = {}
    for c, layers in pulls:
        for path, layer in layers.items():
            outer = Outer(layer.x, jnp.einsum("nk,nkj->nj", c, layer.delta), layer.scale)
            found.setdefault(path, []).append(outer)
    return found


def added(parts: list[Outer], x: jax.Array) -> jax.Array:
    """By all of them, each for itself: on a CPU two products take less time than that of both in
    one, which XLA puts together first."""
    return sum(part.of(x) for part in parts)  # type: ignore[return-value]


def formed(parts: list[Outer]) -> dict[str, jax.Array]:
    """J^T c of a layer."""
    x, d = (jnp.concatenate(columns) for columns in zip(*[part[:2] for part in parts], strict=True))
    w, b = parts[0].scale
    return {"w": w * x.T @ d, "b": b * d.sum(0)}


def total(trees: Any) -> Any:
    """sum of k tree."""
    (k, first), *rest = trees
    start = jax.tree.map(lambda leaf: k * leaf, first)
    for k, tree in rest:
        start = jax.tree.map(lambda a, b, k=k: a + k * b, start, tree)
    return start


def settled(params: Any, move: Move) -> Any:
    """theta - move."""
    return subtract(params, *move.parts)


@jit
def subtract(params: Any, trees: Any, pulls: Any) -> Any:
    for k, tree in trees:
        params = jax.tree.map(lambda a, b, k=k: a - k * b, params, tree)
    flat = flatten(params)
    for path, parts in outers(pulls).items():
        for name, part in formed(parts).items():
            if (*path, name) in flat:
                flat[*path, name] = flat[*path, name] - part
    return unflatten(flat)


def parted(params: Any, move: Move) -> tuple[Any, tuple]:
    """theta - move as parameters and the pulls that remain to be taken from them: all, where the
    move has no trees, which must be formed."""
    return (settled(params, move), ()) if move.trees else (params, move.pulls)


def absorbed(move: Move) -> int:
    """The passes that this costs."""
    return move.passes if move.trees else 0


def leaving(pulls: Any) -> AbstractContextManager:
    """Within it every Dense layer is at its weights minus the pulls."""
    return functions.less({path: partial(added, own) for path, own in outers(pulls).items()})


def apply(model: Network, params: Any, x: jax.Array, move: Move = STILL) -> jax.Array:
    """Outputs [n, k] at theta - move."""
    params, pulls = parted(params, move)
    return outputs(model, params, x, pulls)


@partial(jit, static_argnames="model")
def outputs(model: Network, params: Any, x: jax.Array, pulls: Any) -> jax.Array:
    """[n, k] at theta minus the pulls."""
    with leaving(pulls):
        return functions.apply(model, params, x)


@partial(jit, static_argnames="model")
def captured(model: Network, params: Any, x: jax.Array, pulls: Any) -> tuple[jax.Array, Layers]:
    """Outputs and layers of kernels.empirical.capture at theta minus the pulls."""
    with leaving(pulls):
        return capture(model, params, x)


def stays_thin(layers: Layers) -> bool:
    """Whether J^T c is better not formed, by multiplications: a leap forms three, of n f j a layer;
    kept as products of n rows they cost 4 n (f + j) at every one of about n points."""
    if any(layer.delta.ndim > 3 for layer in layers.values()):  # at many positions: of full rank
        return False
    sizes = [(layer.x.shape[-1], layer.delta.shape[-1]) for layer in layers.values()]
    n = max(len(layer.x) for layer in layers.values())
    return 4 * n * sum(f + j for f, j in sizes) < 3 * sum(f * j for f, j in sizes)
