"""A network at any parameters as what is linear about it: outputs, J, J^T and J J^T."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntkrepro.compilation import jit
from ntkrepro.networks import functions
from ntkrepro.networks.architectures import Network
from ntkrepro.theory.kernels import empirical
from ntkrepro.theory.linearize import Factors, factors_of, from_factors


class Cost(NamedTuple):
    """What its parts cost in passes through the network: a pass is a third of a gradient."""

    build: int
    kernel: int
    push: int
    pull: int


class Tangent(NamedTuple):
    """Of f at theta on points X: f [n, k]; `push`(omega) = J omega [n, k] and `pull`(c) = J^T c,
    like theta; `kernel`() = J J^T [n, k, n, k]. `factors`, where it has them, are linearize.py's.
    """

    f: jax.Array
    push: Callable[[Any], jax.Array]
    pull: Callable[[jax.Array], Any]
    kernel: Callable[[], jax.Array]
    cost: Cost
    factors: Factors | None = None


def tangent(model: Network, params: Any, x: jax.Array) -> Tangent:
    """From the factors of every layer's gradient where the network has them and memory holds them:
    then all that follows costs products of the layers' weights alone. Raises ValueError for a
    network with BatchNorm."""
    factors = factors_at(model, params, x)
    if factors is None:
        f = outputs(model, params, x)
        return Tangent(
            f,
            partial(push, model, params, x),
            partial(pull, model, params, x),
            partial(empirical.ntk, model, params, x),
            Cost(build=1, kernel=1 + f.shape[1], push=2, pull=3),
        )
    return Tangent(
        factors[0],
        partial(push_factors, factors),
        partial(pull_factors, factors, jax.tree.map(jnp.zeros_like, params)),
        partial(kernel_of, factors),
        Cost(build=1 + factors[0].shape[1], kernel=0, push=1, pull=1),
        factors,
    )


def factors_at(model: Network, params: Any, x: jax.Array) -> Factors | None:
    """The factors that `tangent` works with, if any."""
    whole = empirical.rows_at_once(model, x, empirical.MEMORY) >= len(x)
    return factors_of(model, params, x) if whole else None


outputs = jit(functions.apply, static_argnames="model")


@partial(jit, static_argnames="model")
def push(model: Network, params: Any, x: jax.Array, omega: Any) -> jax.Array:
    return jax.jvp(lambda p: functions.apply(model, p, x), (params,), (omega,))[1]


@partial(jit, static_argnames="model")
def pull(model: Network, params: Any, x: jax.Array, c: jax.Array) -> Any:
    return jax.vjp(lambda p: functions.apply(model, p, x), params)[1](c)[0]


@jit
def push_factors(factors: Factors, omega: Any) -> jax.Array:
    return from_factors(factors, omega) - factors[0]


@jit
def pull_factors(factors: Factors, zeros: Any, c: jax.Array) -> Any:
    return jax.vjp(partial(from_factors, factors), zeros)[1](c)[0]


@jit
def kernel_of(factors: Factors) -> jax.Array:
    return sum(empirical.layer_kernel(layer, layer, False) for layer in factors[1].values())  # type: ignore
