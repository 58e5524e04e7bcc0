"""Outputs measured on train and test points at once."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.training import measure

TRAIN, TEST = jnp.arange(1.0, 6.0)[:, None], jnp.arange(6.0, 9.0)[:, None]


@pytest.mark.parametrize(
    ("size", "apart", "batches"),
    [
        (None, False, [8]),
        (4, False, [4, 4]),  # one of them holds points of both
        (None, True, [5, 3]),
        (4, True, [4, 1, 3]),
    ],
)
def test_outputs_are_those_of_each_point_in_the_batches_that_were_asked_for(size, apart, batches):
    seen = []

    def square(x):
        seen.append(len(x))
        return x**2

    train, test = measure.outputs(square, (TRAIN, TEST), size, apart)
    np.testing.assert_array_equal(train, TRAIN**2)
    np.testing.assert_array_equal(test, TEST**2)
    assert seen == batches


def test_norms_are_of_all_parameters_and_of_the_kernel_and_infinite_where_it_is_not_finite():
    start = {"ntk": jnp.diag(jnp.array([1.0, 2.0])).reshape(2, 1, 2, 1)}
    now = {"ntk": jnp.array([[4.0, 0.0], [4.0, 2.0]]).reshape(2, 1, 2, 1)}
    omega = {"layer1": {"w": jnp.array([[1.0, -2.0]]), "b": jnp.array([2.0])}, "readout": 4.0}
    moved, change, _ = measure.norms(omega, now, start)
    assert (moved, change) == (5.0, 5.0)
    symmetric = {"ntk": jnp.array([[1.0, 3.0], [3.0, 1.0]]).reshape(2, 1, 2, 1)}
    assert measure.norms(omega, symmetric, start)[2] == pytest.approx(4.0)
    lost = {"ntk": now["ntk"].at[0, 0, 0, 0].set(jnp.nan)}
    assert measure.norms(omega, lost, start)[2] == np.inf
