"""Exponents are those that rows were made with; their intervals hold them 95 times of 100."""

import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.intervals import NONE, Estimate

WIDTHS = np.array([16, 32, 64, 128, 256, 512])


def frame(values, **columns):
    """values [seeds, points] as rows."""
    seeds = np.repeat(np.arange(len(values)), len(values[0]))
    own = {name: np.tile(column, len(values)) for name, column in columns.items()}
    return pd.DataFrame({"seed": seeds, "value": np.ravel(values), **own})


def coverage(estimate, scatter, together, seeds=8, times=2000):
    """How often the interval has the exponent -1, where the log of a value scatters by `scatter`
    (of each width), and a seed's whole line by `together` for each octave of width."""
    rng, hits = np.random.default_rng(0), 0
    octaves = np.log2(WIDTHS / WIDTHS[0])
    for _ in range(times):
        noise = scatter * rng.standard_normal((seeds, len(WIDTHS)))
        noise += together * rng.standard_normal((seeds, 1)) * octaves
        low, high = estimate(frame(np.exp(noise) / WIDTHS, width=WIDTHS), "width").interval
        hits += low <= -1 <= high
    return hits / times


UNEVEN = pytest.mark.parametrize(
    ("scatter", "together"), [(np.geomspace(0.8, 0.05, 6), 0.0), (0.1, 0.1)]
)


@UNEVEN
def test_intervals_hold_the_exponent_95_times_of_100(scatter, together):
    assert abs(coverage(exponents.slope, scatter, together) - 0.95) < 0.015


@UNEVEN
def test_a_regression_over_all_points_would_be_too_narrow(scatter, together):
    assert coverage(intervals.slope, scatter, together, times=500) < 0.92


def test_points_that_not_every_seed_has_are_left_out():
    """Here the widest network of one seed, which is far off."""
    rng = np.random.default_rng(1)
    rows = frame(np.exp(0.1 * rng.standard_normal((5, 6))) / WIDTHS, width=WIDTHS)
    wide = pd.DataFrame({"seed": [0], "value": [1.0], "width": [4096]})
    assert exponents.slope(pd.concat([rows, wide]), "width") == exponents.slope(rows, "width")


def test_a_single_seed_has_the_regressions_interval():
    rows = frame([[1.0, 0.6, 0.2, 0.14]], width=WIDTHS[:4])
    assert exponents.slope(rows, "width") == intervals.slope(rows, "width")
    apart = rows.assign(seed=range(4))  # no two widths of one seed
    assert exponents.slope(apart, "width") == intervals.slope(rows, "width")


def test_exponents_in_two_columns_are_told_apart():
    n, d = (a.ravel() for a in np.meshgrid([16.0, 64, 256], [8.0, 32, 128]))
    rng = np.random.default_rng(2)
    rows = frame(d**0.8 / n * np.exp(0.01 * rng.standard_normal((6, 9))), n=n, d=d)
    in_n, in_d = exponents.jointly(rows, ["n", "d"])
    assert (in_n.value, in_d.value) == pytest.approx((-1, 0.8), abs=0.02)
    assert in_n.interval[0] < in_n.value < in_n.interval[1] < in_n.interval[0] + 0.05
    swapped = exponents.jointly(rows, ["d", "n"])
    assert [e.value for e in swapped] == pytest.approx([in_d.value, in_n.value])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_has_no_logarithm_has_no_exponent(bad):
    rows = frame([[1.0, 0.5, bad], [1.0, 0.5, 0.2]], width=WIDTHS[:3])
    assert np.isnan(exponents.slope(rows, "width").value)


def test_two_columns_that_say_the_same_have_no_exponents_of_their_own():
    rows = frame(1 / np.array([WIDTHS, 1.1 * WIDTHS]), n=WIDTHS, d=2 * WIDTHS)
    assert np.isnan([e.value for e in exponents.jointly(rows, ["n", "d"])]).all()


def test_whole_seeds_have_every_point():
    rows = frame(np.ones((3, 4)), n=[1, 1, 2, 2], d=[1, 2, 1, 2])
    part = rows[~((rows["seed"] == 1) & (rows["n"] == 2) & (rows["d"] == 1))]
    assert set(exponents.whole_seeds(part, ["n", "d"])["seed"]) == {0, 2}
    assert len(exponents.whole_seeds(rows, ["n", "d"])) == 12


def test_what_a_slope_rests_on_is_told():
    """The widths that every seed has; all of them where that leaves no line, or a single seed."""
    rows = frame(np.ones((3, 2)), width=WIDTHS[:2])
    wide = pd.DataFrame({"seed": [0], "value": [1.0], "width": [4096]})
    used = exponents.rests_on(pd.concat([rows, wide]), "width")
    assert sorted(set(used["width"])) == [16, 32]
    assert exponents.span(used, "width") == "n=16 to 32"
    one_width = pd.concat([frame(np.ones((3, 1)), width=WIDTHS[:1]), wide])
    assert len(exponents.rests_on(one_width, "width")) == 4
    assert len(exponents.rests_on(rows[rows["seed"] == 0], "width")) == 2
    assert exponents.span(used.assign(train=8), "width", "train") == "n=16 to 32, |D|=8"
    assert exponents.span(used[:0], "width") == ""


def test_the_highest_slope_is_by_its_intervals_end_and_one_that_is_none_above_all():
    low, high = Estimate(-0.4, (-0.5, -0.3)), Estimate(-0.5, (-0.9, -0.1))
    assert exponents.highest([low, high]) is high
    assert exponents.highest([high, NONE, low]) is NONE
