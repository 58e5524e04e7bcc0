"""Outputs measured on train and test points at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.networks import functions
from ntkrepro.networks.scaled import Scaled
from ntkrepro.training import measure
from tests.laws.common import fc

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


def test_coordinates_are_the_sizes_of_layers_outputs_and_of_what_is_added_to_them():
    model = Scaled(fc(depth=2, width=6, k=2), 3.0)
    x = jax.random.normal(jax.random.key(2), (5, 4))
    start, params = (functions.init(model, jax.random.key(seed), x) for seed in (0, 1))
    h = []
    for theta in (start, params):
        first = theta["layer1"]
        one = x @ first["w"] * (1.5 / 4) ** 0.5 + 0.1**0.5 * first["b"]
        f = functions.apply(model, theta, x)
        h.append((one, f))
    found = measure.coordinates(model, start, params, x)
    assert found.shape == (2, 3)
    for layer, (before, now) in ((0, (h[0][0], h[1][0])), (-1, (h[0][1], h[1][1]))):
        expected = [float(jnp.sqrt(jnp.mean(part**2))) for part in (now, now - before)]
        np.testing.assert_allclose(found[:, layer], expected, rtol=1e-5)
