"""Losses: what each is, and how it enters the kernel dynamics; and accuracy."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, softmax


class Loss(NamedTuple):
    """All that is asked of a loss; f, y [n, k].

    `value`(f, y) -> [], what is descended, in JAX; `gradient`(f, y) -> [n, k], its derivative in f,
    and `per_example`(f [..., n, k], y) -> [..., n], whose mean it is, both in NumPy. lr * `rate`(n,
    k) * Theta drives the outputs on n examples: Eq. 4 is for a total, not a mean. `quadratic` in f:
    the dynamics have the closed forms of Eq. 10-12.
    """

    value: Callable[[jax.Array, jax.Array], jax.Array]
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]
    per_example: Callable[[np.ndarray, np.ndarray], np.ndarray]
    rate: Callable[[int, int], float]
    quadratic: bool


LOSSES = {
    "mse": Loss(  # half the mean over examples and outputs of (f - y)^2
        value=lambda f, y: 0.5 * jnp.mean((f - y) ** 2),
        gradient=lambda f, y: (f - y) / f.size,
        per_example=lambda f, y: 0.5 * np.mean((f - y) ** 2, axis=-1),
        rate=lambda n, k: 1.0 / (n * k),
        quadratic=True,
    ),
    "xent": Loss(  # mean over examples of -sum_i y_i log softmax(f)_i (Eq. 24)
        value=lambda f, y: -jnp.mean(jnp.sum(y * jax.nn.log_softmax(f), axis=-1)),
        gradient=lambda f, y: (softmax(f, axis=-1) * y.sum(-1, keepdims=True) - y) / len(f),
        per_example=lambda f, y: -np.sum(y * log_softmax(f, axis=-1), axis=-1),
        rate=lambda n, k: 1.0 / n,
        quadratic=False,
    ),
}


def correct(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each example's class is hit; signs for k = 1; f, y [..., k] -> [...]."""
    return predicted(f) == predicted(y)


def predicted(f: np.ndarray) -> np.ndarray:
    """The class of each example; the sign for k = 1; f [..., k] -> [...]."""
    return f[..., 0] > 0 if f.shape[-1] == 1 else f.argmax(-1)
