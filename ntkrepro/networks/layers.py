"""What networks are made of: layers in both parametrizations, activations, pools, norms."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ntkrepro.compilation import options

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "erf": jax.scipy.special.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "identity": lambda x: x,
}
WINDOW = 3  # of every convolution
PARAMETRIZATIONS: dict[str, Callable[[float, Any, bool], tuple[float, float]]] = {
    # of a parameter of this standard deviation, of a network of this width, the readout's or not:
    # its factor in the forward pass, and what is drawn
    "ntk": lambda std, n, readout: (std, 1.0),  # Eq. 1
    "standard": lambda std, n, readout: (1.0, std),  # Eq. S32
    # Yang & Hu 2021, Table 1: what is drawn has variance 1/n, and the readout is n^-1/2 as large
    "mup": lambda std, n, readout: (std * (1 if readout else n**0.5), n**-0.5),
}
POOLS: dict[str, Callable[[jax.Array], jax.Array]] = {  # [n, h, w, c] -> [n, d]
    "gap": lambda x: x.mean((1, 2)),
    "flatten": lambda x: x.reshape(len(x), -1),
}
NORMALIZED: dict[str, tuple[int, ...]] = {  # axes over which x [n, h, w, c] is normalized
    "batch": (0, 1, 2),
    "layer": (1, 2, 3),
    "none": (),
}


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


class Affine(nn.Module):
    """What Dense and Conv share: weights and biases in a parametrization, `width` being the
    network's, and the collection `layer` that the structured kernels need.

    It holds the layer's input, the factors of its weights and bias in the forward pass, and the
    standard deviations of its W and b.
    """

    features: int
    parametrization: str
    w_var: float
    b_var: float
    width: int | None = None

    def affine(
        self, x: jax.Array, shape: tuple[int, ...], fan_in: int, product: Callable
    ) -> jax.Array:
        """w_scale product(x, w) + b_scale b, w of `shape`."""
        readout = self.name == "readout"
        (w_scale, w_drawn), (b_scale, b_drawn) = (
            PARAMETRIZATIONS[self.parametrization](std, self.width, readout)
            for std in ((self.w_var / fan_in) ** 0.5, self.b_var**0.5)
        )
        h = product(x, self.param("w", _normal, shape, x.dtype, w_drawn))
        if w_scale != 1:
            h = h * w_scale
        if self.b_var:
            b = self.param("b", _normal, shape[-1:], x.dtype, b_drawn)
            h = h + b_scale * b
        self.sow("layer", "x", x)
        self.sow("layer", "scale", (w_scale, b_scale if self.b_var else 0.0))
        self.sow("layer", "std", (w_scale * w_drawn, b_scale * b_drawn))
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


def at_every_position(v: jax.Array, x: jax.Array) -> jax.Array:
    """v [c] for every row of x [..., c]. A product, as in `channel_means`: then its gradient is one
    too, where XLA's own sums over rows take a third of a network's step."""
    ones = jnp.ones((x.size // len(v), 1), x.dtype)
    return (ones @ v[None]).reshape(x.shape)


def channel_means(x: jax.Array) -> jax.Array:
    """Over all axes but the last."""
    rows = x.reshape(-1, x.shape[-1])
    return (jnp.ones((1, len(rows)), x.dtype) @ rows)[0] / len(rows)


MEANS: dict[str, Callable[[jax.Array], jax.Array]] = {  # over NORMALIZED, [n, h, w, c] or alike
    "batch": lambda x: at_every_position(channel_means(x), x),
    "layer": lambda x: x.mean(NORMALIZED["layer"], keepdims=True),
}


class Norm(nn.Module):
    """Per-channel scale and shift of normalized x [n, h, w, c].

    `batch`: by mean and variance of the batch at hand over examples and positions, in training and
    in evaluation, so that f is a function of (theta, batch); `layer`: of each example alone.
    """

    kind: str
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mean = MEANS[self.kind]
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], x.dtype)
        shift = self.param("shift", nn.initializers.zeros, x.shape[-1:], x.dtype)
        centred = x - mean(x)
        normal = centred * jax.lax.rsqrt(mean(centred**2) + self.epsilon)
        return normal * at_every_position(scale, x) + at_every_position(shift, x)
