"""Other optimizers, layer rates, weight decay and augmentation: the same for both models."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntkrepro.networks import functions
from ntkrepro.training import batches, loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws.common import close, error, fc, network, omegas, problem

LINEAR = {"depth": 1, "activation": "identity", "b_var": 0.0}


def displacement(recipe, task, steps, name="network"):
    return omegas(recipe, task, [steps], name)[0][name]


@pytest.mark.parametrize(
    ("options", "transform"),
    [
        ({"optimizer": "adam"}, optax.adam(0.01)),
        ({"optimizer": "adam", "weight_decay": 0.1}, optax.adamw(0.01, weight_decay=0.1)),
        (
            {"momentum": 0.9, "weight_decay": 0.1},
            optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.01, 0.9)),
        ),
    ],
)
def test_the_network_trains_as_by_optax_on_its_parameters(options, transform):
    model = fc(k=2)
    params, x, y, _ = problem(model)
    task = Task(params, x, y, jnp.asarray(0.01))
    moved = displacement(Recipe(model, **options), task, 20)
    memory, theta = transform.init(params), params
    for _ in range(20):
        g = jax.grad(lambda p: 0.5 * jnp.mean((network(model)(p, x) - y) ** 2))(theta)
        change, memory = transform.update(g, memory, theta)
        theta = optax.apply_updates(theta, change)
    assert close(loop.add(params, moved), theta)


@pytest.mark.parametrize(
    "options", [{"optimizer": "adam"}, {"weight_decay": 0.1}, {"image": (3, 3, 1)}]
)
def test_a_linear_network_and_its_linearization_move_alike(options):
    """Same optimizer, same decay, same augmented images; second order in a displacement of 1e-9."""
    model = fc(**LINEAR)
    params0, x, y, _ = problem(model, d=9)
    task = Task(params0, x, y, jnp.asarray(1e-9), key=jax.random.key(0))
    recipe = Recipe(model, **options)
    pair = [displacement(recipe, task, 30, name) for name in ("network", "linearized")]
    assert close(*pair, tolerance=1e-6)


def test_layer_rates_make_an_ntk_network_train_like_the_standard_one():
    """Eq. S33: W = sigma_w / sqrt(n_l) omega throughout, and equal outputs."""
    pair = [fc(k=2, parametrization=p, n0=20) for p in ("ntk", "standard")]
    outputs = []
    for model in pair:
        params0, x, y, x_test = problem(model)
        rates = functions.layer_rates(model, params0, x) if model.parametrization == "ntk" else None
        task = Task(params0, x, y, jnp.asarray(0.5 / 24), rates=rates)
        moved = displacement(Recipe(model, momentum=0.9), task, 200)
        outputs.append(network(model)(loop.add(params0, moved), x_test))
        start = network(model)(params0, x_test)
        assert np.abs(outputs[-1] - start).max() > 0.1
    assert error(*outputs) < 1e-8


def test_augmentation_flips_and_shifts_on_zeros():
    images = jnp.arange(1.0, 129.0).reshape(2, 8, 8, 1) * jnp.ones((200, 1, 1, 1, 1))
    images = images.reshape(400, 8, 8, 1)
    out = np.asarray(batches.augment(jax.random.key(0), images))
    assert out.shape == images.shape
    seen = set()
    for before, after in zip(np.asarray(images), out, strict=True):
        padded = [np.pad(a[..., 0], 1) for a in (before, before[:, ::-1])]
        fits = [
            (flip, i, j)
            for flip in range(2)
            for i in range(3)
            for j in range(3)
            if (padded[flip][i : i + 8, j : j + 8] == after[..., 0]).all()
        ]
        assert len(fits) == 1
        seen |= set(fits)
    assert len(seen) == 18


def test_every_step_draws_other_images_from_the_seed():
    model = fc(**LINEAR)
    params0, x, y, _ = problem(model, d=64)
    recipe = Recipe(model, image=(8, 8, 1))
    task = Task(params0, x, y, jnp.asarray(0.1), key=jax.random.key(3))
    first, again, second = (batches.batch_at(recipe, task, jnp.asarray(i))[0] for i in (0, 0, 1))
    assert (first == again).all()
    assert (first != second).any()
