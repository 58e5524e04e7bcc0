"""Every claim is reproduced where it is true and not where it is false: real runs."""

import pytest

from ntkrepro.claims import contracts
from ntkrepro.report import controls

pytestmark = pytest.mark.usefixtures("few_resamples")
NAMES = [f"{own.figure}: {', '.join(own.of)}; {own.says}" for own in controls.controls()]


@pytest.fixture(scope="session")
def computed(tmp_path_factory):
    """The folder with the runs of all controls, in packs."""
    from ntkrepro.sweep import grid
    from ntkrepro.sweep.attempt import Attempt

    folder = str(tmp_path_factory.mktemp("controls"))
    runs, failed = controls.runs(folder), []
    grid.compute_missing(
        runs,
        lambda run, found: failed.append(found) if isinstance(found, Exception) else None,
        Attempt.begin(runs),
    )
    assert failed == []
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("own", controls.controls(), ids=NAMES)
def test_a_claim_turns_around(computed, own):
    found = controls.outcome_of(own, computed)
    assert {name for o in found for name in own.of if o.claim.startswith(name)} == set(own.of)
    assert [outcome for outcome in found if not outcome.turns] == []


def test_every_contract_has_a_control():
    named = {name for own in controls.controls() for name in own.of}
    assert named == set(contracts.contracts())
