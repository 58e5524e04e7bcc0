"""Values with their 95 % intervals: bootstrap over items, and slopes of power laws over seeds.

Items are test points, weights or points of a path. A slope is that of a straight line through
log y against log x, its interval the regression's, by Student's t.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ntkrepro.claims.claim import Sample

RESAMPLES = 2000
Means = Callable[..., np.ndarray]  # of mean values [t, r] a statistic [r]


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    interval: tuple[float, float]


NONE = Estimate(math.nan, (math.nan, math.nan))


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> tuple[float, float]:
    """95 % percentile interval of statistic(indices [r, count]) -> [r] over resampled indices.

    Not a number where there are no items.
    """
    if not count:
        return NONE.interval
    return percentiles(statistic(resampled(count)))


def resampled(count: int) -> np.ndarray:
    """RESAMPLES rows of `count` indices."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def percentiles(draws: Any) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def of_means(statistic: Means, *values: np.ndarray) -> Estimate:
    """The statistic of the means over items of `values` [t, items], and its `bootstrap` interval.

    All resamples at once: each is a row of how often it has every item.
    """
    count = values[0].shape[1]
    own = resampled(count) + count * np.arange(RESAMPLES)[:, None]  # a row's own bins
    share = np.bincount(own.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, -1) / count
    value = statistic(*(v.mean(1, keepdims=True) for v in values))[0]
    return Estimate(float(value), percentiles(statistic(*(v @ share.T for v in values))))


def mean(values: np.ndarray) -> Estimate:
    """Of independent values, by Student's t; no interval of one."""
    value, count = float(np.mean(values)), len(values)
    if count < 2:
        return Estimate(value, NONE.interval)
    half = float(stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / count**0.5)
    return Estimate(value, (value - half, value + half))


def slope(frame: pd.DataFrame, x: str) -> Estimate:
    """Exponent of column `value` in column `x`, over all rows."""
    return fit(frame[x].to_numpy(float), frame["value"].to_numpy(float))


def seeds(frame: pd.DataFrame) -> Sample:
    """What a slope's interval is of."""
    return Sample(frame["seed"].nunique(), "seeds")


def fit(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Exponent of y ~ x^value: least squares of log y on log x; the interval by Student's t.

    Not a number where there are fewer than three points or two different x, or a value has no
    logarithm.
    """
    if len(x) < 3 or len(set(x)) < 2 or not ((y > 0) & (y < np.inf)).all():
        return NONE
    line, covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    value, half = float(line[0]), float(stdtrit(len(x) - 2, 0.975) * covariance[0, 0] ** 0.5)
    return Estimate(value, (value - half, value + half))


def worst(slopes: list[Estimate], target: float) -> Estimate:
    """The one whose interval reaches furthest from `target`; not a number is further still."""

    def reach(slope: Estimate) -> float:
        ends = [abs(end - target) for end in slope.interval]
        return math.inf if any(map(math.isnan, (slope.value, *ends))) else max(ends)

    return max(slopes, key=reach)
