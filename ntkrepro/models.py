"""Flax networks. `apply(params, x) -> [n, k]` for every architecture."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict as flatten  # params -> {path: leaf}
from flax.traverse_util import unflatten_dict as unflatten

from ntkrepro.config import Model

__all__ = ["FC", "Dense", "Module", "apply", "build", "flatten", "init", "layer_rates", "unflatten"]

Module = nn.Module

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "identity": lambda x: x,
}


def _normal(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, std: float) -> jax.Array:
    """N(0, std^2), drawn in float32 whatever the precision, so that a seed names one network."""
    return std * jax.random.normal(key, shape, jnp.float32).astype(dtype)


class Dense(Module):
    """Fully connected layer, NTK (Eq. 1) or standard (Eq. S32) parametrization.

    `fan_in` is the paper's n_l; it is given where the input was rotated into a smaller space.
    The collection `dense` receives what the structured kernels need: the layer's input, the factors
    of its weights and bias in the forward pass, and the standard deviations of its W and b.
    """

    features: int
    parametrization: str
    w_var: float
    b_var: float
    fan_in: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        w_std = (self.w_var / (self.fan_in or x.shape[-1])) ** 0.5
        b_std = self.b_var**0.5
        ntk = self.parametrization == "ntk"
        w_scale, b_scale = (w_std, b_std) if ntk else (1.0, 1.0)
        shape = (x.shape[-1], self.features)
        w = self.param("w", _normal, shape, x.dtype, 1.0 if ntk else w_std)
        h = x @ w
        if ntk:
            h = h * w_scale
        if self.b_var:
            b = self.param("b", _normal, shape[1:], x.dtype, 1.0 if ntk else b_std)
            h = h + b_scale * b
        self.sow("dense", "x", x)
        self.sow("dense", "scale", (w_scale, b_scale if self.b_var else 0.0))
        self.sow("dense", "std", (w_std, b_std))
        return self.perturb("h", h)


class FC(Module):
    """`depth` hidden layers of `width`, then the readout (Eq. 1); x [n, d] -> [n, k]."""

    depth: int
    width: int
    outputs: int
    activation: str
    parametrization: str
    w_var: float
    b_var: float
    n0: int | None = None  # inputs before data.subspace

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in range(1, self.depth + 1):
            h = self.dense(self.width, f"layer{layer}", self.n0 if layer == 1 else None)(x)
            x = ACTIVATIONS[self.activation](h)
        return self.dense(self.outputs, "readout")(x)

    def dense(self, features: int, name: str, fan_in: int | None = None) -> Dense:
        return Dense(features, self.parametrization, self.w_var, self.b_var, fan_in, name=name)


def build(model: Model, n0: int, k: int) -> Module:
    """The network of a config; n0 = input dimension before any rotation, k = outputs."""
    return FC(
        depth=model.depth,
        width=model.width,
        outputs=k,
        activation=model.activation.name,
        parametrization=model.parametrization.name,
        w_var=model.w_var,
        b_var=model.b_var,
        n0=n0,
    )


@partial(jax.jit, static_argnames="model")
def _init(model: Module, key: jax.Array, x: jax.Array) -> dict:
    return model.init(key, x)["params"]


def init(model: Module, key: jax.Array, x: jax.Array) -> dict:
    """Parameters theta_0 in the dtype of `x`, else only its shape matters."""
    return _init(model, key, x[:1])


def apply(model: Module, params: dict, x: jax.Array) -> jax.Array:
    """Outputs [n, k]."""
    return model.apply({"params": params}, x)  # type: ignore[return-value]


def layer_rates(model: Module, params: dict, x: jax.Array) -> dict:
    """Factors of Eq. S33, like `params`: 1 / variance of each W and b in the standard one.

    Gradient descent on an NTK network whose gradients are multiplied by them is gradient descent on
    the standard network: n_l / sigma_w^2 for weights, 1 / sigma_b^2 for biases.
    """
    sown = flatten(model.apply({"params": params}, x[:1], mutable=["dense"])[1]["dense"])
    index = {"w": 0, "b": 1}
    factors = {
        path: jnp.asarray(sown[(*path[:-1], "std")][0][index[path[-1]]] ** -2.0, leaf.dtype)
        for path, leaf in flatten(params).items()
    }
    return unflatten(factors)
