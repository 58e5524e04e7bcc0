import numpy as np
import pytest
from scipy import stats

from ntkrepro.claims import intervals
from ntkrepro.claims.intervals import NONE, Estimate


def test_the_interval_is_that_of_the_mean():
    """95 % of a mean of 400 is 1.96 standard errors to either side."""
    items = np.random.default_rng(0).standard_normal(400)
    low, high = intervals.bootstrap(lambda chosen: items[chosen].mean(-1), 400)
    half = 1.96 * items.std() / 20
    assert low == pytest.approx(items.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(items.mean() + half, abs=0.1 * half)


def test_all_resamples_at_once_are_those_one_by_one(few_resamples):
    pair = np.random.default_rng(1).random((2, 5, 40))
    value, interval = intervals.of_means(lambda a, b: (a / b).max(0), *pair[:, None])

    def one(items):
        return (pair[0][:, items].mean(1) / pair[1][:, items].mean(1)).max()

    assert value == pytest.approx(one(np.arange(40)), 1e-12)
    by_one = intervals.bootstrap(lambda rows: np.array([one(items) for items in rows]), 40)
    assert interval == pytest.approx(by_one, 1e-12)


def test_a_slope_is_scipy_s_of_the_logarithms():
    x, y = np.random.default_rng(2).uniform(1, 9, (2, 12))
    line = stats.linregress(np.log(x), np.log(y))
    value, interval = intervals.fit(x, y)
    assert value == pytest.approx(line.slope)
    assert interval == pytest.approx(stats.t.interval(0.95, 10, line.slope, line.stderr))


@pytest.mark.parametrize("few", [[0, 1], [0, 0, 0]])
def test_there_is_no_slope_of_two_points_or_one_width(few):
    x = np.arange(1.0, 5)[few]
    assert intervals.fit(x, x) == NONE


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_there_is_no_slope_through_what_has_no_logarithm(value):
    x = np.arange(1.0, 6)
    assert intervals.fit(x, np.where(x == 3, value, x)) == NONE


def test_there_is_no_interval_of_no_items():
    assert intervals.bootstrap(lambda chosen: chosen.mean(-1), 0) == NONE.interval


def test_the_worst_slope_is_the_furthest_and_one_that_is_none_above_all():
    near, far = (Estimate(value, (value, value)) for value in (-0.6, -0.3))
    assert intervals.worst([near, far], -0.5) is far
    assert intervals.worst([near, NONE, far], -0.5) is NONE


@pytest.mark.parametrize(("network", "points"), [(1.0, 0.0), (0.0, 1.0), (0.3, 1.0), (0.15, 1.0)])
def test_the_false_alarms_over_networks_are_5_percent(monkeypatch, network, points):
    """Of five networks on the same 64 test points: by their spread, by that of the points, and by
    both. A true value is outside in 5 % of the cases, half of them on either side."""
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    rng, outside, count = np.random.default_rng(0), [0, 0], 2000
    for _ in range(count):
        values = 9 + network * rng.standard_normal((5, 1)) + points * rng.standard_normal(64)
        values = values + 0.5 * rng.standard_normal((5, 64))
        low, high = intervals.of_means(lambda v: v[0], [own[None] for own in values]).interval
        outside[0] += low > 9
        outside[1] += high < 9
    assert np.array(outside) / count == pytest.approx(0.025, abs=0.0125)
    assert sum(outside) / count == pytest.approx(0.05, abs=0.015)


def test_an_interval_is_never_what_its_value_can_not_be():
    assert intervals.over_networks(np.array([0.0, 1.0]), bounds=intervals.SIZE).interval[0] == 0
    assert intervals.over_networks(np.array([7.0, 7.0]), grain=1.0).interval == (6, 8)
    assert np.isnan(intervals.over_networks(np.array([7.0])).interval).all()
