"""The value of each claim on a slope is the exponent that its records were made with."""

from itertools import product

import pandas as pd
import pytest

from ntkrepro.claims import scaling
from ntkrepro.claims.claim import FAILED, REPRODUCED
from ntkrepro.records.store import Record

COLUMNS = ["step", "time", "model", "quantity", "split", "index", "value"]


STOP = {"stop": 1e-3, "plateau": 0.0, "steps": 8}


def sweep(end, *quantities, steps=(0, 8), trains=(8,), loss=1e-4, size=100.0, draw=0):
    """Records over width n and |D| of quantities that end as end(n, |D|, m) at index m, and at a
    train loss and an rms of the outputs, on a draw of the data."""
    found = []
    for n, train in product((16, 32, 64, 128), trains):
        rows = [
            (step, step, model, name, split, m, end(n, train, m) if step == steps[-1] else 1.0)
            for (model, name, split), m, step in product(quantities, (1, 2, 4), steps)
        ]
        rows += [(step, step, "network", "loss", "train", 0, loss) for step in steps]
        rows += [(step, step, "network", "output_rms", "test", 0, size) for step in steps]
        config = {"model": {"width": n, "depth": 1, "activation": "relu"}, "seed": 0}
        config |= {"data": {"train": train, "seed": draw}, "optimizer": STOP}
        found.append(Record(pd.DataFrame(rows, columns=COLUMNS), config, {}))
    return found


def test_figure_1_is_in_width_and_in_samples():
    errors = [("network", f"{kernel}_error", "") for kernel in ("nngp", "ntk")]
    runs = sweep(lambda n, d, m: n ** -(0.3 + 0.1 * m) * m**-0.6, *errors, steps=(0,))
    runs += sweep(lambda n, d, m: n**-0.3, *errors, steps=(0,), draw=3)
    found = claims(scaling.convergence_claims(runs))
    expected = dict.fromkeys(("1a L=1", "1b L=1", "1a M=1 L=1", "1b M=1 L=1"), -0.4)
    expected |= dict.fromkeys(("1a M=1 L=1, data.seed=3", "1b M=1 L=1, data.seed=3"), -0.3)
    assert found.keys() == {*expected, "1c L=1"}
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    assert found["1c L=1"].value < -0.7


def test_figure_1_is_an_upper_bound_for_averages_and_an_exponent_for_single_networks():
    """Averages may fall faster, single networks may not: what falls too slowly is refused."""
    errors = [("network", f"{kernel}_error", "") for kernel in ("nngp", "ntk")]

    def verdicts(single, averages):
        end = {1: single, 2: averages, 4: averages}
        runs = sweep(lambda n, d, m: n ** end[m], *errors, steps=(0,))
        found = claims(scaling.convergence_claims(runs))
        return found["1b L=1"].verdict, found["1b M=1 L=1"].verdict

    assert verdicts(-0.5, -0.8) == (REPRODUCED, REPRODUCED)
    assert verdicts(-0.5, -0.3) == (FAILED, REPRODUCED)
    assert verdicts(-0.8, -0.8) == (REPRODUCED, FAILED)


def test_figure_2_is_at_the_last_step_and_tells_the_readout_from_other_layers():
    changes = [("network", f"{what}_change", "") for what in ("weight", "ntk", "nngp")]
    runs = sweep(lambda n, d, m: n ** (-0.1 * m), *changes)
    runs += sweep(lambda n, d, m: n ** (-0.2 * m), *changes, draw=1)
    expected = {"2a readout": -0.4, "2a readout data.seed=1": -0.8, "2a other": -0.15}
    expected |= dict.fromkeys(("2b", "2b kinked", "2c", "2c kinked"), -0.7 / 3)
    assert values(scaling.change_claims(runs)) == pytest.approx(expected)


def test_figure_8_is_in_width_and_in_data():
    by_width, by_data = (
        sweep(lambda n, d, m: d**0.8 / n**1.1, ("linearized", "rmse", "test"), trains=trains)
        for trains in ((8,), (8, 16, 32))
    )
    panes = dict.fromkeys(("rmse_fc_depth", "rmse_cnn", "rmse_wrn"), by_width)
    expected = dict.fromkeys(("8a L=1", "8c L=1", "8d N=1"), -1.1)
    expected |= {f"8b n={n}": 0.8 for n in (16, 32, 64, 128)}
    assert values(scaling.rmse_claims(panes | {"rmse_fc_data": by_data})) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "last", "ended"),
    [
        (1e-4, 8, True),  # below the floor
        (1e-2, 8, False),  # for want of steps
        (1e-2, 4, True),  # on a plateau
    ],
)
def test_where_training_had_not_ended_there_is_no_verdict_on_a_final_rmse(loss, last, ended):
    rmse = ("linearized", "rmse", "test")
    runs = sweep(lambda n, d, m: 1 / n, rmse, steps=(0, last), loss=loss)
    (claim,) = scaling.rmse_claims({"rmse_cnn": runs})
    count = "4 of 4" if ended else "0 of 4"
    assert f"training ended in {count} runs, at train losses up to {loss:.1g}" in claim.statement
    assert claim.verdict == ("reproduced" if ended else "not checkable at this scale")
    runs[1:] = sweep(lambda n, d, m: 1 / n, rmse)[1:]
    (claim,) = scaling.rmse_claims({"rmse_cnn": runs})
    assert claim.checkable == ended
    assert ("3 of 4" in claim.statement) != ended


def test_saturated_runs_are_in_no_exponent():
    """Here the narrowest, at 0.2 and more of the outputs' rms."""
    rmse = ("linearized", "rmse", "test")
    runs = sweep(lambda n, d, m: 1.0 if n == 16 else 1 / n, rmse, size=1 / 7)
    assert list(scaling.rmse_rows(runs)["saturated"]) == [True, True, False, False]
    runs += sweep(lambda n, d, m: 1.1 / n, rmse, size=1 / 7)
    (claim,) = scaling.rmse_claims({"rmse_fc_depth": runs})
    assert claim.value == pytest.approx(-1)
    assert "4 are left out" in claim.statement
    (claim,) = scaling.rmse_claims({"rmse_fc_depth": sweep(lambda n, d, m: 1 / n, rmse, size=1)})
    assert claim.value == pytest.approx(-1)
    assert "left out" not in claim.statement


def claims(found):
    return {claim.id: claim for claim in found}


def values(found):
    return {claim.id: claim.value for claim in found}
