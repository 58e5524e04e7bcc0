"""Whether a line is flat, and which claim it is of, from made-up runs."""

from itertools import product

import pandas as pd
import pytest

from ntkrepro.claims import coordinates
from ntkrepro.claims.claim import FAILED, REPRODUCED
from ntkrepro.claims.intervals import Estimate
from ntkrepro.records.store import Record
from tests.claims.test_scaling import COLUMNS

START = {"ntk": (0, 0, 0), "standard": (0, 0, 0), "mup": (0, 0, -0.5)}  # layers' exponents
ADDED = {"ntk": (-0.5, -0.5, 0), "standard": (-0.5, 0.5, 1), "mup": (0, 0, 0)}


def runs(name, added, start=None, late=0.0):
    """Of two hidden layers; `late`: what the exponents of the last step have in addition."""
    found = []
    for width, seed in product((16, 64, 256), (0, 1)):
        size = width * (1 + 0.01 * seed)
        rows = []
        for step, i in product((0, 1, 8), range(3)):
            h = size ** (start or START[name])[i]
            dh = size ** (added[i] + late * (step == 8)) if step else 0.0
            for quantity, value in (("coordinate", h), ("coordinate_change", dh)):
                rows.append((step, step, "network", quantity, "train", i, value))
        model = {"parametrization": name, "width": width, "depth": 2}
        config = {"model": model, "seed": seed, "data": {"train": 8}}
        found.append(Record(pd.DataFrame(rows, columns=COLUMNS), config, {}))
    return found


def verdicts(records):
    return {claim.id: claim.verdict for claim in coordinates.claims(records)}


def test_each_law_is_asked_of_its_layers_and_of_the_parametrization_that_has_it():
    found = coordinates.claims([r for name, added in ADDED.items() for r in runs(name, added)])
    expected = {"F6a ntk": 0, "F6a standard": 0, "F6a mup": 0, "F6b ntk": 0, "F6b standard": 0}
    expected |= {"F6c mup": -0.5, "F6d ntk": -0.5, "F6e mup": 0, "F6f ntk": 0, "F6f mup": 0}
    expected |= {"F6g standard": -0.5, "F6h standard": 0.5, "F6i standard": 1}
    values = {claim.id: claim.value for claim in found}
    assert values == pytest.approx(expected, abs=1e-9)
    assert {claim.verdict for claim in found} == {REPRODUCED}


def test_the_layer_and_step_that_are_furthest_off_decide():
    ok = verdicts(runs("ntk", (-0.5, -0.5, 0)))
    assert verdicts(runs("ntk", (-0.5, -0.2, 0))) == ok | {"F6d ntk": FAILED}
    late = verdicts(runs("ntk", (-0.5, -0.5, 0), late=-0.3))
    assert late == ok | dict.fromkeys(("F6d ntk", "F6f ntk"), FAILED)
    assert verdicts(runs("mup", (0, 0, 0), start=(0, 0.3, -0.5)))["F6a mup"] == FAILED
    (claim,) = [c for c in coordinates.claims(runs("ntk", (-0.5, -0.2, 0))) if c.id == "F6d ntk"]
    assert claim.found == "of layer 2 at step 1; n=16 to 256"


@pytest.mark.parametrize(
    ("value", "half", "told"),
    [(0.02, 0.05, "flat"), (0.5, 0.1, "grows"), (-0.5, 0.1, "falls"), (0.09, 0.05, "flat?")],
)
def test_a_line_is_flat_if_its_whole_interval_is(value, half, told):
    assert coordinates.shape(Estimate(value, (value - half, value + half))) == told
