"""Empirical tangent kernel of a network whose outputs depend on their batch (BatchNorm).

f is then a function of all of x at once, and the kernel of two batches is J(x1) J(x2)^T. A row of
J, that of one output of one example, takes a backward pass through the batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from ntkrepro.compilation import jit
from ntkrepro.networks import architectures, functions
from ntkrepro.theory.kernels.empirical import MEMORY

Row = Callable[[int], np.ndarray]


def ntk(
    model: architectures.Network, params: Any, x: jax.Array, x_test: jax.Array, memory: int = MEMORY
) -> np.ndarray:
    """Of the batches x [n, ...] and x_test [m, ...] with x: [n + m, k, n, k].

    As many rows of J(x) as `memory` bytes hold, at least one, are kept at a time, and the others
    computed again for each such block.
    """
    train, test = jacobian(model, params, x), jacobian(model, params, x_test)
    n, m = (len(points) * model.outputs for points in (x, x_test))
    size, columns = rows_at_once(params, memory), []
    for first in range(0, n, size):
        held = {i: train(i) for i in range(first, min(first + size, n))}
        block = np.stack(list(held.values()))
        own = [block @ (held[i] if i in held else train(i)) for i in range(n)]
        columns.append(np.stack([*own, *(block @ test(i) for i in range(m))]))
    kernel = np.concatenate(columns, 1)
    return kernel.reshape(-1, model.outputs, len(x), model.outputs)


def rows_at_once(params: Any, memory: int) -> int:
    """Rows of J that fit into `memory` bytes, or one."""
    leaves = jax.tree.leaves(params)
    return max(1, memory // sum(leaf.size * leaf.dtype.itemsize for leaf in leaves))


def jacobian(model: architectures.Network, params: Any, x: jax.Array) -> Row:
    """The function i -> row i of J(x), [p]."""
    f, pullback = forward(model, params, x)

    def row(i: int) -> np.ndarray:
        unit = np.zeros(f.shape, f.dtype)
        unit.flat[i] = 1
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(pull(pullback, unit))])

    return row


@partial(jit, static_argnames="model")
def forward(model: architectures.Network, params: Any, x: jax.Array) -> Any:
    """f(x) [n, k], and the function that takes c [n, k] to J(x)^T c."""
    return jax.vjp(lambda p: functions.apply(model, p, x), params)


@jit
def pull(pullback: Any, c: jax.Array) -> Any:
    return pullback(c)
