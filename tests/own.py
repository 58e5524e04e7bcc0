"""What a user may bring: networks in nets.py, good ones and bad, and arrays in own.npz."""

import numpy as np

NETS = '''
import flax.linen as nn
import jax
import jax.numpy as jnp
from ntkrepro.networks.architectures import FC

def flat(x):
    return x.reshape(len(x), -1)

def OurFC(outputs, width, depth, w_var, b_var):
    return FC(depth, width, outputs, "relu", "ntk", w_var, b_var)

def Pair(outputs, width=8, activation=jnp.tanh):
    """A list of tuples, one of them a number."""
    def init(key, x):
        keys, d = jax.random.split(key), flat(x).shape[1]
        first = jax.random.normal(keys[0], (d, width)), jnp.zeros(width)
        return [first, (jax.random.normal(keys[1], (width, outputs)), 0.5)]
    def apply(params, x):
        (w, b), (v, c) = params
        h = activation(flat(x) @ w / w.shape[0] ** 0.5 + b)
        return h @ v / width**0.5 + c
    return init, apply

def Start(outputs):
    """At the same parameters with every key."""
    return lambda key, x: jnp.ones((16, outputs)), lambda w, x: flat(x) @ w

class Conv(nn.Module):
    outputs: int
    width: int = 4
    @nn.compact
    def __call__(self, x):
        h = nn.LayerNorm()(nn.relu(nn.Conv(self.width, (3, 3))(x)))
        return nn.Dense(self.outputs)(h.mean((1, 2)))

class Linear(nn.Module):
    outputs: int
    @nn.compact
    def __call__(self, x):
        return self.head(flat(self.body(x)))
    def body(self, x):
        return x
    def head(self, x):
        return nn.Dense(self.outputs)(x)

class FromZero(Linear):
    def head(self, x):
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(x)

class State(Linear):
    def body(self, x):
        return nn.BatchNorm(use_running_average=False)(x)

class Dropout(Linear):
    def body(self, x):
        return nn.Dropout(0.5, deterministic=False)(x)

class Mixing(Linear):
    def body(self, x):
        return x - x.mean(0)

class NotFinite(Linear):
    def head(self, x):
        return super().head(x) / 0

class HalfParameters(Linear):
    def head(self, x):
        return nn.Dense(self.outputs, param_dtype=jnp.bfloat16)(x)

class HalfOutputs(Linear):
    def head(self, x):
        return nn.Dense(self.outputs, dtype=jnp.float16)(x)

class HalfInside(Linear):
    def body(self, x):
        return nn.relu(nn.Dense(3, dtype=jnp.bfloat16)(flat(x))).astype(x.dtype)

class SingleInside(Linear):
    def body(self, x):
        return nn.Dense(3, dtype=jnp.float32)(flat(x)).astype(x.dtype)

class ComplexOutputs(Linear):
    def head(self, x):
        return super().head(x) * 1j

class WholeOutputs(Linear):
    def head(self, x):
        return jnp.sign(super().head(x)).astype(int)

class Wrong(Linear):
    def head(self, x):
        return nn.Dense(self.outputs + 1)(x)

class Two(Linear):
    def head(self, x):
        return super().head(x), x

class Training(nn.Module):
    outputs: int
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.outputs)(flat(x))

def raises(outputs):
    raise RuntimeError("no luck")

def needs(hidden):
    return None

def nothing(outputs):
    return None

def whole(outputs):
    return lambda key, x: {"a": jnp.zeros(3, int)}, lambda params, x: flat(x)[:, :outputs]

def empty(outputs):
    return lambda key, x: {}, lambda params, x: flat(x)[:, :outputs]

number = 3
'''
SMALL = ("model=custom", "scale=smoke", "optimizer.steps=8", "log.points=4")
PIXELS = np.random.default_rng(0).standard_normal((60, 4, 4, 1))
LABELS = np.arange(60) % 3 * 10
ARRAYS = {"x_train": PIXELS[:40], "x_test": PIXELS[40:]}
ARRAYS |= {"y_train": LABELS[:40], "y_test": LABELS[40:]}


def words(name, *overrides):
    return [*SMALL, f"model.factory=nets:{name}", *overrides]


def npz(*overrides):
    return ["data=npz", "data.path=own.npz", *overrides]
