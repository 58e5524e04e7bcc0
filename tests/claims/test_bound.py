import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import bound
from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, REPRODUCED, UNCHECKABLE
from ntkrepro.records.store import Record
from tests.claims import common


@pytest.mark.parametrize("decay", [0.0, 1e-9, 0.7, 40.0])
def test_the_integrals_of_the_bound(decay):
    """Against a fine trapezoidal rule, h straight between its points."""
    t, h = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 3.0, 2.0, 0.5])
    fine = np.linspace(0, 5, 200_001)
    exact = np.trapezoid(np.exp(decay * (fine - 5)) * np.interp(fine, t, h), fine)
    assert bound._integral(h, t, decay)[-1] == pytest.approx(exact, rel=1e-6)


def run(share, distance, seed=0, steps=(0, 1, 2, 3, 4), lr=0.1, rate=0.5, smallest=0.01):
    """A run of constant residual whose kernel has moved by `distance` after the first step, and
    that is off by a share of its bound, one for each step."""
    columns = ["step", "time", "model", "quantity", "split", "index", "value"]
    ways = [0.0, *[distance] * (len(steps) - 1)]
    values = [("network", "kernel_rate", 0, rate), ("network", "lambda_min", 0, smallest)]
    values += [("network", "ntk_distance", t, way) for t, way in zip(steps, ways, strict=True)]
    values += [("ntk_empirical", "loss", t, 0.5 * rate) for t in steps]  # |g_lin| = 1
    values += [("ntk_empirical", "rmse", t, 1.0) for t in steps]
    rows = [(t, t * lr, model, name, "train", 0, value) for model, name, t, value in values]
    config = {"loss": {"scale": 1.0}, "data": {"train": 2}, "seed": seed}
    config["model"] = {"width": 8, "depth": 1}
    record = Record(pd.DataFrame(rows, columns=columns), config, {})
    exact = bound.sides(record)["bound"].to_numpy() * rate**0.5  # rmse = |g_lin - g| rate^1/2
    return common.with_values(record, "ntk_empirical", "rmse", "train", exact * share)


def test_ratios_are_of_the_times_at_which_the_bound_tells_something():
    """eta sigma_t t = 0.1 * 0.5 * 7 t: up to 1 at the first two steps."""
    record = run([0, 0.5, 0.2, 9.0, 0.001], 7.0)
    assert bound.sides(record)["exponent"].tolist() == pytest.approx([0, 0.35, 0.7, 1.05, 1.4])
    assert bound.ratios(record).tolist() == pytest.approx([0.5, 0.2])


def checked(*shares):
    """Claims of eight networks, whose ratios vary by some percent."""
    records = [run([0, *(x * 1.02**seed for x in shares), 1, 1], 7.0, seed) for seed in range(8)]
    return bound.claims(records)


@pytest.mark.parametrize(
    ("shares", "holds", "tells"),
    [
        ((0.5, 0.1), REPRODUCED, REPRODUCED),
        ((1.5, 0.1), FAILED, REPRODUCED),
        ((0.5, 0.005), REPRODUCED, FAILED),
        ((0.01, 0.97), INCONCLUSIVE, FAILED),
    ],
)
def test_the_bound_holds_below_1_and_tells_something_above_chance(shares, holds, tells):
    found = checked(*shares)
    assert [claim.verdict for claim in found] == [holds, tells]
    assert found[0].value == pytest.approx(max(shares) * 1.02**3.5)
    assert found[1].value == pytest.approx(min(shares) * 1.02**3.5)


def test_one_network_has_no_interval():
    assert {claim.verdict for claim in bound.claims([run([0, 1, 1, 1, 1], 7.0)])} == {UNCHECKABLE}
