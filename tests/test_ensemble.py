"""The program `ensemble`: its members, blocks, readout training, and claims 3a-3d."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro import (
    config,
    data,
    ensemble,
    experiment,
    footprint,
    models,
    predict,
    processes,
    records,
    train,
)
from ntkrepro.claims import FAILED, REPRODUCED, select
from ntkrepro.errors import UserError
from ntkrepro.setup import prepare

DIGITS = ("program=ensemble", "data.points=11", "data.train=12", "model.width=16", "model.depth=2")
SMALL = (*DIGITS, "samples=5", "optimizer.steps=8", "log.points=0", "log.steps=[3]", "seed=2")


def compose(tmp_path, *overrides):
    return config.compose([*SMALL, f"results={tmp_path}", *overrides])


def run(chosen, said=None):
    said = [] if said is None else said
    return processes.path(records.read(experiment.run(chosen, said.append)))


def alone(chosen, seed):
    """Outputs [t, points] of the network of a seed, trained by itself."""
    own = prepare(config.compose([*SMALL, f"seed={seed}"]))
    task = train.Task(own.params0, own.x_train, own.dataset.y_train, jnp.float32(0.1))
    runs = train.run(train.Program(own.model), task, ("network",), [0, 3, 8])
    return np.stack(
        [
            models.apply(own.model, train.add(own.params0, omega["network"]), own.x_test)[:, 0]
            for _, omega in runs
        ]
    )


def test_members_are_the_networks_of_their_seeds(tmp_path):
    seen = run(compose(tmp_path))
    assert list(seen.steps) == [0, 3, 8]
    assert seen.networks.shape == (3, 5, 11)
    for member in (0, 4):
        assert np.abs(seen.networks[:, member] - alone(compose(tmp_path), 2 + member)).max() < 1e-5


def test_the_path_leads_from_one_class_to_the_other_on_a_sphere():
    images = config.Data(classes=["3", "8"], targets=config.Targets.signs, train=12, points=11)
    images.subspace = False
    dataset = data.load(images)
    at = data.alphas(11)
    assert (at[0], at[-1]) == (-2, 3)
    (start,), (end,) = (dataset.x_test[at == a] for a in (0.0, 1.0))
    first, other = (dataset.x_train[dataset.y_train[:, 0] == y][0] for y in (1, -1))
    assert np.allclose(start, first)
    assert np.allclose(end, other)
    assert np.allclose((dataset.x_test**2).sum(1), 64)
    turned = data.load(config.Data(**{**vars(images), "subspace": True}))
    assert turned.x_train.shape[1] <= 12  # the path adds no direction
    gram = dataset.x_test @ dataset.x_train.T
    assert np.allclose(turned.x_test @ turned.x_train.T, gram)


def test_blocks_are_kept_and_a_run_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    """The same members whatever the block, and a finished block is not computed again."""
    whole = run(compose(tmp_path / "whole")).networks
    chosen = compose(tmp_path / "cut")
    each = 4 * sum(leaf.nbytes for leaf in jax.tree.leaves(prepare(chosen).params0))
    monkeypatch.setattr(footprint, "CACHES", {jax.default_backend(): 2 * each})
    real, calls = ensemble.train_block, []

    def dies(setup, first, last, path, tick):
        calls.append(first)
        if first == 4:
            raise KeyboardInterrupt
        return real(setup, first, last, path, tick)

    monkeypatch.setattr(ensemble, "train_block", dies)
    with pytest.raises(KeyboardInterrupt):
        run(chosen)
    assert sorted(p.name for p in ensemble.folder(chosen).iterdir()) == ["0-2.npy", "2-4.npy"]
    monkeypatch.setattr(ensemble, "train_block", real)
    said = []
    assert np.abs(run(chosen, said).networks - whole).max() < 1e-5
    assert said == ["members 0 to 1 are there already", "members 2 to 3 are there already"]
    assert not ensemble.folder(chosen).exists()
    assert calls == [0, 2, 4]


def test_training_the_readout_is_the_nngp_kernel_s_dynamics(tmp_path):
    """Finite width: f_0 - K(x, X) phi_t(K) (f_0(X) - y) under the empirical K (Eq. S28)."""
    chosen = compose(tmp_path, "optimizer.train=readout", "precision=float64", "samples=1")
    seen = run(chosen)
    with jax.enable_x64(True):
        own = prepare(chosen)
        kernels = [
            ensemble.function_space.empirical.nngp(own.model, own.params0, x, own.x_train)
            for x in (own.x_train, own.x_test)
        ]
        f, f_test = (models.apply(own.model, own.params0, x) for x in (own.x_train, own.x_test))
    k, k_test = map(np.asarray, kernels)
    residual = np.asarray(f) - own.dataset.y_train
    c = predict.coefficients(predict.spectrum(k), residual, seen.steps, 0.1 * own.rate)
    expected = predict.outputs(f_test, k_test, c)[..., 0]
    assert np.abs(seen.networks[:, 0] - expected).max() < 1e-10
    assert np.abs(expected[-1] - expected[0]).max() > 0.1


@pytest.mark.slow
def test_members_on_several_devices_are_those_on_one(tmp_path):
    code = (
        "import sys, jax; from ntkrepro import config, experiment;"
        "print(len(jax.devices()), experiment.run(config.compose(sys.argv[1:])))"
    )
    seen = []
    for devices in (1, 4):
        words = [*SMALL, "samples=8", f"results={tmp_path}/{devices}"]
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=os.environ | flags,
            capture_output=True,
            text=True,
            check=True,
        )
        count, path = done.stdout.split()
        assert int(count) == devices
        seen.append(processes.path(records.read(tmp_path / path)).networks)
    assert np.abs(seen[0] - seen[1]).max() < 1e-5


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.points=0", "data.points=0: must be at least 2 with program=ensemble"),
        ("data.targets=onehot", "data.targets=onehot: must be signs"),
        ("model.architecture=cnn", "model.architecture=cnn: must be fc"),
        ("optimizer.batch=4", "optimizer.batch=4: must be null"),
        ("optimizer.name=adam", "optimizer.batch=None: must be null, and optimizer.name=sgd"),
        ("program=train", "data.points=11: must be 0 with program=train"),
    ],
)
def test_what_an_ensemble_cannot_be_is_refused(override, told):
    extra = ["data.subspace=false"] if "cnn" in override else []
    with pytest.raises(UserError, match=told):
        config.compose([*SMALL, override, *extra])


def test_a_path_within_one_class_is_told(tmp_path):
    with pytest.raises(UserError, match=r"data\.points: the train points are of one class"):
        run(compose(tmp_path, "data.train=1"))


@pytest.fixture
def drawn(smoke_records):
    """Both records of the sweep, with 400 networks that are like their process."""
    return [like(records.read(path)) for path in smoke_records("ensemble")]


def like(record, shift=0.0, scale=1.0, name=None, seed=0):
    """The record with networks of exactly this mean and spread at every point."""
    name = name or ("nngp" if record.config["optimizer"]["train"] == "readout" else "ntk_analytic")
    mean, std = processes.process(record, name)
    normal = np.random.default_rng(seed).standard_normal((len(mean), 400, mean.shape[1]))
    normal = (normal - normal.mean(1, keepdims=True)) / normal.std(1, ddof=1, keepdims=True)
    f = (mean + shift * std)[:, None] + scale * std[:, None] * normal
    rows = record.rows[record.rows["model"] != "network"]
    steps = np.unique(select(record, "network", "output", "path")["step"])
    outputs = ensemble.measure.rows("network", "output", steps, f, "path")
    outputs["time"] = outputs["step"] * 1.0
    return record._replace(rows=ensemble.pd.concat([rows, outputs], ignore_index=True))


def verdicts(found):
    return {claim.id: claim.verdict for claim in processes.claims(found)}


def test_networks_like_their_process_reproduce_the_claims(drawn):
    found = verdicts(drawn)
    assert [found[name] for name in ("3a", "3b", "3d")] == [REPRODUCED] * 3


@pytest.mark.parametrize("bend", [{"shift": 0.5}, {"scale": 1.3}, {"scale": 0.7}])
def test_3a_3b_3d_turn_around_with_a_wrong_mean_or_spread(drawn, bend):
    found = verdicts([like(record, **bend) for record in drawn])
    assert (found["3b"], found["3d"]) == (FAILED, FAILED)
    if "scale" in bend:
        assert found["3a"] == FAILED


@pytest.mark.parametrize("wrong", ["model.w_var=1.0", "optimizer.lr=0.1"])
def test_3b_3d_turn_around_with_a_wrong_kernel_or_rate(drawn, tmp_path, wrong):
    """Networks like the process of one config beside that of another."""
    words = ["experiment=ensemble", "scale=smoke", f"results={tmp_path}", wrong]
    others = [records.read(experiment.run(point)) for point in config.expand(words)]
    found = verdicts([beside(*pair) for pair in zip(drawn, others, strict=True)])
    assert (found["3b"], found["3d"]) == (FAILED, FAILED)
    assert found["3a"] == (FAILED if "w_var" in wrong else REPRODUCED)


def beside(networks, other):
    """The networks of one record and the processes of another."""
    own, theirs = (r.rows["model"].isin(["network", "data"]) for r in (networks, other))
    rows = ensemble.pd.concat([networks.rows[own], other.rows[~theirs]], ignore_index=True)
    return networks._replace(rows=rows.assign(time=1.0 * rows["step"]))


def test_3c_turns_around_with_networks_that_are_the_posterior_s(drawn):
    whole = drawn[0]
    assert verdicts([whole])["3c"] == REPRODUCED
    mean, std = processes.process(whole, "nngp_posterior")
    rows = whole.rows.copy()
    last = rows["step"] == rows["step"].max()
    for quantity, values in (("mean", mean), ("std", std)):
        place = last & (rows["model"] == "ntk_analytic") & (rows["quantity"] == quantity)
        rows.loc[place, "value"] = values[-1]
    assert verdicts([like(whole._replace(rows=rows))])["3c"] == FAILED


def test_the_interval_is_99_percent():
    """Of 4,000 ensembles of 30, 98 % have both mean and standard deviation inside."""
    networks = np.random.default_rng(0).standard_normal((30, 4000))
    share = processes.inside(networks, np.zeros(4000), np.ones(4000)).mean()
    assert share == pytest.approx(0.99**2, abs=0.005)
