"""The exponents of activations are those that their records were made with, and are judged so."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import activations, exponents
from ntkrepro.claims.claim import FAILED, REPRODUCED, UNCHECKABLE
from ntkrepro.records.store import Record

COLUMNS = ["step", "model", "quantity", "split", "index", "value"]
LAWS = {"relu": exponents.THEORY["relu"], "tanh": exponents.SMOOTH}
SETTINGS = {"stop": 1e-6, "steps": 64}


def record(activation, law, point, seed=0, draw=0, weights=0, loss=1e-7, size=10.0):
    """A run whose quantities follow the exponents of `law`, scattered by 5 %."""
    depth, n, d = point
    rng = np.random.default_rng([seed, draw, depth, n, d, len(activation)])
    ratio, noise = d / n, np.exp(0.05 * rng.standard_normal(4))
    omega = rng.standard_normal(weights)
    error = rng.standard_normal(weights) * n**law.weights * noise[3]
    rows = [
        (64, "network", "loss", "train", 0, loss),
        (64, "network", "output_rms", "test", 0, size),
        (64, "ntk_empirical", "rmse", "test", 0, ratio**-law.rmse * noise[0]),
        (64, "network", "ntk_change", "train", 0, ratio**-law.ntk * noise[1]),
        (64, "network", "nngp_change", "train", 0, ratio**-law.nngp * noise[2]),
        *((64, "network", "weight", "", i, w) for i, w in enumerate(omega)),
        *((64, "ntk_empirical", "weight", "", i, w) for i, w in enumerate(omega + error)),
    ]
    rows = [(0, *row[1:-1], 9.0) for row in rows] + rows  # the first step says nothing
    model = {"activation": activation, "depth": depth, "width": n}
    config = {"model": model, "data": {"train": d, "seed": draw}, "seed": seed}
    return Record(pd.DataFrame(rows, columns=COLUMNS), config | {"optimizer": SETTINGS}, {})


def grid(laws=LAWS, **settings):
    shallow = [(1, n, 32) for n in (64, 256, 1024, 4096, 16384)]
    shallow += [(1, n, d) for n in (1024, 4096) for d in (64, 128)]
    runs = [
        record(a, law, point, seed, **settings)
        for (a, law), point, seed in product(laws.items(), shallow, range(6))
    ]
    return runs + [
        record(a, law, (2, n, 32), seed, weights=256, **settings)
        for (a, law), n, seed in product(laws.items(), (64, 256, 1024, 4096), range(6))
    ]


def claims(runs):
    functions = (activations.rmse_claims, activations.change_claims, activations.weight_claims)
    return {claim.id: claim for function in functions for claim in function(runs)}


def test_exponents_are_those_of_the_records():
    found = claims(grid())
    for activation, law in LAWS.items():
        expected = {f"8e {activation} L={depth}": law.rmse for depth in (1, 2)}
        expected |= {f"8f {activation}": -law.rmse, f"8g {activation}": -law.rmse}
        expected |= {f"8h {activation}": law.rmse}
        expected |= {f"2b {activation}, theory": law.ntk, f"2c {activation}, theory": law.nngp}
        expected |= {f"4d {activation} L=2, theory": law.weights}
        assert {name: found[name].value for name in expected} == pytest.approx(expected, abs=0.05)
    assert "L=1, |D|=32, n=1024 to 16384" in found["8h relu"].statement


def test_the_papers_exponent_and_theorys_are_judged_apart():
    """Where both are the same there is one claim."""
    found = {name: claim.verdict for name, claim in claims(grid()).items()}
    papers = ("8e relu L=1", "8e relu L=2", "8f relu", "8g relu", "8h relu")
    assert {name: found.pop(name) for name in papers} == dict.fromkeys(papers, FAILED)
    assert set(found.values()) == {REPRODUCED}
    assert {f"{name}, theory" for name in papers} <= found.keys()
    assert "8e tanh L=1, theory" not in found


def test_another_activations_records_are_not_reproduced():
    """The control of all of them: ReLU's exponents with tanh's records, and the other way round."""
    found = claims(grid({"relu": LAWS["tanh"], "tanh": LAWS["relu"]}))
    same = {f"2c {activation}, theory" for activation in LAWS}  # -1 of all
    same |= {"8e relu L=1", "8e relu L=2", "8f relu", "8g relu", "8h relu"}  # the paper's
    assert {name for name, claim in found.items() if claim.verdict != FAILED} == same


def test_saturated_points_and_training_that_had_not_ended_are_no_evidence():
    wide = [run for run in grid() if run.config["model"]["width"] > 64]
    narrow = [record("tanh", LAWS["tanh"], (1, 32, 32), seed, size=1.0) for seed in range(6)]
    found, fewer = claims(wide + narrow), claims(wide)
    assert found["8e tanh L=1"].value == fewer["8e tanh L=1"].value
    slow = claims(grid(loss=1e-3, draw=0))
    assert {claim.verdict for claim in slow.values()} == {UNCHECKABLE}


def test_another_draw_of_the_data_has_its_own_line():
    other = [record("relu", LAWS["relu"], (1, n, 32), s, draw=4) for n in (64, 256) for s in (0, 1)]
    found = claims(grid() + other)
    assert {name for name in found if "data.seed" in name} == {
        "8e relu L=1, data.seed=4",
        "8e relu L=1, data.seed=4, theory",
    }
    assert {n: c.value for n, c in claims(grid()).items()} == {
        n: c.value for n, c in found.items() if "data.seed" not in n
    }


def test_theory_says_nothing_of_other_activations():
    runs = [record("identity", LAWS["tanh"], (1, n, 32), s) for n in (64, 256) for s in (0, 1)]
    assert not claims(runs)
