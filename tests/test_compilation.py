"""Programs compiled with options of our own, wherever they are called from."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from ntkrepro.compilation import OPTIONS, is_known, jit


@pytest.fixture
def traces():
    return []


@pytest.fixture
def power(traces):
    @partial(jit, static_argnames="n")
    def power(x, n):
        traces.append(n)
        return x**n

    return power


def test_it_compiles_once_for_a_shape_and_a_static_argument(power, traces):
    assert [float(power(jnp.float32(x), n)) for x, n in ((2, 3), (3, 3), (3, 2))] == [8, 27, 9]
    assert traces == [3, 2]


@pytest.mark.parametrize(
    "transform", [jax.grad, jax.jit, lambda f: lambda x: jax.vmap(f)(x[None])[0]]
)
def test_it_may_stand_within_another_transformation(power, transform):
    x = jnp.float32(3)
    expected = {jax.grad: 6}.get(transform, 9)
    assert float(transform(partial(power, n=2))(x)) == expected


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of a CPU")
def test_the_locked_xla_has_every_option_and_an_unknown_one_is_left_out():
    assert all(is_known(name, values[0]) for name, values in OPTIONS.items())
    assert not is_known("xla_backend_optimization_levels", "1")
