"""How the tangent kernel behaves: each quantity against its formula."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrepro
from ntkrepro.config.compose import compose
from ntkrepro.networks import functions
from ntkrepro.programs import weight_space
from ntkrepro.programs.run import compute
from ntkrepro.programs.setup import prepare
from ntkrepro.records import store
from ntkrepro.records.tables import series, table
from ntkrepro.training import behaviour, checkpoint

STEPS = (0, 1, 4, 16)
SETTINGS = (
    *("scale=smoke", "data.classes=[1,3,8]", "data.targets=onehot", "data.train=7", "data.test=3"),
    *("data.subspace=false", "linearized.space=none", "model.width=8", "model.depth=1"),
    *("linearized.analytic=false", "optimizer.steps=16", "log.points=3", "precision=float64"),
    *("optimizer.lr=2", "log.behaviour=true", "log.examples=false"),
)


def kernels_by_hand():
    """Theta_t [t, nk, nk] by gradient descent and Jacobians of our own, and y [nk]."""
    with jax.enable_x64(True):
        setup = prepare(compose(SETTINGS))
        y = setup.dataset.y_train

        def f(params):
            return functions.apply(setup.model, params, setup.x_train)

        jacobian = jax.jit(jax.jacobian(f))
        descend = jax.jit(jax.grad(lambda params: 0.5 * ((f(params) - y) ** 2).mean()))
        params, found = setup.params0, []
        for step in range(STEPS[-1] + 1):
            if step in STEPS:
                rows = [leaf.reshape(y.size, -1) for leaf in jax.tree.leaves(jacobian(params))]
                found.append(np.concatenate(rows, 1) @ np.concatenate(rows, 1).T)
            params = jax.tree.map(lambda p, g: p - 2 * g, params, descend(params))
    return np.array(found), y.ravel()


@pytest.fixture(scope="module")
def kernels():
    return kernels_by_hand()


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    results = tmp_path_factory.mktemp("behaviour")
    return store.read(compute(compose([*SETTINGS, f"results={results}"])))


def logged(record, quantity):
    line = series(record, "network", quantity, "train")
    return line["step"].tolist(), line["value"].to_numpy()


def norm(kernel):
    return np.sqrt((kernel**2).sum())


def test_alignment_with_the_targets(record, kernels):
    theta, y = kernels
    steps, found = logged(record, "ntk_alignment")
    assert steps == list(STEPS)
    assert np.allclose(found, [y @ k @ y / (norm(k) * (y @ y)) for k in theta], rtol=1e-9)
    assert np.ptp(found) > 1e-3


def test_cka_with_the_kernel_at_the_start(record, kernels):
    theta, _ = kernels
    h = np.kron(np.eye(7) - 1 / 7, np.eye(3))
    centred = [h @ k @ h for k in theta]
    by_hand = [(c * centred[0]).sum() / (norm(c) * norm(centred[0])) for c in centred]
    steps, found = logged(record, "ntk_cka")
    assert steps == list(STEPS)
    assert np.allclose(found, by_hand, rtol=1e-9)
    assert found[0] == pytest.approx(1)
    assert found[-1] < 0.999


def test_velocity_between_logged_steps(record, kernels):
    theta, _ = kernels
    steps, found = logged(record, "ntk_velocity")
    assert steps == [4, 16]  # the logarithm of time begins at step 1
    cosines = [(a * b).sum() / (norm(a) * norm(b)) for a, b in pairwise(theta)]
    assert np.allclose(found, (1 - np.array(cosines[1:])) / np.log(4), rtol=1e-5)
    assert (found > 1e-5).all()


def test_spectrum_condition_and_effective_rank(record, kernels):
    values = [np.linalg.eigvalsh(k)[::-1] for k in kernels[0]]
    top = table(record, "network", "ntk_eigenvalue", "train").to_numpy()
    assert np.allclose(top, [v[: behaviour.TOP] for v in values], rtol=1e-8)
    assert top.shape == (4, 10)
    assert np.allclose(
        logged(record, "ntk_condition")[1], [v[0] / v[-1] for v in values], rtol=1e-6
    )
    shares = [v / v.sum() for v in values]
    ranks = [np.exp(-(p * np.log(p)).sum()) for p in shares]
    assert np.allclose(logged(record, "ntk_effective_rank")[1], ranks, rtol=1e-8)


def test_what_is_not_defined_is_no_number():
    """Twice the same input: the smallest eigenvalue is rounding; one example: nothing to centre."""
    j = np.random.default_rng(0).normal(size=(4, 9))
    j[1] = j[0]
    kernel = (j @ j.T).reshape(4, 1, 4, 1)
    y = np.ones((4, 1))
    found, values = behaviour.seen(kernel, kernel, None, np.inf, y)
    assert np.isnan(found[2:4]).all()
    assert np.isfinite(found[[0, 1, 4]]).all()
    assert len(values) == 4
    assert 1 < found[4] < 3
    assert np.isnan(behaviour.cka(kernel[:1, :, :1], kernel[:1, :, :1]))
    assert np.isnan(behaviour.velocity(kernel, 0 * kernel, 1.0))
    with np.errstate(invalid="ignore"):
        gone = behaviour.seen(np.full_like(kernel, np.inf), kernel, kernel, 1.0, y)
    assert np.isnan(gone[0]).all()
    assert np.isnan(gone[1]).all()
    assert behaviour.velocity(kernel, 3 * kernel, 1.0) < 1e-30
    assert behaviour.effective_rank(np.ones(5)) == pytest.approx(5)


def test_a_run_that_was_cut_off_has_the_same_velocities(record, tmp_path, monkeypatch):
    """The kernel of the logged step before is in the checkpoint."""
    words = [*SETTINGS, f"results={tmp_path}", "checkpoint=0"]
    whole = weight_space.observe_all
    monkeypatch.setattr(checkpoint, "SHARE", np.inf)

    def cut(recipe, setup, reached, *rest):
        if reached.step == 16:
            raise KeyboardInterrupt
        return whole(recipe, setup, reached, *rest)

    monkeypatch.setattr(weight_space, "observe_all", cut)
    with pytest.raises(KeyboardInterrupt):
        compute(compose(words))
    asked = []

    def counted(recipe, setup, reached, *rest):
        asked.append(reached.step)
        return whole(recipe, setup, reached, *rest)

    monkeypatch.setattr(weight_space, "observe_all", counted)
    again = store.read(compute(compose(words)))
    assert asked[0] > STEPS[1]
    assert again.rows.equals(record.rows)


def test_a_network_in_memory_has_them_too():
    """Of 6 examples and 5 parameters: the smallest eigenvalue is 0, and there is no condition."""
    rng = np.random.default_rng(0)
    params0 = [rng.normal(size=(4, 1)), rng.normal(size=(1, 1))]
    x, keys = rng.normal(size=(9, 4)), {"log.kernel": True, "log.behaviour": True}
    compared = ntkrepro.compare(
        lambda params, x: jnp.tanh(x @ params[0]) @ params[1],
        (x[:6], x[:6, 0], x[6:], x[6:, 0]),
        params0=params0,
        steps=4,
        keys={**keys, "log.points": 3, "log.weights": 0},
    )
    quantities = set(compared.frame["quantity"])
    assert {*behaviour.NAMES, "ntk_eigenvalue", "r2"} - quantities == {"ntk_condition"}
