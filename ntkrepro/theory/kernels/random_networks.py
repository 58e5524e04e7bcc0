"""Empirical kernels of random fully connected networks, without their weight matrices.

On N inputs a layer's Gaussian weights W [n, n'] enter forward as a W and backward as delta W^T
only, with a, delta [N, .]. With a = R Q^T (Q orthonormal [n, r], r <= N) the two parts

    Q^T W = G [r, n']   and   (I - Q Q^T) W, independent of G,

are Gaussian again: a W = R G, and delta W^T = delta G^T Q^T + S Z (I - Q Q^T) in distribution,
where delta delta^T = S S^T and Z is i.i.d. N(0, 1). So a network of width n costs O(N n) numbers a
layer, not n^2, and its kernels have the very distribution of those of a network whose W was drawn,
jointly with its outputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Draw(NamedTuple):
    """Of one network with one output: outputs f_0 [N], empirical NNGP and NTK [N, N]."""

    outputs: jax.Array
    nngp: jax.Array
    ntk: jax.Array


def draw(
    key: jax.Array,
    x: jax.Array,
    *,
    depth: int,
    width: int,
    activation: Callable[[jax.Array], jax.Array],
    w_var: float,
    b_var: float,
) -> Draw:
    """Outputs, NNGP and NTK of one random network (Eq. 5, NTK parametrization) on x [N, d].

    `depth` hidden layers of `width`. The NNGP is that of the readout's features,
    w_var a a^T / n + b_var (Eq. S29).
    """
    keys = iter(jax.random.split(key, 3 * depth + 1))
    a, layers = x, []
    for _ in range(depth):
        scale = (w_var / a.shape[1]) ** 0.5
        root, q = factors(a)
        g = jax.random.normal(next(keys), (len(x), width), x.dtype)
        bias = b_var**0.5 * jax.random.normal(next(keys), (width,), x.dtype)
        gram = scale**2 * (a @ a.T) + b_var
        h = scale * (root @ g) + bias
        a, slope = jax.jvp(activation, (h,), (jnp.ones_like(h),))
        layers.append((gram, slope, q, g, scale))
    nngp = w_var / width * (a @ a.T) + b_var
    readout = jax.random.normal(next(keys), (width,), x.dtype)
    bias = b_var**0.5 * jax.random.normal(jax.random.fold_in(key, 3 * depth + 1), (), x.dtype)
    outputs = (w_var / width) ** 0.5 * (a @ readout) + bias
    backward, ntk = (w_var / width) ** 0.5 * readout, nngp
    for gram, slope, q, g, scale in reversed(layers):
        delta = backward * slope
        ntk = ntk + gram * (delta @ delta.T)
        backward = scale * transposed(next(keys), delta, q, g)
    return Draw(outputs, nngp, ntk)


def factors(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """R [N, N] and Q [n, N] with a = R Q^T and Q's non-zero columns orthonormal; a [N, n].

    From the N x N Gram matrix; its null directions (repeated inputs) give zero columns.
    """
    values, vectors = jnp.linalg.eigh(a @ a.T)
    keep = values > len(a) * jnp.finfo(a.dtype).eps * values[-1]
    size = jnp.sqrt(jnp.where(keep, values, 0))
    return vectors * size, a.T @ (vectors * jnp.where(keep, 1 / jnp.where(keep, size, 1), 0))


def transposed(key: jax.Array, delta: jax.Array, q: jax.Array, g: jax.Array) -> jax.Array:
    """delta W^T [N, n], W = Q G + a part orthogonal to Q that the forward pass hasn't seen."""
    z = jax.random.normal(key, (len(delta), len(q)), delta.dtype)
    return delta @ g.T @ q.T + factors(delta)[0] @ (z - (z @ q) @ q.T)
