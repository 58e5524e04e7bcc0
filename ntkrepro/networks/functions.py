"""Networks as functions: initial parameters, outputs, shapes, layer rates."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict as flatten  # params -> {path: leaf}
from flax.traverse_util import unflatten_dict as unflatten

from ntkrepro.compilation import jit
from ntkrepro.networks.architectures import Network
from ntkrepro.networks.layers import Affine
from ntkrepro.networks.scaled import factor


def draw(model: Network, key: jax.Array, x: jax.Array) -> dict:
    """Parameters theta_0 in the dtype of `x` [n, ...], else only its shape matters."""
    return model.init(key, x[:1])["params"]


def init(model: Network, key: jax.Array, x: jax.Array) -> dict:
    """What `draw` gives, compiled once for all layers and networks that share a layer's shape."""
    if getattr(model, "own", False):  # else any Flax module
        return _drawn(model, key, x[:1])
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    return model.lazy_init(key, one, mutable=["params"])["params"]


_drawn = jit(draw, static_argnames="model")


@lru_cache
def shapes(model: Network, inputs: tuple[int, ...], dtype: jnp.dtype) -> Any:
    """Of all variables for one input: `params`, and what our layers put in the collection `layer`.

    Cached, as tracing takes a while and seeds share it.
    """
    one = jax.ShapeDtypeStruct((1, *inputs), dtype)
    return jax.eval_shape(model.init, jax.random.key(0), one)


def apply(model: Network, params: dict, x: jax.Array) -> jax.Array:
    """Outputs [n, k]."""
    return model.apply({"params": params}, x)  # type: ignore[return-value]


def less(parts: dict[tuple[str, ...], Callable[[jax.Array], jax.Array]]) -> AbstractContextManager:
    """Within it every layer of these paths gives h - part(x) in place of its own h of x."""

    def call(layer: Any, args: Any, kwargs: Any, context: Any) -> Any:
        h, path = layer(*args, **kwargs), context.module.path
        named = context.method_name == "__call__" and path in parts
        return h - parts[path](*args) if named else h

    return nn.intercept_methods(call)


def coordinates(model: Network, params: dict, x: jax.Array) -> dict[tuple[str, ...], jax.Array]:
    """Outputs h of every Dense and Conv layer by its path; of the readout f [n, k]."""
    ours = lambda module, method: isinstance(module, Affine)  # noqa: E731
    asked = partial(model.apply, capture_intermediates=ours, mutable=["intermediates"])
    found = flatten(asked({"params": params}, x)[1]["intermediates"])
    h = {path[:-1]: outputs[0] for path, outputs in found.items()}
    return {**h, ("readout",): factor(model) * h["readout",]}


def layer_rates(model: Network, params: dict, x: jax.Array) -> dict:
    """Factors of Eq. S33, like `params`: 1 / variance of each W and b in the standard one.

    Gradient descent on an NTK network whose gradients are multiplied by them is gradient descent on
    the standard network: n_l / sigma_w^2 for weights, 1 / sigma_b^2 for biases.
    """
    sown = flatten(model.apply({"params": params}, x[:1], mutable=["layer"])[1]["layer"])
    index = {"w": 0, "b": 1}
    factors = {
        path: jnp.asarray(sown[(*path[:-1], "std")][0][index[path[-1]]] ** -2.0, leaf.dtype)
        for path, leaf in flatten(params).items()
    }
    return unflatten(factors)
