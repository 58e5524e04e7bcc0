import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.config.compose import compose
from ntkrepro.config.schema import Log, Optimizer
from ntkrepro.errors import UserError
from ntkrepro.programs.setup import log_steps, prepare
from tests.own import ARRAYS, PIXELS, npz, words


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**5), st.integers(0, 70), st.lists(st.integers(0, 2 * 10**5), max_size=5))
def test_log_steps_are_sorted_with_both_ends_and_what_is_asked_for(last, points, asked):
    steps = log_steps(Optimizer(steps=last), Log(points=points, steps=asked))
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, last)
    assert {step for step in asked if step <= last} <= set(steps)
    assert len(steps) <= points + 2 + len(set(asked))


def test_log_steps_are_spaced_by_factors():
    steps = log_steps(Optimizer(steps=1024), Log(points=11))
    assert steps == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_convolutions_of_what_are_no_images_are_refused(here):
    np.savez("own.npz", **{**ARRAYS, "x_train": PIXELS[:40, 0], "x_test": PIXELS[40:, 0]})
    cnn = npz("model.architecture=cnn", "data.subspace=false", "data.train=9", "data.test=9")
    with pytest.raises(UserError, match=r"data\.name=npz: inputs are \[4, 1\].*cnn needs images"):
        prepare(compose(cnn))


def test_a_seed_that_draws_nothing_is_refused(here):
    """Else one run counted as many, and their interval had no width."""
    fixed, drawn = words("Start", *npz("seed=1")), words("Pair", *npz("seed=1"))
    with pytest.raises(UserError, match="seed=1: must be 0, as the network starts at the same par"):
        prepare(compose(fixed))
    assert prepare(compose([*fixed, "optimizer.batch=8"])).schedule is not None
    assert prepare(compose([*fixed, "seed=0"])).params0
    assert prepare(compose(drawn)).params0
