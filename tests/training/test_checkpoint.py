import itertools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ntkrepro import signals
from ntkrepro.config.compose import compose
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.training import checkpoint
from tests.conftest import TINY

ARRAYS = st.sampled_from(["float32", "int32", "bool"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
TREES = st.recursive(
    ARRAYS.map(jnp.asarray),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        | st.lists(inner, max_size=3)
        | st.tuples(inner, st.none())
    ),
    max_leaves=5,
)
SEEN = st.dictionaries(st.text("ab0/", min_size=1, max_size=5), ARRAYS, max_size=3)


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TREES, SEEN, st.integers(0, 10**6))
def test_what_is_saved_is_loaded_to_the_bit(tmp_path, states, seen, step):
    checkpoint.save(tmp_path / "a", "run", step, states, seen)
    now, loaded, stored = checkpoint.load(
        tmp_path / "a", "run", jax.tree.map(jnp.zeros_like, states)
    )
    assert now == step
    assert jax.tree.structure(loaded) == jax.tree.structure(states)
    assert jax.tree.all(jax.tree.map(same, loaded, states))
    assert stored.keys() == seen.keys()
    assert all(same(stored[key], seen[key]) for key in seen)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[50:]])
def test_without_a_whole_checkpoint_of_its_own_a_run_starts_afresh(tmp_path, damage):
    path, fresh = tmp_path / "checkpoint", {"w": jnp.ones(3)}

    def starts_afresh(name):
        step, states, seen = checkpoint.load(path, name, fresh)
        return (step, seen) == (0, {}) and states is fresh

    assert starts_afresh("run")
    checkpoint.save(path, "run", 7, fresh, {"loss": np.ones(2)})
    assert starts_afresh("another")
    assert not starts_afresh("run")
    path.write_bytes(damage(path.read_bytes()))
    assert starts_afresh("run")


@pytest.mark.parametrize(
    "other", [{"w": jnp.ones(4)}, {"w": jnp.ones(3, int)}, {"w": jnp.ones(3), "b": jnp.ones(1)}]
)
def test_a_checkpoint_of_other_arrays_is_told_and_the_run_starts_over(tmp_path, capsys, other):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, "run", 7, {"w": jnp.ones(3)}, {})
    assert checkpoint.load(path, "run", other) == (0, other, {})
    told = capsys.readouterr().err
    assert told == f"warning: {path}: it is another version's; the run starts over\n"


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_checkpoint_changes_no_bit_of_the_record(tmp_path, place, monkeypatch, capsys):
    """Of a run that was cut off; one line tells that it starts over."""
    words = [*TINY, "optimizer.steps=8", "checkpoint=0"]
    whole = store.read(compute(compose([*words, f"results={tmp_path}/whole"]))).rows
    run = compose([*words, f"results={tmp_path}/cut"])
    with monkeypatch.context() as patch:
        asked = itertools.chain([False] * 5, itertools.repeat(True))
        patch.setattr(signals, "asked", lambda: next(asked))
        patch.setitem(signals._state, "asked", signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            compute(run)
    assert end.value.code == 143
    path = run.beside("checkpoint")
    with np.load(path) as file:
        assert 0 < file["step"] < 8
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged))] ^= 4
    path.write_bytes(damaged)
    pd.testing.assert_frame_equal(store.read(compute(run)).rows, whole, check_exact=True)
    assert capsys.readouterr().err.count(f"{path}: it is damaged; the run starts over") == 1
    assert not path.exists()


def test_where_no_checkpoint_can_be_written_training_goes_on_and_says_so_once(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "taken").touch()
    keep = checkpoint.keeper(tmp_path / "taken" / "a", 0, "run", dict)
    keep(1, {"w": jnp.ones(3)})
    keep(2, {"w": jnp.ones(3)})
    told = capsys.readouterr().err
    assert told.count("\n") == told.count("training goes on") == 1
    assert f"can't write {tmp_path}/taken/a" in told
    monkeypatch.setitem(signals._state, "asked", signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        keep(3, {"w": jnp.ones(3)})
    assert end.value.code == 143
