"""The program `drawn_ensemble`: members without weights are like those that have them."""

import numpy as np
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.errors import UserError
from ntkrepro.programs import drawn_ensemble, ensemble
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.records.tables import select, table

SMALL = ("data.points=6", "data.train=6", "data.test=1", "model.depth=2", "precision=float64")
SMALL += ("optimizer.steps=60", "log.points=0", "log.steps=[5]", "model.activation=tanh")
MEMBERS = 600


def computed(tmp_path, program, *words):
    words = [f"program={program}", *SMALL, f"results={tmp_path}/{program}", *words]
    return store.read(compute(compose(words)))


def moments(record):
    """Mean and std [2, t, points] of `network`."""
    found = [table(record, "network", name, "path") for name in ("mean", "std")]
    if found[0].size:
        return np.stack([part.to_numpy() for part in found])
    f = table(record, "network", "output", "path").to_numpy().reshape(3, -1, 6)
    return np.stack([f.mean(1), f.std(1, ddof=1)])


def test_readouts_have_the_moments_of_networks_with_weights(tmp_path):
    """Exactly the same ensemble, at width 8; 2 x 600 members, 36 numbers, each within 4.5 standard
    errors, those of normal outputs and half as much again for their tails: a chance of 1e-3 at
    most. Where the process's kernel is in place of each member's own, it is 20."""
    words = ("optimizer.train=readout", "model.width=8", f"samples={MEMBERS}")
    drawn, real = (
        moments(computed(tmp_path, program, *words, f"seed={seed}"))
        for seed, program in ((0, "drawn_ensemble"), (MEMBERS, "ensemble"))
    )
    error = 1.5 * real[1] * np.sqrt([[[2 / MEMBERS]], [[1 / MEMBERS]]])
    assert (np.abs(drawn - real) < 4.5 * error).all()


def test_wide_networks_are_their_own_linearization(tmp_path):
    """All layers are trained, at width 1024: the mean over members of the train loss."""
    words = ("model.width=1024", "samples=24", "optimizer.lr=0.5")
    drawn, real = (
        select(computed(tmp_path, program, *words), "network", "loss", "train")["value"].to_numpy()
        for program in ("drawn_ensemble", "ensemble")
    )
    assert drawn == pytest.approx(real, rel=0.25)
    assert drawn[-1] < 0.05 * drawn[0]


def test_a_run_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    words = ("model.width=16", "samples=8")
    whole = moments(computed(tmp_path / "whole", "drawn_ensemble", *words))
    monkeypatch.setattr(drawn_ensemble, "BLOCK", 3)
    real, calls = drawn_ensemble.draw_block, []

    def dies(setup, critical, first, *args):
        calls.append(first)
        if calls == [0, 3]:
            raise KeyboardInterrupt
        return real(setup, critical, first, *args)

    monkeypatch.setattr(drawn_ensemble, "draw_block", dies)
    with pytest.raises(KeyboardInterrupt):
        computed(tmp_path / "cut", "drawn_ensemble", *words)
    found = moments(computed(tmp_path / "cut", "drawn_ensemble", *words))
    assert np.abs(found - whole).max() < 1e-12
    assert calls == [0, 3, 3, 6]


def test_noise_is_of_95_in_100_ensembles_of_the_process(tmp_path):
    """2,000 ensembles of 30 that are drawn from it by another generator, followed over all steps:
    within 1.5 points, three standard errors."""
    record = computed(tmp_path, "drawn_ensemble", "samples=30", "model.width=8")
    run = compose([f"results={tmp_path}", "program=drawn_ensemble", *SMALL, "samples=30"])
    with ensemble.jax.enable_x64(True):
        own = ensemble.prepare(run)
        found = ensemble.processes(own, *ensemble.analytic_blocks(own))
    pair = found["ntk_analytic"], found["nngp"]
    apart = ensemble.distance(pair[0].mean, pair[0].std, (pair[1].mean, pair[1].std))[1:]
    rng = np.random.default_rng(1)
    for name, process in zip(("ntk_analytic", "nngp"), pair, strict=True):
        prior, later = select(record, name, "noise", "path")["value"]
        z = rng.standard_normal((2000, 30, process.of.root.shape[-1]))
        f = process.mean + np.einsum("tmp,rcp->rctm", process.of.root, z)
        mean, std = f.mean(1), f.std(1, ddof=1)
        off = ensemble.distance(mean, std, (process.mean, process.std))[:, 1:] / apart
        assert (off.max(1) < later).mean() == pytest.approx(0.95, abs=0.015)
        off = np.abs(std[:, 0] / process.std[0] - 1).max(1)
        assert (off < prior).mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("samples=1", "samples=1: must be at least 2 with program=drawn_ensemble"),
        ("data.points=0", "data.points=0: must be at least 2 with program=drawn_ensemble"),
        ("optimizer.solver=leaps", "optimizer.solver=leaps: must be steps, or left out"),
    ],
)
def test_what_it_cannot_be_is_refused(override, told):
    with pytest.raises(UserError, match=told):
        compose(["program=drawn_ensemble", *SMALL, "samples=3", override])
