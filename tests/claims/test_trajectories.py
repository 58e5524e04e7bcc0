"""Values and verdicts from the default experiment's record, bent so that the answer is known.

Thresholds: tests/figures/test_figures.py; claims that fail: tests/report/test_controls.py.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import FAILED, REPRODUCED, UNCHECKABLE
from ntkrepro.figures import fig4
from ntkrepro.records import store, tables
from tests.claims.common import with_values

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def record(digits):
    """As if of the paper's numbers."""
    return store.read(digits)._replace(paper=True)


def check(record):
    return {claim.id: claim for claim in fig4.FIGURE.claims({"fc_cifar": [record]})}


def bent(record, quantity, change):
    """The linearization's `quantity` replaced by a function of (the network's, the targets)."""
    targets = tables.select(record, "data", "target", "test")["value"].to_numpy()
    split = "test" if quantity == "output" else ""
    values = change(tables.table(record, "network", quantity, split).to_numpy(), targets)
    new = {quantity: values}
    if quantity == "output":
        new["example_loss"] = 0.5 * (values - targets) ** 2
        new["example_correct"] = (values > 0) == (targets > 0)
    for name, part in new.items():
        record = with_values(record, "ntk_empirical", name, split, part)
    return record


def one_flipped(network, targets):
    """The last step's outputs with one of 16 signs turned."""
    f = network.copy()
    f[-1, 3] *= -1
    return f


def noisy(network, targets):
    """Noise of 0.24 times the rms of the last outputs."""
    noise = np.random.default_rng(0).standard_normal(network.shape[1])
    return network + 0.24 * noise * np.sqrt((network[-1] ** 2).mean() / (noise**2).mean())


@pytest.mark.parametrize(
    ("claim", "quantity", "change", "value"),
    [
        ("4b", "output", noisy, 0.24),
        ("4c accuracy", "output", lambda f, y: 0.5 * f, 0),
        ("4c accuracy", "output", one_flipped, 100 / 16),
        ("4c loss", "output", lambda f, y: y + 1.04 * (f - y), 1.04**2 - 1),
        ("4c loss", "output", lambda f, y: y + 0.94 * (f - y), 1 - 0.94**2),
        ("4d", "weight", lambda f, y: 1.09 * f, 0.09),
        ("4d", "weight", lambda f, y: -1 * f, 2),
    ],
)
def test_the_value_of_a_claim(record, claim, quantity, change, value):
    record = bent(record, quantity, change)
    assert check(record)[claim].value == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert check(record._replace(paper=False))[claim].verdict == UNCHECKABLE


def test_4a_counts_from_time_1_on(record):
    """Before, the empirical kernel may be as far off as it likes; after, never."""
    rows = record.rows
    empirical = (rows["model"] == "ntk_empirical") & (rows["quantity"] == "output")
    for when, verdict in ((rows["time"] < 1, REPRODUCED), (rows["time"] > 3, FAILED)):
        value = rows["value"].where(~(when & empirical), 10.0)
        assert check(record._replace(rows=rows.assign(value=value)))["4a"].verdict == verdict


def test_4a_has_no_verdict_without_both_kernels_or_before_time_1(record):
    rows = record.rows
    trained = rows["model"].astype(str).replace("ntk_empirical", "linearized")
    without = rows[rows["model"] != "ntk_analytic"]
    for part in (without, rows.assign(model=trained), rows[rows["time"] < 1]):
        assert check(record._replace(rows=part))["4a"].verdict == UNCHECKABLE


def test_4d_leaves_out_weights_that_move_in_neither_model(record):
    """Those of units that are dead on every train point."""
    rows = record.rows
    dead = (rows["quantity"] == "weight") & (rows["index"] % 2 == 1)
    half_dead = record._replace(rows=rows.assign(value=rows["value"].where(~dead, 0)))
    assert check(bent(half_dead, "weight", lambda f, y: 1.09 * f))["4d"].value == pytest.approx(
        0.09
    )


@pytest.mark.filterwarnings("error")
def test_4d_has_no_verdict_where_no_weight_moves(record):
    still = record.rows["quantity"] == "weight"
    rows = record.rows.assign(value=record.rows["value"].where(~still, 0))
    claim = check(record._replace(rows=rows))["4d"]
    assert claim.verdict == UNCHECKABLE
    assert np.isnan(claim.value)


def test_claims_of_one_network_are_of_its_points_and_of_several_of_networks(record):
    for count, samples in ((1, {"test points", "weights", "points"}), (3, {"networks"})):
        found = fig4.FIGURE.claims({"fc_cifar": [record] * count})
        assert {claim.sample.items for claim in found} <= samples, [c.sample for c in found]
        assert count == 1 or {claim.sample.size for claim in found} == {3}


