"""Ensembles of infinitely wide networks: Gaussian processes at every step of training (Eq. 13-16).

The linearized network's outputs are linear in its initial ones,

    f_t(x) = f_0(x) - A_t (f_0(X) - y),    A_t = Theta(x, X) phi_t(Theta(X, X)),

with phi_t of dynamics.py and f_0 ~ N(0, K). So the mean is A_t y and the covariance C K C^T with
C = (I, -A_t) over (x, X): from a square root of K over all points, which keeps every variance at 0
or above however singular K is. All steps share that f_0: the roots C_t sqrt(K), one below the
other, are a root of the covariance over steps and points together. Theta = K trains the readout
alone (Eq. S28-S31, without the slip of S31), and t = infinity is then the NNGP posterior (Eq. 14).
float64; k outputs share a kernel.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ntkrepro.theory import dynamics

SMALL = 1e-12  # eigenvalues below this share of the largest are no direction at t = infinity
NEGLIGIBLE = 1e-5  # directions of a root, below this share of the largest, that are not drawn


class Blocks(NamedTuple):
    """A kernel on train points X [n] and others x [m]: k(X, X), k(x, X) and k(x, x)."""

    train_train: np.ndarray
    test_train: np.ndarray
    test_test: np.ndarray


class Ensemble(NamedTuple):
    """Mean [t, m, k] of the outputs at each step, and the `root` [t, m, n + m] of their covariance:
    f_t = mean + root z with the same z ~ N(0, I) at every step."""

    mean: np.ndarray
    root: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """At each step [t, m, m]."""
        return self.root @ np.swapaxes(self.root, 1, 2)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation [t, m]."""
        return np.sqrt(np.maximum(np.einsum("tii->ti", self.covariance), 0))


def blocks(kernel: ArrayLike, n: int) -> Blocks:
    """The blocks of a kernel [n + m, n + m] over train points, then the others."""
    kernel = np.asarray(kernel, np.float64)
    return Blocks(kernel[:n, :n], kernel[n:, :n], kernel[n:, n:])


def joint(k: Blocks) -> np.ndarray:
    """The kernel over others, then train points [m + n, m + n]."""
    return np.block([[k.test_test, k.test_train], [k.test_train.T, k.train_train]])


def square_root(kernel: np.ndarray) -> np.ndarray:
    """B with B B^T = kernel, where rounding's negative eigenvalues count as 0."""
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0))


def small(values: np.ndarray) -> np.ndarray:
    """Which of the eigenvalues, ascending, `responses` leaves out at t = infinity."""
    return values <= SMALL * values[-1]


def responses(
    theta: Blocks, steps: ArrayLike, rate: float, flow: bool = False, momentum: float = 0.0
) -> np.ndarray:
    """A_t [t, m, n] at ascending `steps`, infinity the linear solve; rate = lr * c of losses.py."""
    spectrum, steps = dynamics.spectrum(theta.train_train), np.atleast_1d(steps)
    values, ends = spectrum.values, np.isinf(steps)
    phi = dynamics.phi_t(values, steps[~ends], rate, flow, momentum)
    solve = np.where(small(values), 0, 1 / np.maximum(values, 1e-300))
    phi = np.concatenate([phi, np.tile(solve, (int(ends.sum()), 1))])
    side = theta.test_train @ spectrum.vectors
    return np.einsum("mp,tp,np->tmn", side, phi, spectrum.vectors, optimize=True)


def ensemble(
    nngp: Blocks,
    theta: Blocks,
    y: ArrayLike,
    steps: ArrayLike,
    rate: float,
    flow: bool = False,
    momentum: float = 0.0,
) -> Ensemble:
    """Mean and covariance of networks drawn from the prior and trained (Eq. 15, 16).

    y [n, k]. theta = nngp: the readout alone is trained (Eq. S30, S31).
    """
    a, y = responses(theta, steps, rate, flow, momentum), np.asarray(y, np.float64)
    m = len(nngp.test_test)
    root = square_root(joint(nngp))
    left = root[:m] - a @ root[m:]
    return Ensemble(a @ y, left)


def posterior(nngp: Blocks, y: ArrayLike) -> Ensemble:
    """Bayesian NNGP posterior (Eq. 14) as the one step of t = infinity."""
    return ensemble(nngp, nngp, y, [np.inf], 1.0)


def sample(of: Ensemble, count: int, seed: int) -> np.ndarray:
    """Functions [count, t, m, k], each drawn once and followed over all steps."""
    rng, k = np.random.default_rng(seed), of.mean.shape[-1]
    return of.mean + np.einsum(
        "tmp,cpk->ctmk", of.root, rng.standard_normal((count, of.root.shape[-1], k))
    )


def distance(mean: ArrayLike, std: ArrayLike, other: tuple[ArrayLike, ArrayLike]) -> np.ndarray:
    """Of two ensembles at each step [..., t], from their moments [..., t, m]: the root mean square
    over points of the 2-Wasserstein distance of two normal distributions of these."""
    off = np.asarray(mean) - other[0], np.asarray(std) - other[1]
    return np.sqrt((off[0] ** 2 + off[1] ** 2).mean(-1))


def moments(of: Ensemble, members: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [draws, t, m] of so many networks, two at least, that are drawn
    from the process (k = 1) and followed over all steps; so many times over.

    With R a root of the covariance over steps and points together, (M - 1) times the
    sample's covariance is R B^T B R^T, B of the Bartlett decomposition: chi in the diagonal, normal
    above. The sample's mean is independent of it.
    """
    t, m, _ = of.root.shape
    u, size, _ = np.linalg.svd(of.root.reshape(t * m, -1), full_matrices=False)
    root = (u * size)[:, size > NEGLIGIBLE * size[0]]
    rng, p = np.random.default_rng(0), root.shape[1]
    free, rows = members - 1, np.arange(min(members - 1, p))
    mean = rng.standard_normal((draws, p)) @ root.T / members**0.5
    std = np.empty_like(mean)
    for own in std:
        b = np.triu(rng.standard_normal((len(rows), p)), 1)
        b[rows, rows] = np.sqrt(rng.chisquare(free - rows))
        own[:] = np.sqrt(np.square(root @ b.T).sum(1) / free)
    return of.mean[..., 0] + mean.reshape(draws, t, m), std.reshape(draws, t, m)
