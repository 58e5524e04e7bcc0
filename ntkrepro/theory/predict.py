"""Which of the dynamics follows a linearized network from its kernel: by loss, batches and time."""

from typing import NamedTuple

import numpy as np

from ntkrepro.theory import dynamics, flow
from ntkrepro.theory.losses import LOSSES


class Descent(NamedTuple):
    """Gradient descent at rate `lr` on `scale` times a loss of losses.py; `schedule` [steps, batch]
    holds minibatches, none = full batch. flow: in continuous time."""

    lr: float
    loss: str = "mse"
    momentum: float = 0.0
    flow: bool = False
    scale: float = 1.0
    schedule: np.ndarray | None = None


def coefficients(
    kernel: np.ndarray,
    spectrum: dynamics.Spectrum | None,
    f0: np.ndarray,
    y: np.ndarray,
    steps: list[int],
    by: Descent,
) -> np.ndarray:
    """c_t [t, n, k] of dynamics.py at `steps`, which ascend; f0, y [n, k].

    kernel = Theta(X, X), [n, n] or [n, k, n, k]; its spectrum, if known. Closed forms for full
    batches on mse (Eq. 10-12, 20-23), the recursion for minibatches and cross entropy, and Dopri5
    for the flow of what has no closed form (Eq. 24-26).
    """
    loss, lr = LOSSES[by.loss], by.lr * by.scale
    if loss.quadratic and by.schedule is None:
        rate = by.lr * (by.scale * loss.rate(*y.shape))
        spectrum = spectrum or dynamics.spectrum(kernel)
        return dynamics.coefficients(spectrum, f0 - y, steps, rate, by.flow, by.momentum)
    if by.flow:
        return flow.coefficients(flow.dense(kernel), f0, y, by.loss, steps, lr, by.momentum)
    return dynamics.recursion(kernel, f0, y, loss.gradient, steps, lr, by.momentum, by.schedule)
