"""Whole runs by leaps, against the same by steps."""

import itertools
import signal

import numpy as np
import pandas as pd
import pytest

from ntkrepro import signals
from ntkrepro.config.compose import compose
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs import setup
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.records.tables import series

SMALL = ("scale=smoke", "model.width=32", "data.train=32", "data.test=16", "precision=float64")
SMALL += ("optimizer.steps=512", "linearized.analytic=false", "model.activation=tanh")
LEAPS = "optimizer.solver=leaps"


def run(tmp_path, *words):
    return store.read(compute(compose([*SMALL, f"results={tmp_path}", *words])))


def outputs(record, model="network"):
    rows = record.rows
    rows = rows[(rows["model"] == model) & (rows["quantity"] == "output")]
    return rows.pivot(index="step", columns=["split", "index"], values="value")


def sizes(frame):
    return np.sqrt((frame**2).mean(axis=1))


@pytest.mark.parametrize(
    "words",
    [(), ("optimizer.momentum=0.9", "optimizer.lr_over_critical=0.3"), ("precision=float32",)],
    ids=" ".join,
)
def test_a_run_by_leaps_is_that_by_steps_within_its_tolerance(tmp_path, words):
    by_steps, by_leaps = run(tmp_path, *words), run(tmp_path, *words, LEAPS)
    found, exact = outputs(by_leaps), outputs(by_steps)
    deviation = sizes(exact - outputs(by_steps, "ntk_empirical"))
    off, near = sizes(found - exact), max(1e-5, 0.01 * deviation.iloc[-1])
    assert (off <= np.maximum(0.01 * deviation, near)).all()
    estimate = series(by_leaps, "network", "error_estimate", "")["value"].to_numpy()
    assert estimate[-1] > 0
    assert off.iloc[-1] <= 10 * estimate[-1]
    counts = [
        series(by_leaps, "network", name, "")["value"].to_numpy()
        for name in ("linearizations", "gradients")
    ]
    assert all((np.diff(count) >= 0).all() and 0 < count[-1] < 512 for count in counts)
    for quantity in ("ntk_change", "nngp_change", "ntk_distance"):
        pair = [series(r, "network", quantity, "train")["value"] for r in (by_leaps, by_steps)]
        np.testing.assert_allclose(*pair, rtol=0.02, atol=1e-4)


def test_where_the_linearization_diverges_and_the_network_comes_back_leaps_do_too(tmp_path):
    """The distance of the two is then no measure of errors."""
    words = ("linearized.space=none", "optimizer.lr_over_critical=1.3", "model.width=64")
    words += ("log.steps=[40,1000]", "optimizer.steps=2000", "log.points=3")
    found, exact = (outputs(run(tmp_path, *words, *more)) for more in ((LEAPS,), ()))
    assert (sizes(found - exact) <= 0.02 * sizes(exact - exact.iloc[0])).all()


@pytest.mark.parametrize(
    "words",
    [
        ("optimizer.lr=400",),
        ("optimizer.lr=400", "loss.scale=1e30", "model.activation=identity", "log.points=2"),
        ("optimizer.lr_over_critical=30", "model.activation=identity", "optimizer.momentum=0.9"),
        ("optimizer.lr=1e4", "model.activation=relu", "precision=float32"),
    ],
    ids=" ".join,
)
def test_a_network_that_diverges_ends_as_by_steps(tmp_path, words):
    for solver in (LEAPS, "optimizer.solver=steps"):
        with pytest.raises(RunFailed, match="training diverged between step"):
            run(tmp_path, *words, "linearized.space=none", solver)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_kernel_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "FUNCTION_SPACE", 31)
    told = r"optimizer\.solver=leaps: the kernel of n \* k = 32 .*optimizer\.solver=steps"
    with pytest.raises(UserError, match=told):
        run(tmp_path, LEAPS)


@pytest.mark.parametrize("words", [(), ("optimizer.momentum=0.9", "precision=float32")])
def test_a_run_that_is_cut_off_and_resumed_is_the_undisturbed_one(tmp_path, monkeypatch, words):
    """Bit for bit, wherever it was cut: also what it tells of its work."""
    words = (*words, "checkpoint=0", "data.train=8", "optimizer.steps=64", LEAPS)
    whole = run(tmp_path / "whole", *words).rows
    cut, found = compose([*SMALL, *words, f"results={tmp_path}/cut"]), []
    for _ in range(100):
        try:
            with monkeypatch.context() as patch:
                asked = itertools.chain([False] * 4, itertools.repeat(True))
                patch.setattr(signals, "asked", lambda asked=asked: next(asked))
                patch.setitem(signals._state, "asked", signal.SIGTERM)
                path = compute(cut)
            break
        except SystemExit:
            with np.load(cut.beside("checkpoint")) as file:
                found.append(int(file["step"]))
    assert found == sorted(set(found))
    assert len(found) > 4
    assert any(step not in set(whole["step"]) for step in found)
    pd.testing.assert_frame_equal(store.read(path).rows, whole, check_exact=True)
