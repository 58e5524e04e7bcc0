"""A network at any parameters as what is linear about it: outputs, J, J^T and J J^T."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.compilation import jit
from ntkrepro.networks import functions
from ntkrepro.networks.architectures import Network
from ntkrepro.theory import moves
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.linearize import Factors, from_factors, has_factors
from ntkrepro.theory.moves import STILL, Move


class Cost(NamedTuple):
    """What its parts cost in passes through the network: a pass is a third of a gradient. `push`,
    of a move that has trees."""

    build: int
    kernel: int
    push: int
    pull: int


class Tangent(NamedTuple):
    """Of f at theta on points X: f [n, k]; `push`(move) = J move [n, k] and `pull`(c) = J^T c, a
    move; `kernel`() = J J^T [n, k, n, k]. `factors`, where it has them, are linearize.py's.
    """

    f: jax.Array
    push: Callable[[Move], jax.Array]
    pull: Callable[[np.ndarray], Move]
    kernel: Callable[[], jax.Array]
    cost: Cost
    factors: Factors | None = None


def tangent(model: Network, params: Any, x: jax.Array, move: Move = STILL) -> Tangent:
    """At theta - move, from the factors of every layer's gradient where the network has them and
    memory holds them: then all that follows costs products of the layers' weights alone. Raises
    ValueError for a network with BatchNorm."""
    passes = moves.absorbed(move)
    params, pulls = moves.parted(params, move)
    factors = factors_at(model, params, x, pulls)
    if factors is None:
        f = outputs(model, params, x)
        return Tangent(
            f,
            lambda move: push(model, params, x, move.trees),
            lambda c: Move(((1.0, pull(model, params, x, jnp.asarray(c, f.dtype))),)),
            partial(empirical.ntk, model, params, x),
            Cost(build=1 + passes, kernel=1 + f.shape[1], push=2, pull=3),
        )
    f, layers = factors
    thin = moves.stays_thin(layers)

    def pulled(c: np.ndarray) -> Move:
        coefficients = jnp.asarray(c, f.dtype)
        if thin:
            return Move(pulls=((coefficients, layers),))
        return Move(((1.0, pull_factors(factors, params, coefficients)),))

    return Tangent(
        f,
        lambda move: push_factors(factors, *move.parts),
        pulled,
        partial(kernel_of, factors),
        Cost(build=1 + f.shape[1] + passes, kernel=0, push=1, pull=0 if thin else 1),
        factors,
    )


def factors_at(model: Network, params: Any, x: jax.Array, pulls: Any = ()) -> Factors | None:
    """The factors that `tangent` works with, if any, at theta minus the pulls."""
    whole = empirical.rows_at_once(model, x, empirical.MEMORY) >= len(x)
    if not whole or not has_factors(model, x):
        return None
    return moves.captured(model, params, x, pulls)


outputs = jit(functions.apply, static_argnames="model")


@partial(jit, static_argnames="model")
def push(model: Network, params: Any, x: jax.Array, trees: Any) -> jax.Array:
    omega = moves.total(trees)
    return jax.jvp(lambda p: functions.apply(model, p, x), (params,), (omega,))[1]


@partial(jit, static_argnames="model")
def pull(model: Network, params: Any, x: jax.Array, c: jax.Array) -> Any:
    return jax.vjp(lambda p: functions.apply(model, p, x), params)[1](c)[0]


@jit
def push_factors(factors: Factors, trees: Any, pulls: Any) -> jax.Array:
    f, layers = factors
    found = from_factors(factors, moves.total(trees)) - f if trees else jnp.zeros_like(f)
    for path, parts in moves.outers(pulls).items():
        layer = layers[path]
        found = found + jnp.einsum("nkj,nj->nk", layer.delta, moves.added(parts, layer.x))
    return found


@jit
def pull_factors(factors: Factors, like: Any, c: jax.Array) -> Any:
    return jax.vjp(partial(from_factors, factors), like)[1](c)[0]


@jit
def kernel_of(factors: Factors) -> jax.Array:
    return sum(empirical.layer_kernel(layer, layer, False) for layer in factors[1].values())  # type: ignore
