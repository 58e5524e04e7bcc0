import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ntkrepro.training import checkpoint

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
