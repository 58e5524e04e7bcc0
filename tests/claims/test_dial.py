"""The exponents in the outputs' scale and in width are those that the records were made with."""

from itertools import product

import pandas as pd
import pytest

from ntkrepro.claims import dial
from ntkrepro.claims.claim import FAILED, REPRODUCED
from ntkrepro.records.store import Record
from tests.claims.test_scaling import COLUMNS


def runs(rmse, change, centred=True, widths=(16, 64, 256)):
    found = []
    for scale, width, seed in product((1, 4, 16), widths, (0, 1)):
        at = (scale, width * (1 + 0.01 * seed))
        rows = [
            (8, 8, "ntk_empirical", "rmse", "test", 0, rmse(*at)),
            (8, 8, "network", "output_rms", "test", 0, 2.0),
            (8, 8, "network", "ntk_change", "train", 0, change(*at)),
        ]
        model = {"width": width, "depth": 1, "scale": scale, "centred": centred}
        config = {"model": model, "seed": seed, "data": {"train": 8}}
        found.append(Record(pd.DataFrame(rows, columns=COLUMNS), config, {}))
    return found


def test_each_exponent_is_of_alpha_from_four_on_and_beside_that_in_width():
    kinked = runs(lambda a, n: (9 if a < 4 else 1) / a / n, lambda a, n: a**-0.5 * n**-0.75)
    found = {claim.id: claim for claim in dial.claims(kinked)}
    values = {"F5a": -1, "F5b": -1, "F5c": -0.5, "F5d": -0.75}
    assert {name: claim.value for name, claim in found.items()} == pytest.approx(values)
    verdicts = dict.fromkeys(("F5a", "F5b"), REPRODUCED) | dict.fromkeys(("F5c", "F5d"), FAILED)
    assert {name: claim.verdict for name, claim in found.items()} == verdicts
    assert found["F5a"].found == "α=4 to 16, n=16 to 256"


def test_with_the_outputs_of_the_start_left_in_the_kernel_alone_is_asked_for():
    left = runs(lambda a, n: 1.0, lambda a, n: a**-0.02, centred=False, widths=(16,))
    (claim,) = dial.claims(left)
    assert (claim.id, claim.value) == ("F5e", pytest.approx(-0.02))
    gone = runs(lambda a, n: 1.0, lambda a, n: 1 / a, centred=False, widths=(16,))
    assert [claim.verdict for claim in dial.claims(gone)] == [FAILED]


def test_points_far_from_their_linearization_are_in_no_exponent():
    """Here the narrowest, above 20 % of the outputs' rms of 2."""
    law = dial.claims(runs(lambda a, n: 5.0 if n < 20 else 8 / a / n, lambda a, n: 1 / a / n))
    assert {claim.id: claim.value for claim in law}["F5a"] == pytest.approx(-1)
    assert {claim.found for claim in law} == {"α=4 to 16, n=64 to 256"}
