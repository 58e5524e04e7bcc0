"""Which phase a run is in, and claims F4a to F4d, from made-up runs."""

from itertools import product

import pandas as pd
import pytest

from ntkrepro.claims import phases
from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, REPRODUCED
from ntkrepro.claims.phases import Phase
from ntkrepro.records.store import Record

COLUMNS = ["step", "time", "model", "quantity", "split", "index", "value"]
CRITICAL = 0.5
FALLING, RISING = (1.0, 0.5, 0.1), (1.0, 30.0, 0.1)


def run(fraction, loss, largest=(4.0, 4.0, 4.0), away=(), width=64, seed=0, rmse=0.1):
    """A run at a fraction of the critical rate; `away`: the models that diverged."""
    lr, rows = fraction * CRITICAL, []
    for step, (value, top) in enumerate(zip(loss, largest, strict=True)):
        rows += [
            (step, lr * step, "network", "loss", "train", 0, value),
            (step, lr * step, "network", "ntk_largest", "train", 0, top),
            (step, lr * step, "ntk_empirical", "rmse", "test", 0, rmse),
        ]
    rows += [(9, 9 * lr, model, "diverged", "", 0, 1.0) for model in away]
    rows.append((0, 0.0, "network", "lr_critical", "train", 0, CRITICAL))
    model = {"width": width, "depth": 1, "activation": "relu"}
    config = {"model": model, "data": {"train": 32}, "seed": seed}
    return Record(pd.DataFrame(rows, columns=COLUMNS), config, {})


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (run(0.5, FALLING), Phase.stable),
        (run(0.5, (1.0, 0.5, 0.504)), Phase.stable),  # rounding
        (run(0.5, (1.0, 0.5, 0.505)), Phase.unsettled),  # no more than 1 %
        (run(0.5, (1.0, 0.5, 0.51)), Phase.unsettled),  # it rises, and no eigenvalue came down
        (run(0.5, (1.0, 1.0, 1.0)), Phase.unsettled),  # it doesn't fall
        (run(2.0, RISING, (4.0, 3.0, 1.9)), Phase.catapult),
        (run(2.0, RISING, (4.0, 3.0, 2.1)), Phase.unsettled),  # at a rate still above critical
        (run(2.0, (1.0, 30.0, 1.5), (4.0, 3.0, 1.9)), Phase.unsettled),  # it ends above its start
        (run(0.5, RISING, (4.0, 4.0, 4.1)), Phase.unsettled),
        (run(0.5, RISING, (4.0, 4.0, 3.9)), Phase.catapult),
        (run(8.0, (1.0, 30.0, 0.1), (4.0, 4.0, 0.1), ("network",)), Phase.divergent),
        (run(2.0, FALLING, away=("ntk_empirical",)), Phase.stable),
    ],
)
def test_the_rule(record, expected):
    assert phases.phase(record) is expected


def test_the_share_of_networks_has_the_interval_of_clopper_and_pearson():
    """From tables. 36 are the least whose interval can be above 0.9."""
    rows = pd.DataFrame({"activation": "relu", "width": 64, "seed": range(36)})
    good, (low, high) = phases.share(rows, pd.Series([True] * 36))
    assert (good, high) == (1.0, 1.0)
    assert low == pytest.approx(0.9026, abs=1e-4)
    for count, interval in ((0, (0.0, 0.3085)), (4, (0.1216, 0.7376))):  # of ten
        held = pd.Series([i < count for i in range(10)])
        found = phases.share(rows[:10], held)
        assert found.value == count / 10
        assert found.interval == pytest.approx(interval, abs=1e-4)


def test_a_network_counts_once_and_only_where_all_its_runs_hold():
    rows = pd.DataFrame({"activation": "relu", "width": 64, "seed": [0, 0, 1, 1]})
    assert phases.share(rows, pd.Series([True, False, True, True])).value == 0.5


def grid(above="catapult", rmse=lambda n: 1 / n, seeds=12):
    """Stable below, at a fraction of 1 what counts for nothing, above as asked."""
    lin, found = ("ntk_empirical",), []
    shapes = {
        "catapult": (RISING, (4.0, 3.0, 1.0), lin),
        "divergent": ((1.0, 30.0, 900.0), (4.0, 8.0, 99.0), (*lin, "network")),
        "stable": (FALLING, (4.0, 4.0, 4.0), lin),
        "linear": (RISING, (4.0, 3.0, 1.0), ()),
    }
    for n, seed in product((64, 256, 1024), range(seeds)):
        key = {"width": n, "seed": seed, "rmse": rmse(n) * (1 + 0.01 * seed)}
        found += [run(x, FALLING, **key) for x in (0.5, 0.75)]
        found += [
            run(1.0, (1.0, 2.0, 3.0), **(key | {"rmse": 1.0})),
            run(2.0, *shapes[above], **key),
        ]
    return found


def verdicts(records):
    return {claim.id: claim.verdict for claim in phases.claims(records)}


ALL = dict.fromkeys(("F4a", "F4b relu", "F4c", "F4d"), REPRODUCED)


@pytest.mark.parametrize("above", ["catapult", "divergent"])
def test_the_claims_hold(above):
    assert verdicts(grid(above)) == ALL


def test_each_claim_says_of_how_many_networks_it_is():
    samples = {claim.id: claim.sample for claim in phases.claims(grid(seeds=4))}
    whole = dict.fromkeys(("F4a", "F4c", "F4d"), (12, "networks"))
    assert samples == whole | {"F4b relu": (4, "seeds")}


def test_each_claim_fails_by_its_own_rule():
    assert verdicts(grid("stable")) == ALL | {"F4d": FAILED}
    assert verdicts(grid("linear")) == ALL | {"F4c": FAILED}
    assert verdicts(grid(rmse=lambda n: n**-0.2)) == ALL | {"F4b relu": FAILED}
    rising = [run(0.5, RISING, width=n, seed=s) for n in (64, 256, 1024) for s in range(12)]
    assert verdicts([*grid(), *rising])["F4a"] == FAILED
    assert verdicts(grid(seeds=4))["F4a"] == INCONCLUSIVE  # 12 networks can't tell


def test_the_rate_is_measured_against_the_record_s_own_critical_one():
    assert phases.fraction(run(0.75, FALLING)) == 0.75


def test_the_worst_rate_decides_how_near_networks_stay():
    slow = [
        run(0.25, FALLING, width=n, seed=s, rmse=n**-0.6 * (1 + 0.01 * s))
        for n in (64, 256, 1024)
        for s in range(12)
    ]
    assert phases.nearness(phases.table([*grid(), *slow])).value == pytest.approx(-0.6)
