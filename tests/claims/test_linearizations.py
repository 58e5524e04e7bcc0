"""Claims F2a and F2b from made-up counts."""

from itertools import product

import pandas as pd
import pytest

from ntkrepro.claims import linearizations
from ntkrepro.claims.claim import FAILED, REPRODUCED, UNCHECKABLE
from ntkrepro.records.store import Record

WIDTHS, FEWEST = (16, 64, 256), 8


def run(count, width, seed, tolerance=0.01, activation="relu", paper=True):
    columns = ["step", "time", "model", "quantity", "split", "index", "value"]
    values = ((0, 0.0), (64, count))
    rows = [(step, step, "network", "linearizations", "", 0, value) for step, value in values]
    config = {
        "model": {"width": width, "depth": 1, "activation": activation},
        "data": {"train": 8},
        "optimizer": {"tolerance": tolerance},
        "seed": seed,
    }
    return Record(pd.DataFrame(rows, columns=columns), config, {}, paper=paper)


def runs(count, **key):
    """Three seeds of every width, which vary by 1 %; and the fewest, of one."""
    grid = [
        run(count(n) * (1 + seed / 100), n, seed, **key) for n, seed in product(WIDTHS, range(3))
    ]
    return [*grid, run(FEWEST, WIDTHS[-1], 0, 1000.0, **key)]


def checked(records):
    return {claim.id: claim for claim in linearizations.claims(records)}


def test_the_slope_is_of_the_last_step_at_the_least_tolerance_and_of_each_network_its_own():
    relu, tanh = runs(lambda n: 200 * n**-0.5), runs(lambda n: 9 * n**0.1, activation="tanh")
    found = checked([*relu, *tanh])
    assert found["F2a relu"].value == pytest.approx(-0.5)
    assert found["F2a relu"].verdict == REPRODUCED
    assert found["F2a tanh"].value == pytest.approx(0.1)
    assert found["F2a tanh"].verdict == FAILED


def test_the_widest_is_over_the_fewest_and_has_a_verdict_at_the_papers_numbers_alone():
    mean = 200 * WIDTHS[-1] ** -0.5 * 1.01
    for paper, verdict in ((True, REPRODUCED), (False, UNCHECKABLE)):
        claim = checked(runs(lambda n: 200 * n**-0.5, paper=paper))["F2b relu"]
        assert claim.value == pytest.approx(mean / FEWEST)
        assert claim.verdict == verdict


def test_without_the_fewest_there_is_no_verdict():
    claim = checked(runs(lambda n: 9.0)[:-1])["F2b relu"]
    assert claim.verdict == UNCHECKABLE
