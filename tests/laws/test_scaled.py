"""alpha f at the rate lr / alpha^2: one linearization for every alpha, and the network nears it."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.networks.scaled import Scaled
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.records.tables import select, series
from ntkrepro.theory import readout
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import loop
from ntkrepro.training.recipe import Recipe, Task
from tests.laws.common import close, error, fc, omegas, problem, slope

MODEL = fc(k=2)
STEPS = [0, 1, 30]


@cache
def trajectories(alpha, few=False):
    """Outputs of both centred models on the train points [t, n, k]."""
    params0, x, y, _ = problem(MODEL)
    recipe = Recipe(Scaled(MODEL, alpha), few=few, centred=True)
    task = Task(params0, x, y, jnp.asarray(0.2 / alpha**2))
    applies = loop.applies(recipe, params0)
    found = omegas(recipe, task, STEPS, "network", "linearized")
    return {name: np.stack([f(o[name], x) for o in found]) for name, f in applies.items()}


def test_every_alpha_has_the_same_centred_linearization():
    lines = [trajectories(*which)["linearized"] for which in ((1.0,), (32.0, True))]
    assert not lines[0][0].any()
    assert error(*lines) < 1e-10


def test_the_distance_from_it_falls_as_one_over_alpha():
    """alpha f(theta_0 + omega) with omega ~ 1 / alpha: what is left of Eq. 6 is alpha omega^2."""
    alphas = [32.0, 1024.0]
    paths = [trajectories(alpha, True) for alpha in alphas]
    apart = [np.abs(path["network"] - path["linearized"])[-1].max() for path in paths]
    assert slope(alphas, apart) == pytest.approx(-1, abs=0.02)


def test_what_is_linear_in_the_outputs_is_alpha_times_and_kernels_its_square():
    params0, x, _, _ = problem(MODEL)
    scaled = Scaled(MODEL, 3.0)
    for kernel in (empirical.ntk, empirical.nngp):
        assert close(kernel(scaled, params0, x), 9 * kernel(MODEL, params0, x))
    for one, three in zip(*(readout.jacobian(m, params0, x) for m in (MODEL, scaled)), strict=True):
        assert close(3 * one, three)
    zeros = jax.tree.map(jnp.zeros_like, params0)
    f = [
        loop.applies(Recipe(m, centred=c), params0)["network"](zeros, x)
        for m, c in ((MODEL, False), (scaled, False), (scaled, True))
    ]
    assert close(3 * f[0], f[1])
    assert not f[2].any()


def test_maximal_updates_are_those_of_scale_one_over_root_width():
    """muP is Eq. 1's network at that scale, whose weights are n^1/2 as large, at its rate."""
    n, steps = MODEL.width, [0, 1, 4]
    models = MODEL.clone(parametrization="mup"), Scaled(MODEL, n**-0.5)
    found = []
    for model, rate in zip(models, (0.1, 0.1 * n), strict=True):
        params0, x, y, _ = problem(model)
        task, apply = Task(params0, x, y, jnp.asarray(rate)), loop.applies(Recipe(model), params0)
        path = omegas(Recipe(model), task, steps)
        found.append([apply["network"](omega["network"], x) for omega in path])
        norms = jnp.linalg.norm(params0["layer2"]["w"]) / n
        assert norms == pytest.approx(1 if rate > 1 else n**-0.5, rel=0.1)
    assert all(map(close, *found))
    assert error(found[0][-1], found[0][0]) > 0.1


WORDS = ("scale=smoke", "precision=float64", "model.width=8", "data.train=8", "data.test=4")
WORDS += (
    "model.activation=tanh",
    "model.depth=1",
    "log.kernel=false",
    "model.centred=true",
    "optimizer.steps=8",
    "log.points=4",
    "log.weights=0",
)


@pytest.mark.parametrize(
    "more", ["linearized.space=both optimizer.lr=0.2", "optimizer.train=readout"]
)
def test_a_run_at_another_alpha_predicts_the_same(more, tmp_path):
    """By every linearization that there is, at steps and times of its own."""
    words = [*WORDS, *more.split(), f"results={tmp_path}"]
    runs = [store.read(compute(compose([*words, f"model.scale={a}"]))) for a in (1, 4)]
    models = sorted(set(runs[0].rows["model"]) - {"network", "data"})
    assert "linearized" in models
    for model in models:
        outputs = [select(run, model, "output", "test")["value"] for run in runs]
        assert error(*outputs) < 1e-10
    assert runs[0].lr == 16 * runs[1].lr
    rmse = [series(run, "linearized", "rmse", "test")["value"].iloc[-1] for run in runs]
    assert rmse[1] < rmse[0] / 2 or max(rmse) < 1e-10  # a readout is its own linearization
