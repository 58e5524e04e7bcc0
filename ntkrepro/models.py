"""Flax networks. `apply(params, x) -> [n, k]` for every architecture."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict as flatten  # params -> {path: leaf}
from flax.traverse_util import unflatten_dict as unflatten

from ntkrepro import custom
from ntkrepro.compilation import jit, options
from ntkrepro.config import Model

__all__ = [
    "CNN",
    "FC",
    "WRN",
    "Conv",
    "Dense",
    "Module",
    "apply",
    "build",
    "convolve",
    "flatten",
    "init",
    "is_convolutional",
    "is_custom",
    "is_structured",
    "layer_rates",
    "mixes_examples",
    "shapes",
    "unflatten",
]

Module = nn.Module

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "identity": lambda x: x,
}
WINDOW = 3  # of every convolution


def _normal(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, std: float) -> jax.Array:
    """N(0, std^2), drawn in float32 whatever the precision, so that a seed names one network."""
    if isinstance(key, jax.core.Tracer):
        return std * jax.random.normal(key, shape, jnp.float32).astype(dtype)
    return _drawing(shape, dtype, std)(key)


@lru_cache
def _drawing(shape: tuple[int, ...], dtype: jnp.dtype, std: float) -> jax.stages.Compiled:
    """_normal compiled ahead, as lazy_init calls it while it traces the network."""
    draw = jax.jit(partial(_normal, shape=shape, dtype=dtype, std=std))
    return draw.lower(jax.eval_shape(jax.random.key, 0)).compile(compiler_options=options())


class Affine(Module):
    """What Dense and Conv share: weights and biases in the NTK (Eq. 1) or standard (Eq. S32)
    parametrization, and the collection `layer` that the structured kernels need.

    It holds the layer's input, the factors of its weights and bias in the forward pass, and the
    standard deviations of its W and b.
    """

    features: int
    parametrization: str
    w_var: float
    b_var: float

    def affine(
        self, x: jax.Array, shape: tuple[int, ...], fan_in: int, product: Callable
    ) -> jax.Array:
        """w_scale product(x, w) + b_scale b, w of `shape`."""
        w_std, b_std = (self.w_var / fan_in) ** 0.5, self.b_var**0.5
        ntk = self.parametrization == "ntk"
        w_scale, b_scale = (w_std, b_std) if ntk else (1.0, 1.0)
        w = self.param("w", _normal, shape, x.dtype, 1.0 if ntk else w_std)
        h = product(x, w)
        if ntk:
            h = h * w_scale
        if self.b_var:
            b = self.param("b", _normal, shape[-1:], x.dtype, 1.0 if ntk else b_std)
            h = h + b_scale * b
        self.sow("layer", "x", x)
        self.sow("layer", "scale", (w_scale, b_scale if self.b_var else 0.0))
        self.sow("layer", "std", (w_std, b_std))
        return self.perturb("h", h)


class Dense(Affine):
    """Fully connected layer. `fan_in` is the paper's n_l; it is given where the input was rotated
    into a smaller space."""

    fan_in: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        return self.affine(x, (d, self.features), self.fan_in or d, jnp.matmul)


class Conv(Affine):
    """3 x 3 convolution, zero padding SAME; x [n, h, w, c] -> [n, h / stride, w / stride, j]."""

    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = x.shape[-1]
        product = partial(convolve, strides=(self.stride, self.stride))
        return self.affine(x, (WINDOW, WINDOW, c, self.features), WINDOW**2 * c, product)


def convolve(x: jax.Array, w: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """x [n, h, w, c], w [3, 3, c, j] -> [n, h / stride, w / stride, j]."""
    return jax.lax.conv_general_dilated(
        x, w, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Norm(Module):
    """Per-channel scale and shift of normalized x [n, h, w, c].

    `batch`: by mean and variance of the batch at hand over examples and positions, in training and
    in evaluation, so that f is a function of (theta, batch); `layer`: of each example alone.
    """

    kind: str
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        axes = (0, 1, 2) if self.kind == "batch" else (1, 2, 3)
        mean = x.mean(axes, keepdims=True)
        var = ((x - mean) ** 2).mean(axes, keepdims=True)
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], x.dtype)
        shift = self.param("shift", nn.initializers.zeros, x.shape[-1:], x.dtype)
        return (x - mean) * jax.lax.rsqrt(var + self.epsilon) * scale + shift


class Network(Module):
    """What every architecture is made of."""

    depth: int
    width: int
    outputs: int
    activation: str
    parametrization: str
    w_var: float
    b_var: float

    @property
    def numbers(self) -> tuple[str, float, float]:
        """Of every layer: parametrization, sigma_w^2, sigma_b^2."""
        return self.parametrization, self.w_var, self.b_var


class FC(Network):
    """`depth` hidden layers of `width`, then the readout (Eq. 1); x [n, d] -> [n, k]."""

    n0: int | None = None  # inputs before data.subspace

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in range(1, self.depth + 1):
            h = self.dense(self.width, f"layer{layer}", self.n0 if layer == 1 else None)(x)
            x = ACTIVATIONS[self.activation](h)
        return self.dense(self.outputs, "readout")(x)

    def dense(self, features: int, name: str, fan_in: int | None = None) -> Dense:
        return Dense(features, *self.numbers, fan_in, name=name)


class CNN(Network):
    """`depth` 3 x 3 convolutions of `width` channels, pooled or flattened, then the readout.

    x [n, h, w, c] -> [n, k]; `pool` = gap (global average) or flatten.
    """

    pool: str = "gap"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in range(1, self.depth + 1):
            conv = Conv(self.width, *self.numbers, name=f"conv{layer}")
            x = ACTIVATIONS[self.activation](conv(x))
        x = x.mean((1, 2)) if self.pool == "gap" else x.reshape(len(x), -1)
        return Dense(self.outputs, *self.numbers, name="readout")(x)


class WRN(Network):
    """Wide residual network of Figure 7: `conv1`, three groups of `depth` blocks, norm-activation,
    average pooling over all that is left (8 x 8 of 32 x 32), readout; x [n, h, w, c] -> [n, k].

    A block adds norm-activation-conv twice to its input; where the size halves, in the first block
    of groups 3 and 4, what is added to is a strided convolution of its input after norm-activation
    (Zagoruyko & Komodakis 2016).
    """

    norm: str = "batch"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv("conv1")(x)
        for group in (2, 3, 4):
            for block in range(1, self.depth + 1):
                stride = 2 if group > 2 and block == 1 else 1
                x = self.block(x, stride, f"{group}_{block}")
        pooled = self.active(x, "norm_last").mean((1, 2))
        return Dense(self.outputs, *self.numbers, name="readout")(pooled)

    def block(self, x: jax.Array, stride: int, name: str) -> jax.Array:
        a = self.active(x, f"norm{name}_1")
        shortcut = x if stride == 1 else self.conv(f"conv{name}_shortcut", stride)(a)
        h = self.conv(f"conv{name}_1", stride)(a)
        return shortcut + self.conv(f"conv{name}_2")(self.active(h, f"norm{name}_2"))

    def active(self, x: jax.Array, name: str) -> jax.Array:
        x = x if self.norm == "none" else Norm(self.norm, name=name)(x)
        return ACTIVATIONS[self.activation](x)

    def conv(self, name: str, stride: int = 1) -> Conv:
        return Conv(self.width, *self.numbers, stride, name=name)


def build(model: Model, n0: int, k: int, x: jax.Array | None = None) -> Module:
    """The network of a config; n0 = input dimension before any rotation, k = outputs.

    A custom network is made for inputs like `x`; what it gives stands in for a Module.
    """
    if model.architecture.name == "custom":
        assert x is not None
        return custom.build(model, k, x, ACTIVATIONS[model.activation.name])  # type: ignore
    shared: dict[str, Any] = {
        "depth": model.depth,
        "width": model.width,
        "outputs": k,
        "activation": model.activation.name,
        "parametrization": model.parametrization.name,
        "w_var": model.w_var,
        "b_var": model.b_var,
    }
    if model.architecture.name == "cnn":
        return CNN(pool=model.pool.name, **shared)
    if model.architecture.name == "wrn":
        return WRN(norm=model.norm.name, **shared)
    return FC(n0=n0, **shared)


def is_custom(model: Module) -> bool:
    return isinstance(model, custom.Custom)


def is_convolutional(model: Module) -> bool:
    return isinstance(model, CNN | WRN) or (isinstance(model, custom.Custom) and model.convolves)


def is_structured(model: Module) -> bool:
    """Whether every parameter belongs to a Dense or Conv layer."""
    return isinstance(model, FC | CNN)


def mixes_examples(model: Module) -> bool:
    """Whether f(x) depends on the other examples of its batch."""
    return isinstance(model, WRN) and model.norm == "batch"


def draw(model: Module, key: jax.Array, x: jax.Array) -> dict:
    """Parameters theta_0 in the dtype of `x` [n, ...], else only its shape matters."""
    return model.init(key, x[:1])["params"]


def init(model: Module, key: jax.Array, x: jax.Array) -> dict:
    """What `draw` gives, compiled once for all layers and networks that share a layer's shape."""
    if is_custom(model):
        return _drawn(model, key, x[:1])
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    return model.lazy_init(key, one, mutable=["params"])["params"]


_drawn = jit(draw, static_argnames="model")


@lru_cache
def shapes(model: Module, inputs: tuple[int, ...], dtype: jnp.dtype) -> Any:
    """Of all variables for one input: `params`, and what our layers put in the collection `layer`.

    Cached, as tracing takes a while and seeds share it.
    """
    one = jax.ShapeDtypeStruct((1, *inputs), dtype)
    return jax.eval_shape(model.init, jax.random.key(0), one)


def apply(model: Module, params: dict, x: jax.Array) -> jax.Array:
    """Outputs [n, k]."""
    return model.apply({"params": params}, x)  # type: ignore[return-value]


def layer_rates(model: Module, params: dict, x: jax.Array) -> dict:
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
