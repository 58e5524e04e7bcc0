"""Losses and accuracy, one function each, and how each enters the kernel dynamics."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, softmax


def mse(f: jax.Array, y: jax.Array) -> jax.Array:
    """Half the mean over examples and outputs of (f - y)^2; f, y [n, k] -> []."""
    return 0.5 * jnp.mean((f - y) ** 2)


def xent(f: jax.Array, y: jax.Array) -> jax.Array:
    """Mean over examples of -sum_i y_i log softmax(f)_i (Eq. 24); f, y [n, k] -> []."""
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(f), axis=-1))


LOSSES = {"mse": mse, "xent": xent}


def gradient(loss: str, f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """d loss / d f in NumPy; f, y [n, k] -> [n, k]."""
    if loss == "mse":
        return (f - y) / f.size
    return (softmax(f, axis=-1) * y.sum(-1, keepdims=True) - y) / len(f)


def example_losses(loss: str, f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each example's part, whose mean is the loss; f [..., n, k], y [n, k] -> [..., n]."""
    if loss == "mse":
        return 0.5 * np.mean((f - y) ** 2, axis=-1)
    return -np.sum(y * log_softmax(f, axis=-1), axis=-1)


def kernel_rate(loss: str, n: int, k: int) -> float:
    """Factor c by which lr * c * Theta drives the outputs on n examples: a mean is not a total.

    The paper's Eq. 4 is for the total loss; `mse` is the mean over n * k, `xent` over n.
    """
    return 1.0 / (n * k) if loss == "mse" else 1.0 / n


def correct(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each example's class is hit; signs for k = 1; f, y [..., k] -> [...]."""
    if f.shape[-1] == 1:
        return (f[..., 0] > 0) == (y[..., 0] > 0)
    return f.argmax(-1) == y.argmax(-1)