def passing(steps, width, seed=0):
    """A run that is logged at 0 to 40 and whose deviation passes 10 % at one of them, or never."""
    rows = [
        (step, 0.1 * step, *name, 0, value)
        for step in range(0, 50, 10)
        for name, value in (
            (("ntk_empirical", "rmse", "test"), 0.1 if step >= steps else 0.0999),
            (("network", "output_rms", "test"), 1.0),
        )
    ]
    columns = ["step", "time", "model", "quantity", "split", "index", "value"]
    config = {"model": {"width": width, "depth": 1}, "data": {"train": 2}, "seed": seed}
    return store.Record(pd.DataFrame(rows, columns=columns), config, {})


def test_s5a_is_of_the_first_step_at_a_tenth_and_of_the_last_where_there_is_none():
    runs = [passing(s, n, seed) for s, n in ((10, 1), (20, 2), (99, 4)) for seed in (0, 1)]
    claim = trajectories.wider_deviates_later(runs)
    assert claim.value == pytest.approx(1)  # 10, 20, 40
    assert claim.sample == (2, "seeds")


def test_a_trained_linearization_goes_before_the_kernels(record):
    exact = record.rows[record.rows["model"] == "network"].assign(model="linearized")
    found = check(record._replace(rows=pd.concat([record.rows, exact])))
    assert {name for name, claim in found.items() if claim.value != 0} == {"4a"}


def test_6b_is_of_the_whole_run(record):
    """Of a single late step too."""
    logits = tables.table(record, "network", "output", "test").to_numpy()
    for step, off, verdict in ((4, 1.09, REPRODUCED), (-1, 2.0, FAILED)):
        factors = np.ones((len(logits), 1))
        factors[step] = off
        bent = with_values(record, "ntk_empirical", "output", "test", logits * factors)
        claim = trajectories.logits_follow([bent])
        assert (claim.value, claim.verdict) == (pytest.approx(off - 1), verdict)


def test_the_rank_correlation_is_scipy_s(record):
    """7a, of networks with noise of their own."""
    loss = tables.series(record, "network", "loss", "train")["value"]
    noise = np.random.default_rng(2).uniform(0.5, 2, (3, len(loss)))
    noisy = [with_values(record, "network", "loss", "train", own * loss) for own in noise]
    shape = trajectories.loss_curves_agree(noisy)[0]
    each = [stats.spearmanr((own * loss)[1:], loss_of_linear(record)[1:]) for own in noise]
    each = [found.statistic for found in each]
    assert shape.value == pytest.approx(np.mean(each), 1e-12)
    half = stats.sem(each) * stats.t.ppf(0.975, 2)
    assert shape.interval == pytest.approx((np.mean(each) - half, min(1, np.mean(each) + half)))


def loss_of_linear(record):
    return tables.series(record, "ntk_empirical", "loss", "train")["value"]


def test_a_dip_and_its_rebound_are_those_of_the_curve():
    loss = [0.113, 0.09, 0.052, 0.06, 0.065, 0.05, 0.045, 0.2]
    curve = pd.DataFrame({"step": [0, 3, 7, 10, 13, 20, 30, 80], "value": loss})
    found = trajectories.dip(curve)
    assert found == pytest.approx((7, 0.052 / 0.113, 13, 0.065 / 0.052))


def test_several_networks_count_as_their_mean(record):
    """4b to 4d of three, of which one is off by more."""
    runs = [bent(record, "output", lambda f, y, c=c: c * f) for c in (1.02, 1.03, 1.1)]
    found = {claim.id: claim for claim in fig4.FIGURE.claims({"fc_cifar": runs})}
    own = [check(run)["4b"].value for run in runs]
    assert found["4b"].value == pytest.approx(np.mean(own)) == pytest.approx(0.05)
    low, high = found["4b"].interval
    half = stats.sem(own) * stats.t.ppf(0.975, 2)
    assert high - 0.05 == pytest.approx(half, rel=1e-6)  # no test point adds to it
    assert low == max(0, 0.05 - half)
    assert found["4b"].sample == (3, "networks")


def test_no_rebound_is_below_one_and_no_dip_above_the_start(record):
    """7a of two networks, one of which hardly rebounds."""
    loss = tables.series(record, "network", "loss", "train")["value"].to_numpy()
    falling = np.linspace(1, 0.9, len(loss))
    rising = falling.copy()
    rising[3] = 2
    runs = [with_values(record, "network", "loss", "train", own) for own in (falling, rising)]
    found = {claim.id: claim for claim in trajectories.loss_curves_agree(runs)}
    assert found["7a rebound network"].interval[0] == 1
    assert found["7a dip network"].interval[1] == 1
