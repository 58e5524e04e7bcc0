"""Training the readout alone: linear in what moves, whatever the width (SM D).

J = (s_w h, s_b), with h what the readout is applied to, stays as it is, so that Eq. 9-12 hold with
K = J J^T in place of Theta:

    f_t(x) = f_0(x) + J(x) omega_t,    omega_t = -J^T phi_t(J J^T) r_0 = -phi_t(J^T J) J^T r_0,

J = J(X) and r_0 = f_0(X) - y, phi_t of dynamics.py: gradient descent's own steps. The smaller of
both products is decomposed.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ntkrepro.compilation import jit
from ntkrepro.networks.architectures import Network
from ntkrepro.networks.scaled import factor
from ntkrepro.theory import dynamics
from ntkrepro.theory.kernels.empirical import capture


@partial(jit, static_argnames="model")
def jacobian(model: Network, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """f(x) [n, k], and J [n, width + 1], the same for every output: one forward pass."""
    f, layers = capture(model, params, x)
    h, (w, b) = layers["readout",].x, (factor(model) * s for s in layers["readout",].scale)
    return f, jnp.concatenate([w * h, b * jnp.ones_like(h[:, :1])], axis=1)


def displacements(
    j: ArrayLike, residual: ArrayLike, steps: ArrayLike, rate: float, momentum: float = 0.0
) -> Iterator[np.ndarray]:
    """omega_t = (W_t - W_0, b_t - b_0) of the readout on mse [width + 1, k] at each of the steps,
    which ascend; float64.

    j [n, width + 1]; residual f_0(X) - y [n, k]; rate = lr c of Loss.rate. Not a number where the
    kernel isn't finite.
    """
    j, r = np.asarray(j, np.float64), np.asarray(residual, np.float64)
    wide = len(j) <= j.shape[1]
    k, start = (j @ j.T, r) if wide else (j.T @ j, j.T @ r)
    c = np.full((np.size(steps), *start.shape), np.nan)
    if np.isfinite(k).all():  # else no LAPACK ends
        c = dynamics.coefficients(dynamics.spectrum(k), start, steps, rate, momentum=momentum)
    for c_t in c:
        yield -j.T @ c_t if wide else -c_t
