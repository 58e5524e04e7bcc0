"""Function-space dynamics of the linearized network on MSE: no training, float64, any step at once.

With residual r_0 = f_0(X) - y, rate a_i = lr c lambda_i (c of Loss.rate, lambda the kernel's
eigenvalues) and u the eigenvectors, everything follows from the coefficients

    c_t = sum_i u_i phi_t(a_i) u_i.r_0,    f_t(x) = f_0(x) - Theta(x, X) c_t,    omega_t = -J^T c_t,

phi_t = (1 - (1 - a)^t) / lambda for gradient descent's own discrete steps and
phi_t = (1 - exp(-a t)) / lambda for the paper's flow (Eq. 9-12). Momentum has phi_t of the 2 x 2
recurrence (Eq. 20, 21) or of its flow (Eq. 22, 23). For minibatches and other losses the same c_t
comes from the recursion itself (`recursion`), or from its flow (flow.py).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike


class Spectrum(NamedTuple):
    """Eigenvalues [nk], ascending and not below 0, and eigenvectors [nk, nk] of a train kernel."""

    values: np.ndarray
    vectors: np.ndarray


def matrix(kernel: ArrayLike, k: int) -> np.ndarray:
    """[n, m] (same for each of k outputs) or [n, k, m, k] -> [n k, m k], float64."""
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim == 2:
        return np.kron(kernel, np.eye(k)) if k > 1 else kernel
    n, k, m, _ = kernel.shape
    return kernel.reshape(n * k, m * k)


def spectrum(kernel: ArrayLike) -> Spectrum:
    """Eigendecomposition of Theta(X, X), [n, n] or [n, k, n, k], in float64.

    A tangent kernel is positive semi-definite: eigenvalues that rounding left below 0 become 0.
    """
    kernel = np.asarray(kernel, np.float64)
    square = matrix(kernel, 1 if kernel.ndim == 2 else kernel.shape[1])
    values, vectors = np.linalg.eigh((square + square.T) / 2)
    return Spectrum(np.maximum(values, 0), vectors)


def progress(rate: np.ndarray, steps: np.ndarray, flow: bool) -> np.ndarray:
    """(1 - (1 - a)^t) / a, or (1 - exp(-a t)) / a for the flow; a [p], t [t] -> [t, p].

    Exact for small a (t at a = 0), oscillating for 1 < a < 2, growing above.
    """
    a, t = np.asarray(rate, np.float64)[None, :], np.asarray(steps, np.float64)[:, None]
    tiny = a < 1e-300
    safe = np.where(tiny, 1.0, a)
    if flow:
        return np.where(tiny, t, -np.expm1(-safe * t) / safe)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        smooth = -np.expm1(t * np.log1p(-np.minimum(safe, 1.0)))
        return np.where(tiny, t, np.where(safe < 1, smooth, 1 - (1 - safe) ** t) / safe)


def momentum_progress(rate: np.ndarray, steps: np.ndarray, beta: float, flow: bool) -> np.ndarray:
    """The same with momentum, a [p], t [t] -> [t, p], from rest.

    With w the velocity, (phi, w, 1) moves linearly: phi += w after w <- beta w + 1 - a phi (Eq. 21)
    or, in the flow, phi' = w, w' = -(1 - beta) w + 1 - a phi (Eq. 23; time in steps). Powers and
    exponentials of that matrix need no case for critical damping, oscillation or a = 0.
    """
    a = np.asarray(rate, np.float64)
    one, zero = np.ones_like(a), np.zeros_like(a)
    if flow:
        rows = [[zero, one, zero], [-a, (beta - 1) * one, one], [zero, zero, zero]]
    else:
        rows = [[1 - a, beta * one, one], [-a, beta * one, one], [zero, zero, one]]
    matrix = np.moveaxis(np.array(rows), -1, 0)
    state, now, out = np.zeros((len(a), 3, 1)), 0, []
    state[:, 2] = 1
    for t in steps:
        leap = (
            scipy.linalg.expm(matrix * (t - now))
            if flow
            else np.linalg.matrix_power(matrix, int(t) - now)
        )
        state, now = leap @ state, t if flow else int(t)
        out.append(state[:, 0, 0])
    return np.array(out)


def phi_t(
    values: np.ndarray, steps: np.ndarray, rate: float, flow: bool, momentum: float
) -> np.ndarray:
    """phi_t of eigenvalues [p] at ascending steps [t] -> [t, p]; rate = lr * c."""
    if momentum:
        return rate * momentum_progress(rate * values, steps, momentum, flow)
    return rate * progress(rate * values, steps, flow)


def coefficients(
    spectrum: Spectrum,
    residual: ArrayLike,
    steps: ArrayLike,
    rate: float,
    flow: bool = False,
    momentum: float = 0.0,
) -> np.ndarray:
    """c_t of this module's equation [t, n, k]; residual f_0(X) - y [n, k], rate = lr * c.

    `steps` ascend.
    """
    r = np.asarray(residual, np.float64)
    columns = r.reshape(len(spectrum.values), -1)  # [n, k] for a kernel [n, n], else [n k, 1]
    modes = spectrum.vectors.T @ columns
    phi = phi_t(spectrum.values, np.atleast_1d(steps), rate, flow, momentum)
    c = np.einsum("ip,tp,pk->tik", spectrum.vectors, phi, modes, optimize=True)
    return c.reshape(len(phi), *r.shape)


def outputs(f0: ArrayLike, kernel: ArrayLike, c: np.ndarray) -> np.ndarray:
    """f_t(x) = f_0(x) - Theta(x, X) c_t (Eq. 10-12); f0 [m, k], kernel [m, n] or [m, k, n, k],
    c [t, n, k] -> [t, m, k]."""
    f0, kernel = np.asarray(f0, np.float64), np.asarray(kernel, np.float64)
    axes = ((1,), (1,)) if kernel.ndim == 2 else ((1, 2), (2, 3))
    moved = np.tensordot(c, kernel, axes)
    return f0 - (np.swapaxes(moved, 1, 2) if kernel.ndim == 2 else moved)


def critical_lr(largest: float, rate: float, momentum: float = 0.0) -> float:
    """Largest stable learning rate 2 (1 + beta) / lambda_max of a train kernel whose largest
    eigenvalue is given, for `rate` of Loss.rate."""
    top = largest * rate
    return 2 * (1 + momentum) / top if top > 0 else float("inf")


Gradient = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (f, y) [b, k] -> d loss / d f [b, k]


def recursion(
    kernel: ArrayLike,
    f0: ArrayLike,
    y: ArrayLike,
    gradient: Gradient,
    steps: list[int],
    lr: float,
    momentum: float = 0.0,
    schedule: np.ndarray | None = None,
) -> np.ndarray:
    """c_t [t, n, k] at `steps` by gradient descent's own recursion, for any loss and batches.

    One step on a batch B (none: all) moves c <- c + lr v with v <- momentum v + grad_B, where
    grad_B is the loss's gradient in f at f_t(X_B) = f_0(X_B) - Theta(X_B, X) c. kernel [n, n] or
    [n, k, n, k]; f0, y [n, k]; schedule [steps, batch].
    """
    f0, y = np.asarray(f0, np.float64), np.asarray(y, np.float64)
    n, k = f0.shape
    kernel = np.asarray(kernel, np.float64)
    full = kernel.ndim == 4
    square = kernel.reshape(n, k, n * k) if full else kernel
    c, v = np.zeros((n, k)), np.zeros((n, k))
    out = {}
    for step in range(steps[-1] + 1):
        if step in steps:
            out[step] = c.copy()
        if step == steps[-1]:
            break
        batch = slice(None) if schedule is None else schedule[step]
        moved = square[batch] @ (c.ravel() if full else c)
        v *= momentum
        v[batch] += gradient(f0[batch] - moved, y[batch])
        c += lr * v
    return np.stack([out[step] for step in steps])
