"""Claims F3a to F3d from made-up runs whose exponents are known."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import theorem
from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, REPRODUCED
from ntkrepro.records.store import Record

COLUMNS = ["step", "time", "model", "quantity", "split", "index", "value"]
STEPS = (0, 1, 3, 8)
WIDTHS = (64, 128, 256, 512)
LR, RATE = 0.5, 1 / 16  # of 16 train outputs


def run(width, seed, powers, activation="relu", size=100.0):
    """A run whose quantities are largest in the middle, as width to these powers, and whose
    residual is there `top` and falls from it on both sides."""
    wobble = 1 + 0.01 * (seed - 1)
    shape = dict(zip(STEPS, (0.0, 0.7, 1.0, 0.4), strict=True))
    rows = []
    for step, part in shape.items():
        top = {name: wobble * part * width**power for name, power in powers.items()}
        loss = 0.5 * RATE * (wobble * part * width ** powers["residual"]) ** 2
        rows += [
            (step, step * LR, "network", "parameter_distance", "train", 0, top["theta"]),
            (step, step * LR, "network", "ntk_frobenius", "train", 0, top["kernel"]),
            (step, step * LR, "ntk_empirical", "rmse", "test", 0, top["rmse"]),
            (step, step * LR, "network", "loss", "train", 0, loss),
            (step, step * LR, "network", "output_rms", "test", 0, size),
        ]
    rows.append((0, 0.0, "network", "kernel_rate", "train", 0, RATE))
    config = {
        "model": {"width": width, "depth": 1, "activation": activation},
        "data": {"train": 16},
        "loss": {"scale": 1.0},
        "seed": seed,
    }
    return Record(pd.DataFrame(rows, columns=COLUMNS), config, {})


def runs(powers, **key):
    return [run(n, seed, powers, **key) for n, seed in product(WIDTHS, range(3))]


SHARP = {"theta": 0.0, "kernel": -0.75, "rmse": -1.0, "residual": 0.0}


def checked(records):
    return {claim.id: claim for claim in theorem.claims(records)}


def test_the_exponents_are_of_the_largest_value_on_the_way():
    found = checked(runs(SHARP))
    values = {name[:3]: claim.value for name, claim in found.items()}
    assert values == pytest.approx({"F3a": -0.5, "F3b": -0.75, "F3c": -1.0, "F3d": 0.0}, abs=1e-6)
    assert {claim.verdict for claim in found.values()} == {REPRODUCED}


def test_each_claim_fails_where_its_own_quantity_falls_too_little():
    slow = {"theta": 0.4, "kernel": -0.3, "rmse": -0.3, "residual": 0.4}
    for name, letter in zip(SHARP, "abcd", strict=True):
        found = checked(runs(SHARP | {name: slow[name]}))
        failed = {key for key, claim in found.items() if claim.verdict == FAILED}
        assert failed == {f"F3{letter} relu L=1"}


def test_a_law_on_the_edge_of_its_bound_is_not_decided_by_chance():
    """Those that are sharp have a margin: weights and integral; kernel and outputs have none."""
    edge = {"theta": 0.0, "kernel": -0.5, "rmse": -0.5, "residual": 0.0}
    verdicts = {key[:3]: claim.verdict for key, claim in checked(runs(edge)).items()}
    assert verdicts["F3a"] == verdicts["F3d"] == REPRODUCED
    assert verdicts["F3b"] == verdicts["F3c"] == INCONCLUSIVE


def test_networks_have_claims_of_their_own():
    other = runs(SHARP | {"kernel": -0.2}, activation="tanh")
    found = checked([*runs(SHARP), *other])
    assert found["F3b relu L=1"].value == pytest.approx(-0.75)
    assert found["F3b tanh L=1"].value == pytest.approx(-0.2)


def test_saturated_points_are_left_out():
    """Of width 64 alone, where the largest RMSE, 1/8 of its square root, is above 20 % of 0.5."""
    powers = SHARP | {"rmse": -0.5}
    bent = [run(64, seed, powers | {"kernel": 5}, size=0.5) for seed in range(3)]
    rest = [record for record in runs(powers, size=0.5) if record.config["model"]["width"] > 64]
    table = theorem.table([*bent, *rest])
    assert set(table["width"][table["saturated"]]) == {64}
    assert checked([*bent, *rest])["F3b relu L=1"].value == pytest.approx(-0.75)


def test_the_integral_is_of_the_sum_s_gradient_over_time():
    """eta sum |f - y| dt in the paper's sum over 16 outputs: residuals 0, 0.7, 1, 0.4."""
    exact = np.trapezoid([0.0, 0.7, 1.0, 0.4], np.array(STEPS) * LR) * RATE
    assert theorem.gradients(run(64, 1, SHARP)) == pytest.approx(exact)
    scaled = run(64, 1, SHARP)
    scaled.config["loss"]["scale"] = 2.0
    assert theorem.gradients(scaled) == pytest.approx(exact * 2**0.5)
