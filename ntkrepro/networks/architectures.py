"""Flax networks. `apply(params, x) -> [n, k]` for every architecture."""

from typing import ClassVar

import flax.linen as nn
import jax

from ntkrepro.config.schema import Architecture, Model
from ntkrepro.networks.layers import ACTIVATIONS, NORMALIZED, POOLS, WINDOW, Conv, Dense, Norm
from ntkrepro.networks.own import Custom
from ntkrepro.networks.scaled import Scaled


class Network(nn.Module):
    """What every architecture is made of, and what is asked of it; a subclass says what it is.

    `structured`: every parameter belongs to a Dense or Conv layer, and kernels come from their
    factors. `convolutional`: XLA runs its gradients slowly within loops on a CPU. `own`: the
    user's, whose layers are not known. `analytic`: its name in kernels.analytic.ANALYTIC, none
    where no kernel of the infinitely wide network is known. `keys`: those of config.Model that
    only it has.
    """

    structured: ClassVar[bool] = False
    convolutional: ClassVar[bool] = False
    own: ClassVar[bool] = False
    analytic: ClassVar[str | None] = None
    keys: ClassVar[tuple[str, ...]] = ()

    depth: int
    width: int
    outputs: int
    activation: str
    parametrization: str
    w_var: float
    b_var: float

    @property
    def mixes_examples(self) -> bool:
        """Whether f(x) depends on the other examples of its batch."""
        return False

    @classmethod
    def build(cls, model: Model, n0: int, k: int, x: jax.Array) -> "Network":
        """The network of a config for inputs like `x`; n0 = inputs before any rotation, k =
        outputs."""
        shared = ("depth", "width", "activation", "parametrization", "w_var", "b_var", *cls.keys)
        values = {key: getattr(model, key) for key in shared}
        names = {key: getattr(value, "name", value) for key, value in values.items()}
        return cls(outputs=k, **names)

    @classmethod
    def weights(cls, model: Model, inputs: int) -> int | None:
        """How many there are in all but the readout, for `inputs` examples whose span is what is
        seen of them; none = not known."""
        return None

    @property
    def numbers(self) -> tuple[str, float, float, int]:
        """Of every layer: parametrization, sigma_w^2, sigma_b^2, the network's width."""
        return self.parametrization, self.w_var, self.b_var, self.width


class FC(Network):
    """`depth` hidden layers of `width`, then the readout (Eq. 1); x [n, d] -> [n, k]."""

    structured = True
    analytic = "fc"

    n0: int | None = None  # inputs before data.subspace

    @classmethod
    def build(cls, model: Model, n0: int, k: int, x: jax.Array) -> "FC":
        return super().build(model, n0, k, x).clone(n0=n0)  # type: ignore[return-value]

    @classmethod
    def weights(cls, model: Model, inputs: int) -> int:
        return model.width * inputs + (model.depth - 1) * model.width**2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in range(1, self.depth + 1):
            h = self.dense(self.width, f"layer{layer}", self.n0 if layer == 1 else None)(x)
            x = ACTIVATIONS[self.activation](h)
        return self.dense(self.outputs, "readout")(x)

    def dense(self, features: int, name: str, fan_in: int | None = None) -> Dense:
        return Dense(features, *self.numbers, fan_in, name=name)


class Convolutional(Network):
    """What architectures of 3 x 3 convolutions share."""

    convolutional = True

    @classmethod
    def weights(cls, model: Model, inputs: int) -> int:
        return WINDOW**2 * model.depth * model.width**2


class CNN(Convolutional):
    """`depth` 3 x 3 convolutions of `width` channels, pooled or flattened, then the readout.

    x [n, h, w, c] -> [n, k].
    """

    structured = True
    keys = ("pool",)

    pool: str = "gap"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in range(1, self.depth + 1):
            conv = Conv(self.width, *self.numbers, name=f"conv{layer}")
            x = ACTIVATIONS[self.activation](conv(x))
        return Dense(self.outputs, *self.numbers, name="readout")(POOLS[self.pool](x))


class WRN(Convolutional):
    """Wide residual network of Figure 7: `conv1`, three groups of `depth` blocks, norm-activation,
    average pooling over all that is left (8 x 8 of 32 x 32), readout; x [n, h, w, c] -> [n, k].

    A block adds norm-activation-conv twice to its input; where the size halves, in the first block
    of groups 3 and 4, what is added to is a strided convolution of its input after norm-activation
    (Zagoruyko & Komodakis 2016).
    """

    keys = ("norm",)

    norm: str = "batch"

    @property
    def mixes_examples(self) -> bool:
        return 0 in NORMALIZED[self.norm]

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
        if NORMALIZED[self.norm]:
            x = Norm(self.norm, name=name)(x)
        return ACTIVATIONS[self.activation](x)

    def conv(self, name: str, stride: int = 1) -> Conv:
        return Conv(self.width, *self.numbers, stride, name=name)


ARCHITECTURES: dict[Architecture, type[Network]] = {
    Architecture.fc: FC,
    Architecture.cnn: CNN,
    Architecture.wrn: WRN,
    Architecture.custom: Custom,  # type: ignore[dict-item] # with a Network's face
}


def build(model: Model, n0: int, k: int, x: jax.Array) -> Network:
    """The network of a config, for inputs like `x` [n, ...] and k outputs."""
    network = ARCHITECTURES[model.architecture].build(model, n0, k, x)
    return network if model.scale == 1 else Scaled(network, model.scale)  # type: ignore
