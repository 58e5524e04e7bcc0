"""Power laws: slopes in log-log coordinates with 95 % intervals over seeds."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit


class Slope(NamedTuple):
    """Exponent of y ~ x^value and its 95 % interval from the regression over all seeds."""

    value: float
    interval: tuple[float, float]


def fit(x: np.ndarray, y: np.ndarray) -> Slope:
    """Least squares of log y on log x; the interval by Student's t.

    Not a number where there are fewer than three points or two different x.
    """
    if len(x) < 3 or len(set(x)) < 2:
        return Slope(math.nan, (math.nan, math.nan))
    line, covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    slope, half = float(line[0]), float(stdtrit(len(x) - 2, 0.975) * covariance[0, 0] ** 0.5)
    return Slope(slope, (slope - half, slope + half))


def of(frame: pd.DataFrame, x: str) -> Slope:
    """Slope of column `value` in column `x`."""
    return fit(frame[x].to_numpy(float), frame["value"].to_numpy(float))


def worst(slopes: list[Slope], target: float) -> Slope:
    """The one that is furthest from `target`; one that is not a number is further still."""
    return max(slopes, key=lambda s: math.inf if math.isnan(s.value) else abs(s.value - target))
