"""A number that isn't finite, wherever it stands in a record, never ends in a verdict."""

import numpy as np
import pytest

from ntkrepro.claims import bound, ensembles, trajectories
from ntkrepro.claims.claim import UNCHECKABLE
from ntkrepro.records import store, tables
from tests.claims.common import with_values

pytestmark = pytest.mark.usefixtures("few_resamples")
LINEAR = "ntk_empirical"
OF_A_RUN = [
    *((model, "output", "test") for model in ("network", LINEAR)),
    *((model, "example_loss", "test") for model in ("network", LINEAR)),
    *((model, "loss", "train") for model in ("network", LINEAR)),
    (LINEAR, "rmse", "test"),
    ("network", "output_rms", "test"),
]
EARLY = [(LINEAR, "rmse", "train"), ("network", "ntk_distance", "train")]  # where F1 is judged
AT_THE_END = [
    *((model, "weight", "") for model in ("network", LINEAR)),
    ("ntk_analytic", "output", "test"),
]
CASES = [(place, step) for place in OF_A_RUN for step in (1, -1)]
CASES += [(place, -1) for place in AT_THE_END] + [(place, 1) for place in EARLY]
OF_AN_ENSEMBLE = [
    ("network", "output", "path"),
    *(("ntk_analytic", quantity, "path") for quantity in ("mean", "std")),
    *(("nngp_posterior", quantity, "path") for quantity in ("mean", "std")),
]


def of_a_run(record):
    widths = [record.config | {"model": record.config["model"] | {"width": 2**i}} for i in range(4)]
    return [
        trajectories.empirical_beats_analytic([record]),
        trajectories.plateau_is_small([record]),
        *trajectories.loss_and_accuracy_agree([record], "4c"),
        trajectories.weights_follow([record]),
        trajectories.logits_follow([record]),
        *trajectories.loss_curves_agree([record]),
        trajectories.wider_deviates_later([record._replace(config=own) for own in widths]),
        *bound.claims([record, record]),
    ]


def refuses(record, claims, place, step, value):
    """Whether every claim is as without the value, or has no verdict; and some have none."""
    rows = tables.select(record, *place)
    values = rows["value"].where(rows["step"] != rows["step"].unique()[step], value)
    healthy, sick = claims(record), claims(with_values(record, *place, values))
    same = [
        np.isclose(a.value, b.value, equal_nan=True) for a, b in zip(healthy, sick, strict=True)
    ]
    changed = [claim for claim, as_before in zip(sick, same, strict=True) if not as_before]
    return changed and {claim.verdict for claim in changed} == {UNCHECKABLE}


@pytest.mark.parametrize(("place", "step"), CASES)
def test_nothing_that_is_not_a_number_has_a_verdict(digits, place, step):
    record = store.read(digits)._replace(paper=True)
    assert refuses(record, of_a_run, place, step, np.nan)


@pytest.mark.parametrize("place", OF_AN_ENSEMBLE, ids=" ".join)
def test_nor_have_processes_or_networks_that_are_not(smoke_records, place):
    record = store.read(smoke_records("ensemble")[0])
    record = record._replace(paper=True)
    assert refuses(record, lambda of: ensembles.claims({"ensemble": [of]}), place, -1, np.nan)
