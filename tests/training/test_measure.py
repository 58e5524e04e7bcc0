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
