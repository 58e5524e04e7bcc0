import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import bound
from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, REPRODUCED, UNCHECKABLE
from ntkrepro.records.store import Record
from tests.claims import common


@pytest.mark.parametrize("decay", [0.0, 1e-9, 0.7, 40.0])
def test_the_integrals_of_the_bound(decay):
    """Against a fine midpoint rule, h constant between its points."""
    t, h = np.array([0.0, 1.0, 2.0, 5.0]), np.array([3.0, 2.0, 0.5])
    fine = (np.arange(500_000) + 0.5) / 100_000
    exact = (np.exp(decay * (fine - 5)) * h[np.searchsorted(t, fine) - 1]).sum() / 100_000
    assert bound._integral(h, t, decay)[-1] == pytest.approx(exact, rel=1e-6)


def test_the_integrals_are_from_above():
    """Of a kernel that leaves Theta_0 as s^1/2, of which straight lines see too little."""
    beta = np.sqrt(np.arange(9.0))
    exact = 2 / 3 * 8**1.5
    assert np.trapezoid(beta) < exact < bound._integral(bound._larger(beta), np.arange(9.0), 0)[-1]
    assert bound._larger(np.array([3.0, 1.0, 2.0])).tolist() == [3.0, 2.0]


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


def test_the_bound_of_a_constant_residual_and_kernel_change():
    """Eq. S48 without decay: beta r t e^(beta t), beta = eta |Theta_t - Theta_0| / n, r = |g_lin|;
    the mean loss r^2 / (2 n k), n k = 2."""
    record, n, r, beta = run([0] * 5, 7.0, smallest=0.0), 2, 3.0, 0.1 * 0.5 * 7
    for name, value in (("loss", r**2 / (2 * n)), ("rmse", 0.5)):
        place = ("ntk_empirical", name, "train")
        record = common.with_values(record, *place, [value] * 5)
    found, t = bound.sides(record), np.arange(5)
    assert found["bound"].tolist() == pytest.approx((beta * r * t * np.exp(beta * t)).tolist())
    assert found["measured"].tolist() == pytest.approx([0.5 * n**0.5] * 5)
    assert found["time"].tolist() == pytest.approx((0.1 * t).tolist())
    assert found["distance"].tolist() == [0.0, 7.0, 7.0, 7.0, 7.0]


def test_ratios_are_of_the_times_at_which_the_bound_tells_something():
    """eta sigma_t t = 0.1 * 0.5 * 7 t: up to 1 at the first two steps."""
    record = run([0, 0.5, 0.2, 9.0, 0.001], 7.0)
    assert bound.sides(record)["exponent"].tolist() == pytest.approx([0, 0.35, 0.7, 1.05, 1.4])
    assert bound.ratios(record).tolist() == pytest.approx([0.5, 0.2])
    back = common.with_values(record, "network", "ntk_distance", "train", [0, 7.0, 3.0, 1.0, 1.0])
    assert bound.sides(back)["exponent"].tolist() == pytest.approx([0, 0.35, 0.7, 1.05, 1.4])


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
    assert [claim.sample for claim in found] == [(8, "networks")] * 2


def test_one_network_has_no_interval():
    assert {claim.verdict for claim in bound.claims([run([0, 1, 1, 1, 1], 7.0)])} == {UNCHECKABLE}
