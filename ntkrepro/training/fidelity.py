"""How well a linearization stands for its network, beside the RMSE: log.fidelity."""

from collections.abc import Callable

import numpy as np

from ntkrepro.theory.losses import correct, predicted


def r2(f: np.ndarray, g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """R^2 of the outputs g of the linearization for those f of the network [t, n, k] -> [t]:
    1 - sum (f - g)^2 / sum (f - mean f)^2, the mean of each output over examples."""
    return explained(f, g, f - f.mean(1, keepdims=True))


def r2_moved(f: np.ndarray, g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same of their displacement since step 0, f[0]: 1 - sum (f - g)^2 / sum (f - f_0)^2.

    0 is what outputs that stay at f_0 would have: a network that was trained before is near to its
    start, and r2 then calls close what has learned nothing.
    """
    return explained(f, g, f - f[:1])


def explained(f: np.ndarray, g: np.ndarray, total: np.ndarray) -> np.ndarray:
    """1 - sum (f - g)^2 / sum total^2 over examples and outputs; not a number where that is 0."""
    left, whole = (np.sum(part**2, axis=(1, 2)) for part in (f - g, total))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, 1 - left / whole, np.nan)


def agreement(f: np.ndarray, g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of examples that both give the same class [t]."""
    return (predicted(f) == predicted(g)).mean(-1)


def accuracy_gap(f: np.ndarray, g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Accuracy of the network less that of the linearization [t]."""
    return correct(f, y[None]).mean(-1) - correct(g, y[None]).mean(-1)


OF_OUTPUTS: dict[str, Callable[..., np.ndarray]] = {"r2": r2, "r2_moved": r2_moved}
OF_CLASSES: dict[str, Callable[..., np.ndarray]] = {
    "agreement": agreement,
    "accuracy_gap": accuracy_gap,
}


def quantities(f: np.ndarray, g: np.ndarray, y: np.ndarray, real: bool) -> dict[str, np.ndarray]:
    """All of them [t], from step 0 on; of real targets those that need no classes."""
    wide = np.asarray(f, np.float64), np.asarray(g, np.float64)
    asked = OF_OUTPUTS if real else OF_OUTPUTS | OF_CLASSES
    return {name: of(*wide, y) for name, of in asked.items()}
