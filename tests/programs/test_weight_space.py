"""Readouts trained alone by program=train: in closed form where there is one."""

import itertools
import signal

import numpy as np
import pandas as pd
import pytest

from ntkrepro import signals
from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run
from ntkrepro.errors import RunFailed
from ntkrepro.plan import plan
from ntkrepro.programs import memory, weight_space
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.run import compute, numerics
from ntkrepro.programs.setup import shapes
from ntkrepro.records import store
from ntkrepro.training import loop

WORDS = ("scale=smoke", "optimizer.train=readout", "data.train=12", "model.width=8")
IMAGES = ("data.subspace=false", "data.train=4", "data.test=4", "optimizer.steps=4")
WRN = ("model.architecture=wrn", "model.depth=1", "model.width=4", "log.kernel=false")
KEYS = ["step", "time", "model", "quantity", "split", "index"]


def run(folder, *words):
    return compose([*WORDS, *words, f"results={folder}"])


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (1e-10, ["precision=float64", "optimizer.momentum=0.9"]),
        (1e-10, ["precision=float64", "data.train=40", "model.parametrization=standard"]),
        (1e-10, ["precision=float64", "data.targets=onehot", "model.b_var=0", "loss.scale=2"]),
        (1e-10, ["precision=float64", "model.architecture=cnn", *IMAGES]),
        (1e-10, ["precision=float64", *WRN, *IMAGES]),
        (1e-4, []),
    ],
)
def test_what_is_seen_is_what_steps_lead_to(tmp_path, monkeypatch, tolerance, words):
    """Outputs, weights, kernels, of the network and its linearization."""
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", None)
        own = store.read(compute(run(tmp_path / "own", *words))).rows
    monkeypatch.setattr(weight_space, "solves", lambda setup: False)
    literal = store.read(compute(run(tmp_path / "literal", *words))).rows
    both = own.merge(literal, on=KEYS, suffixes=("", "_literal"))
    assert {"network", "linearized"} <= set(both["model"])
    assert len(both) == len(own) == len(literal)
    assert np.abs(both["value"] - both["value_literal"]).max() < tolerance
    moved = both[both["quantity"] == "weight_change"].groupby("index")["value"].max()
    assert (moved > 0).tolist() == [False] * (len(moved) - 1) + [True]


@pytest.mark.parametrize(
    ("word", "solved"),
    [
        ("optimizer.momentum=0.9", True),
        ("optimizer.train=all", False),
        ("loss.name=xent", False),
        ("optimizer.batch=4", False),
        ("optimizer.name=adam", False),
        ("optimizer.layer_rates=S33", False),
    ],
)
def test_what_has_no_closed_form_takes_steps(word, solved):
    own = run("results", "data.targets=onehot", "linearized.space=weights", word)
    assert weight_space.solves(shapes(own)) == solved
    program = PROGRAMS[own.experiment.program]
    with numerics(own.experiment):
        steps = [call for call in program.calls(shapes(own)) if call.name.startswith("steps")]
    assert (steps == [], program.models(shapes(own)) == ()) == (solved, solved)


@pytest.mark.parametrize("word", ["optimizer.batch=null", "optimizer.batch=4000"])
def test_a_plan_on_fewer_examples_has_the_same_calls(word):
    """Which call of a run on `fewer` stands for one of this run is told by its name."""
    words = ["data.name=gaussian", "data.classes=[positive,negative]", "linearized.space=weights"]
    own = compose([*WORDS, *words, "data.train=8000", "log.kernel=false", word])
    program = PROGRAMS[own.experiment.program]
    with numerics(own.experiment):
        setup = shapes(own)
        few = shapes(Run.of(plan.fewer(setup, lambda count: 1)))
        names, fewer = ({call.name for call in program.calls(s)} for s in (setup, few))
    assert names - fewer == set()


def test_the_largest_part_of_a_wide_readout_s_memory_is_its_kernel():
    words = ["data.name=gaussian", "data.classes=[positive,negative]", "log.kernel=false"]
    own = run("results", *words, "data.train=8000", "model.width=8000", "model.depth=1")
    with numerics(own.experiment):
        most = memory.largest(PROGRAMS[own.experiment.program].needs(shapes(own)))
    assert (most.what, most.bytes) == ("the readout's kernel", 8 * 4 * 8000**2)


def test_a_run_that_was_cut_off_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    words = ["optimizer.steps=64", "optimizer.momentum=0.9", "checkpoint=0", "precision=float64"]
    whole = store.read(compute(run(tmp_path / "whole", *words))).rows
    cut, looks = run(tmp_path / "cut", *words), itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(signals, "asked", lambda: next(looks) > 5)
        patch.setitem(signals._state, "asked", signal.SIGTERM)
        with pytest.raises(SystemExit):
            compute(cut)
    with np.load(cut.beside("checkpoint")) as file:
        assert 0 < file["step"] < 64
    pd.testing.assert_frame_equal(store.read(compute(cut)).rows, whole, check_exact=True)


def test_a_readout_that_diverges_ends_the_run(tmp_path):
    told = "training diverged between step 0 and step 1: optimizer.lr=10000"
    with pytest.raises(RunFailed, match=told):
        compute(run(tmp_path, "optimizer.lr=1e4"))
