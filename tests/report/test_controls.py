"""Every claim is reproduced where it is true and not where it is false: real runs.

They take minutes: of those that CI computes, each has its turn in TURNS commits.
"""

import os
from pathlib import Path

import pytest

from ntkrepro.claims import contracts
from ntkrepro.report import controls

pytestmark = pytest.mark.usefixtures("few_resamples")
DEAR = {"8e", "8e kinked"}  # minutes: `ntkrepro controls` alone computes them, and it is kept
TURNS, TURN = 6, os.environ.get("NTKREPRO_TURN")
QUICK = [own for own in controls.controls() if not DEAR & set(own.of)]
QUICK = QUICK if TURN is None else QUICK[int(TURN) % TURNS :: TURNS]
NAMES = [f"{own.figure}: {', '.join(own.of)}; {own.says}" for own in QUICK]


@pytest.fixture(scope="session")
def computed(tmp_path_factory):
    """The folder with the runs of all controls, in packs."""
    from ntkrepro.sweep import grid
    from ntkrepro.sweep.attempt import Attempt

    folder = str(tmp_path_factory.mktemp("controls"))
    runs, failed = controls.runs(folder, QUICK), []
    grid.compute_missing(
        runs,
        lambda run, found: failed.append(found) if isinstance(found, Exception) else None,
        Attempt.begin(runs),
    )
    assert failed == []
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("own", QUICK, ids=NAMES)
def test_a_claim_turns_around(computed, own):
    found = controls.outcome_of(own, computed)
    assert {outcome.contract for outcome in found} == set(own.of)
    assert [outcome for outcome in found if not outcome.turns] == []


def test_every_contract_has_a_control():
    named = {name for own in controls.controls() for name in own.of}
    assert named == set(contracts.contracts())


def test_what_they_say_is_kept_by_contract(tmp_path, monkeypatch):
    one = controls.Outcome(
        "1a", "1a L=1", "False.", "other runs", (), (0.5, 0.4, 0.6, "inconclusive")
    )
    monkeypatch.setattr(controls, "outcomes", lambda results: [one])
    assert controls.write([f"results={tmp_path}"]) == [one]
    assert controls.stored(tmp_path) == {"1a": [one]}
    assert controls.stored(tmp_path / "elsewhere") == {}
    assert not one.turns
    assert one._replace(wrong=(*one.wrong[:3], "not reproduced")).turns


def test_the_committed_controls_are_of_all_contracts_and_turn():
    found = controls.stored(Path(__file__).parents[2] / "results")
    assert set(found) == set(contracts.contracts())
    assert all(outcome.turns for outcomes in found.values() for outcome in outcomes)
