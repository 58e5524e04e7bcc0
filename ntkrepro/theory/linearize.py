"""Linearization: the first-order Taylor expansion around the initial parameters (Eq. 6).

Training moves the displacement omega = theta - theta_0, not theta: in float32 a late update is lost
in theta ~ 1, while in omega it is kept. So the linearized network is a function of omega.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from ntkrepro.compilation import jit
from ntkrepro.networks import functions
from ntkrepro.networks.architectures import Network
from ntkrepro.theory.kernels.empirical import MEMORY, Layer, LayerPath, capture

Apply = Callable[[Any, jax.Array], jax.Array]


def linearize(apply: Apply, params0: Any) -> Apply:
    """f_lin(omega, x) = f(params0, x) + grad f(params0, x) omega (Eq. 6): (omega, x) -> [n, k].

    omega = params - params0, a pytree like `params0`; what apply(params0, x) raises passes through.
    """

    def apply_lin(omega: Any, x: jax.Array) -> jax.Array:
        f0, df = jax.jvp(lambda p: apply(p, x), (params0,), (omega,))
        return f0 + df

    return apply_lin


Factors = tuple[jax.Array, dict[LayerPath, Layer]]

captured = jit(capture, static_argnames="model")


def factors_of(model: Network, params0: Any, x: jax.Array) -> Factors | None:
    """What `from_factors` needs; none where it doesn't apply, or needs more than MEMORY bytes."""
    return captured(model, params0, x) if has_factors(model, x) else None


def has_factors(model: Network, x: jax.Array) -> bool:
    return model.structured and factor_bytes(model, x.shape, x.dtype) <= MEMORY


@lru_cache
def factor_bytes(model: Network, shape: tuple[int, ...], dtype: Any) -> int:
    """Cached, as tracing takes longer than a step of a small network."""
    params = functions.shapes(model, shape[1:], dtype)["params"]
    found = jax.eval_shape(partial(capture, model), params, jax.ShapeDtypeStruct(shape, dtype))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found))


def linearize_structured(model: Network, params0: Any) -> Apply:
    """The same function for networks of Dense and Conv layers, at fewer operations for few outputs.

    Differentiated in omega, a step costs forward + k backward at params0 and two products a layer:
    4/3 of the network's own three for k = 1, where `linearize` costs 5/3.
    """

    def apply_lin(omega: Any, x: jax.Array) -> jax.Array:
        return from_factors(capture(model, params0, x), omega)

    return apply_lin


def from_factors(factors: Factors, omega: Any) -> jax.Array:
    """f_lin [n, k] from f_0 and every layer's x and delta_a = d f_a / d h, of `capture`.

    A layer's part of Eq. 6 is sum_j delta_aj (s_w x omega + s_b beta)_j, over the positions of a
    Conv too. x and delta don't depend on omega: with full batches they are computed once, and a
    step costs 2/3 of the network's.
    """
    f0, layers = factors
    df = jnp.zeros_like(f0)
    for path, layer in layers.items():
        if path[0] not in omega:  # a layer that is not trained
            continue
        moved = _at(omega, path)
        dh = layer.scale[0] * layer.product(moved["w"])
        if "b" in moved:
            dh = dh + layer.scale[1] * moved["b"]
        axes = list(range(1, dh.ndim))
        df = df + jax.vmap(
            lambda d, h, axes=axes: jnp.tensordot(d, h, [axes, [a - 1 for a in axes]])
        )(layer.delta, dh)
    return f0 + df


def _at(params: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        params = params[name]
    return params
