"""Power laws: slopes in log-log coordinates with 95 % intervals over seeds."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats


class Slope(NamedTuple):
    """Exponent of y ~ x^value and its 95 % interval from the regression over all seeds."""

    value: float
    interval: tuple[float, float]


def fit(x: np.ndarray, y: np.ndarray) -> Slope:
    """Least squares of log y on log x; the interval by Student's t. Needs three points."""
    line = stats.linregress(np.log(x), np.log(y))
    half = float(stats.t.ppf(0.975, len(x) - 2) * line.stderr)
    return Slope(float(line.slope), (float(line.slope) - half, float(line.slope) + half))


def of(frame: pd.DataFrame, x: str) -> Slope:
    """Slope of column `value` in column `x`."""
    return fit(frame[x].to_numpy(float), frame["value"].to_numpy(float))


def worst(slopes: list[Slope], target: float) -> Slope:
    """The one that is furthest from `target`."""
    return max(slopes, key=lambda slope: abs(slope.value - target))
