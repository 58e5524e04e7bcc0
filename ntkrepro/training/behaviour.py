"""How the empirical tangent kernel behaves on the way: log.behaviour.

Theta [n, k, n, k] of the points at hand, seen as a matrix over examples and outputs.
"""

from typing import Any

import numpy as np

NAMES = ("ntk_alignment", "ntk_cka", "ntk_velocity", "ntk_condition", "ntk_effective_rank")
TOP = 10  # eigenvalues that are kept


def seen(
    now: np.ndarray, start: np.ndarray, before: np.ndarray | None, lapse: float, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """NAMES [5], not a number where one is not defined, and the largest eigenvalues [TOP], or all.

    Kernels now, at theta_0 and at the logged step before, and ln(t / s) between this and that;
    targets y [n, k].
    """
    values = spectrum(now)
    found = (
        alignment(now, y),
        cka(now, start),
        np.nan if before is None else velocity(now, before, lapse),
        condition(values, np.finfo(now.dtype).eps),
        effective_rank(values),
    )
    return np.array(found), values[:TOP]


def matrix(kernel: np.ndarray) -> np.ndarray:
    """[n, k, n, k] -> [n k, n k], symmetric, float64."""
    n, k = kernel.shape[:2]
    square = np.asarray(kernel, np.float64).reshape(n * k, n * k)
    return (square + square.T) / 2


def spectrum(kernel: np.ndarray) -> np.ndarray:
    """Eigenvalues, the largest first; not numbers where the kernel isn't finite."""
    square = matrix(kernel)
    finite = np.isfinite(square).all()
    return np.linalg.eigvalsh(square)[::-1] if finite else np.full(len(square), np.nan)


def alignment(kernel: np.ndarray, y: np.ndarray) -> float:
    """y^T Theta y / (|Theta|_F |y|^2): with targets (Cristianini et al. 2001)."""
    square, target = matrix(kernel), np.asarray(y, np.float64).ravel()
    return ratio(target @ square @ target, np.linalg.norm(square) * (target @ target))


def cka(kernel: np.ndarray, other: np.ndarray) -> float:
    """The cosine of two kernels, each output centred over examples (Cortes et al. 2012; linear CKA
    of Kornblith et al. 2019)."""
    return cosine(centred(kernel), centred(other))


def centred(kernel: np.ndarray) -> np.ndarray:
    """Of features less their mean over examples."""
    wide = np.asarray(kernel, np.float64)
    rows = wide - wide.mean(0, keepdims=True)
    return rows - rows.mean(2, keepdims=True)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return ratio(np.vdot(a, b), np.linalg.norm(a) * np.linalg.norm(b))


def velocity(now: np.ndarray, before: np.ndarray, lapse: float) -> float:
    """(1 - cosine) of the kernels of two logged steps s < t, over ln(t / s) (the kernel velocity of
    Fort et al. 2020, whose time is linear).

    1 - cosine as half the squared distance of unit vectors, which doesn't cancel.
    """
    wide = [np.asarray(kernel, np.float64) for kernel in (now, before)]
    sizes = [np.linalg.norm(kernel) for kernel in wide]
    if not all(0 < size < np.inf for size in sizes):
        return np.nan
    first, second = (kernel / size for kernel, size in zip(wide, sizes, strict=True))
    return ratio(np.sum((first - second) ** 2) / 2, lapse)


def condition(values: np.ndarray, eps: float) -> float:
    """Largest over smallest eigenvalue; not a number where that is within the kernel's rounding."""
    told = values[-1] > len(values) * eps * values[0]
    return values[0] / values[-1] if told else np.nan


def effective_rank(values: np.ndarray) -> float:
    """exp(-sum p ln p), p the eigenvalues over their sum (Roy & Vetterli 2007): 1 of one direction,
    n k of a multiple of the identity."""
    kept = values[values > 0]
    p = kept / kept.sum()
    return float(np.exp(-np.sum(p * np.log(p)))) if len(kept) else np.nan


def ratio(above: Any, below: Any) -> float:
    return float(above / below) if 0 < below < np.inf else np.nan
