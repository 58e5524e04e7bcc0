from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.data import inputs
from ntkrepro.theory.linearize import factors_of
from ntkrepro.training import batches, loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws.common import EXACT, close, error, fc, network, omegas, problem
from tests.oracles import oracle, oracle_params


def setup(model, lr=0.1, schedule=None, **options):
    params0, x, y, _ = problem(model)
    task = Task(params0, x, y, jnp.asarray(lr), schedule)
    return Recipe(model, **options), task


def test_a_step_is_gradient_descent_on_the_loss():
    model = fc(k=2)
    recipe, task = setup(model, lr=0.1, loss_scale=3.0)
    gradient = jax.grad(lambda p: 1.5 * jnp.mean((network(model)(p, task.x) - task.y) ** 2))(
        task.params0
    )
    expected = jax.tree.map(lambda g: -0.1 * g, gradient)
    assert close(omegas(recipe, task, [0, 1])[-1]["network"], expected)


def test_updates_below_half_an_ulp_of_theta_are_not_lost():
    """10,000 float32 steps, each of which theta ~ 1 alone would swallow, move as one of float64."""
    model = fc(depth=1)
    params0, x, y, _ = problem(model, dtype=jnp.float32)
    task = Task(params0, x, y, jnp.asarray(1e-9, jnp.float32))
    small = omegas(Recipe(model), task, [10_000])[-1]["network"]
    params0, x, y = jax.tree.map(lambda a: a.astype(jnp.float64), (params0, x, y))
    task = Task(params0, x, y, jnp.asarray(1e-5))
    assert close(small, omegas(Recipe(model), task, [1])[-1]["network"], 1e-3)


def test_where_the_log_steps_lie_changes_no_bit():
    recipe, task = setup(fc(), momentum=0.9)
    coarse, fine = (
        omegas(recipe, task, [0, 64]),
        omegas(recipe, task, [0, 1, 5, 40, 63, 64]),
    )
    same = jax.tree.map(lambda a, b: bool((a == b).all()), coarse[-1], fine[-1])
    assert all(jax.tree.leaves(same))


def test_both_models_see_the_same_batches():
    """A network that is linear in its parameters is its own linearization, batch by batch."""
    model = fc(depth=1, activation="identity", b_var=0.0)
    schedule = jnp.asarray(batches.batch_schedule(0, 9, 4, 30))
    recipe, task = setup(model, lr=1e-9, schedule=schedule, momentum=0.9)
    last = omegas(recipe, task, [0, 30], "network", "linearized")[-1]
    assert close(*last.values(), 1e-6)  # second order in the displacement of 1e-9


def test_a_schedule_is_epochs_without_replacement():
    schedule = batches.batch_schedule(3, n=10, batch=3, steps=7)
    assert schedule.shape == (7, 3)
    for epoch in (schedule[:3], schedule[3:6]):
        assert len(set(epoch.ravel())) == 9
    assert (schedule[:3] != schedule[3:6]).any()
    assert (schedule == batches.batch_schedule(3, 10, 3, 7)).all()
    assert (schedule != batches.batch_schedule(4, 10, 3, 7)).any()
    assert batches.batch_schedule(3, 10, 3, 0).shape == (0, 3)
    assert batches.batch_schedule(3, 10, None, 7) is None


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_training_in_the_input_subspace_is_training(parametrization):
    """X = R Q^T: W on X and Q^T W on R give the same outputs at every step."""
    rng, wide = np.random.default_rng(0), 60
    x, x_test = rng.standard_normal((9, wide)), rng.standard_normal((5, wide))
    r, r_test = inputs.subspace(x, x_test)
    assert r.shape == (9, 14)
    q = np.linalg.lstsq(np.concatenate([r, r_test]), np.concatenate([x, x_test]), rcond=None)[0].T
    assert error(q.T @ q, np.eye(14)) < EXACT
    model = fc(depth=2, parametrization=parametrization, n0=wide)
    params0, _, y, _ = problem(model, d=wide)
    reduced0 = {**params0, "layer1": {**params0["layer1"], "w": q.T @ params0["layer1"]["w"]}}
    outputs = []
    for start, seen, points in ((params0, x, x_test), (reduced0, r, r_test)):
        lr = 0.5 if parametrization == "ntk" else 0.5 / model.width
        task = Task(start, jnp.asarray(seen), y, jnp.asarray(lr))
        runs = omegas(Recipe(model), task, [0, 1, 10, 100])
        thetas = [loop.add(start, omega["network"]) for omega in runs]
        outputs.append(np.stack([network(model)(theta, points) for theta in thetas]))
    assert np.abs(outputs[0][-1] - outputs[0][0]).max() > 0.1
    assert error(outputs[0], outputs[1]) < EXACT


def test_the_subspace_s_other_weights_never_move():
    """|W_t - W_0| of the first layer is that of Q^T W: nothing of it is lost."""
    rng, wide = np.random.default_rng(0), 60
    x, x_test = rng.standard_normal((9, wide)), rng.standard_normal((5, wide))
    model = fc(n0=wide)
    params0, _, y, _ = problem(model, d=wide)
    task = Task(params0, jnp.asarray(x), y, jnp.asarray(0.5))
    moved = omegas(Recipe(model), task, [0, 50])[-1]["network"]["layer1"]["w"]
    q = np.linalg.qr(np.concatenate([x, x_test]).T)[0]
    assert np.linalg.norm(q.T @ moved) == pytest.approx(np.linalg.norm(moved), rel=EXACT)


def test_reference_values_of_momentum_training():
    """Network and linearized network in weight space, momentum 0.9, from the paper's library."""
    v = oracle("empirical_fc_ntk.npz")
    model = fc(k=3, width=12, activation="relu").clone(w_var=2.0)
    params0 = oracle_params(v)
    task = Task(params0, jnp.asarray(v["x1"]), jnp.asarray(v["y1"]), jnp.asarray(0.05))
    steps = list(range(31))
    ways = product((False, True), (None, factors_of(model, params0, task.x)))
    for few, factors in ways:
        recipe = Recipe(model, momentum=0.9, few=few)
        task = task._replace(factors=factors)
        runs = omegas(recipe, task, steps, "network", "linearized")
        for name, stored in (("network", "net"), ("linearized", "lin")):
            apply = loop.applies(recipe, params0)[name]
            f2 = np.stack([apply(p[name], jnp.asarray(v["x2"])) for p in runs])
            assert error(f2, v[f"ws_{stored}_f2"]) < 1e-9
