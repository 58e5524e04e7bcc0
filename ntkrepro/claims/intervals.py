"""Values with their 95 % intervals: over networks, over items, and slopes of power laws.

Items are test points, weights or points of a path. Of several networks the interval is Student's
over them; where all see the same items, as they do test points, what another choice of items would
change in all of them is added, from a bootstrap. Of one network it is the bootstrap over items. A
slope is that of a straight line through log y against log x, its interval the regression's.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

RESAMPLES = 2000
Means = Callable[..., np.ndarray]  # of mean values [t, r] a statistic [r]


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    interval: tuple[float, float]


class Sample(NamedTuple):
    """What an interval is of: `size` items."""

    size: int
    items: str


NONE = Estimate(math.nan, (math.nan, math.nan))
ALL = (-math.inf, math.inf)
SIZE = (0.0, math.inf)  # what a ratio, a distance or another size can be


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


def of_means(statistic: Means, *values: Sequence[np.ndarray]) -> Estimate:
    """The statistic, a size, of the means over items of each of `values`: for every network
    [t, items] of the same items. Its mean over networks and its interval."""
    networks = list(zip(*values, strict=True))
    drawn = np.stack([_draws(statistic, *own) for own in networks])
    each = [statistic(*(v.mean(1, keepdims=True) for v in own))[0] for own in networks]
    if len(each) == 1:
        return Estimate(float(each[0]), percentiles(drawn[0]))
    return over_networks(np.array(each), float(np.var(drawn.mean(0))), SIZE)


def _draws(statistic: Means, *values: np.ndarray) -> np.ndarray:
    """The statistic of every resample's means, all at once: each is a row of how often it has every
    item."""
    count = values[0].shape[1]
    own = resampled(count) + count * np.arange(RESAMPLES)[:, None]  # a row's own bins
    share = np.bincount(own.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, -1) / count
    return statistic(*(v @ share.T for v in values))


def over_networks(
    each: np.ndarray, shared: float = 0.0, bounds: tuple[float, float] = ALL, grain: float = 0.0
) -> Estimate:
    """Mean of a value of each network, and Student's interval within `bounds`; none of one.

    shared: the variance of the mean by what all of them have in common, known well, so that the
    degrees of freedom are Satterthwaite's. grain: the interval is at least so wide to each side,
    as where the values are counts of whole steps.
    """
    value, count = float(np.mean(each)), len(each)
    if count < 2:
        return Estimate(value, NONE.interval)
    own = float(np.var(each, ddof=1)) / count
    freedom = (count - 1) * ((own + shared) / own) ** 2 if own else math.inf
    half = max(float(stdtrit(freedom, 0.975)) * (own + shared) ** 0.5, grain)
    return Estimate(value, (max(value - half, bounds[0]), min(value + half, bounds[1])))


def mean(values: np.ndarray) -> Estimate:
    """Of independent values, by Student's t; no interval of one."""
    return over_networks(values)


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
