"""Every claim fails where a kernel or a learning rate is wrong: real runs, not bent numbers. F2's
fail with the counts of its networks in the other order of width.

First the claim holds, then one side of it comes from a run that differs in one key. Claims 3a to
3d: test_ensembles.py.
"""

import numpy as np
import pytest

from ntkrepro.claims import bound, linearizations, trajectories
from ntkrepro.claims.claim import FAILED, REPRODUCED, UNCHECKABLE
from ntkrepro.claims.parametrizations import perform_alike, train_alike
from ntkrepro.config.compose import expand
from ntkrepro.figures import catalog
from ntkrepro.programs import kernel_convergence
from ntkrepro.programs.run import compute_pack
from ntkrepro.records import store, tables
from ntkrepro.sweep import packs
from tests.claims import common

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]
KERNEL = "model.w_var=0.5"  # for 2.0
WIDE = ("experiment=digits", "model.width=1024", "model.depth=1", "data.train=32", "data.test=117")
ONEHOT = ("data.targets=onehot", "loss.name=xent")
LITTLE = ("experiment=digits", "model.depth=1", "data.train=16")
UNKERNELLED = ("linearized.analytic=false", "log.kernel=false", "log.weights=0")


@pytest.fixture
def computed(tmp_path):
    """computed(words): the records of a grid, as if of the paper's numbers."""

    def records(*words):
        runs = expand([*words, f"results={tmp_path}"])
        for pack in packs.packs(runs):
            compute_pack(pack, lambda line: None, lambda step, **values: None)
        return [store.read(run.path)._replace(paper=True) for run in runs]

    return records


def beside(network, other):
    """The network of one run and the linearizations of another, on the network's steps and time."""
    logged = other.rows["step"].isin(network.rows["step"])
    mixed = common.beside(network, other._replace(rows=other.rows[logged]))
    mixed = mixed._replace(rows=mixed.rows.assign(time=mixed.rows["step"] * network.lr))
    rmse = tables.select(mixed, tables.linear_model(mixed), "rmse", "test").index
    errors = trajectories.squared_errors(mixed, tables.linear_model(mixed))
    mixed.rows.loc[rmse, "value"] = np.sqrt(errors.mean(axis=1).to_numpy())
    return mixed


def others(verdict, records, *figures):
    """Of the claims of these figures on the same records, those that have another verdict."""
    found = [catalog.figure(name) for name in figures]
    claims = [c for own in found for c in own.claims(dict.fromkeys(own.experiments, records))]
    return [(c.id, c.verdict, c.value, c.interval) for c in claims if c.verdict != verdict]


FULL_BATCH = ("optimizer.steps=32", "log.points=8")
MOMENTUM = ("optimizer.momentum=0.9", "optimizer.lr=0.3", "optimizer.steps=64", "log.points=128")
MINIBATCHES = (*ONEHOT, *MOMENTUM, "optimizer.batch=8", "optimizer.lr=0.1", "log.points=12")
MINIBATCHES += ("model.width=2048",)


@pytest.mark.parametrize(
    ("figures", "words", "wrong", "holding"),
    [
        ("4 5 S2", FULL_BATCH, KERNEL, set()),
        ("4 5 S2", FULL_BATCH, "optimizer.lr=0.5", set()),
        ("6", MINIBATCHES, KERNEL, set()),
        ("6", MINIBATCHES, "optimizer.lr=0.6", set()),
        ("7", MOMENTUM, "model.w_var=0.001", set()),
        ("7", MOMENTUM, "optimizer.lr=1.2", {"7a rebound"}),
        ("7", MOMENTUM, "optimizer.lr=0.001", {"7a shape"}),
    ],
)
def test_4_to_7_and_s2_turn_around(computed, figures, words, wrong, holding):
    words = (*WIDE, *words)
    (right,), (other,) = computed(*words), computed(*words, wrong)
    assert not others(REPRODUCED, [right], *figures.split())
    found = others(FAILED, [beside(right, other)], *figures.split())
    assert {(name, verdict) for name, verdict, *_ in found} == {(n, REPRODUCED) for n in holding}


def at_rates(computed, words, widths, rate):
    """Runs at a rate in proportion to the width, as one rate for all widths is in the standard
    parametrization: `rate` for the first."""
    rates = [(f"model.width={n}", f"optimizer.lr={rate * n / widths[0]}") for n in widths]
    return [run for own in rates for run in computed(*words, *own)]


def key(run):
    return run.config["model"]["width"], run.config["data"]["train"], run.config["seed"]


def all_beside(runs, others, further=0):
    """The networks of some and the linearizations of others that are alike, but so many of 8 seeds
    further."""
    found = {key(run): run for run in others}
    keys = [(width, train, (seed + further) % 8) for width, train, seed in map(key, runs)]
    return [beside(run, found[own]) for run, own in zip(runs, keys, strict=True)]


def test_8_turns_around(computed):
    """With linearizations at a rate in proportion to the width the distance doesn't fall with it,
    and at four times the rate it is not proportional to |D|. With the kernel of other weights all
    is saturated: nothing holds."""
    words = ("experiment=digits", "data.name=gaussian", "data.dim=32", "data.normalize=none")
    words += ("data.classes=[positive,negative]", "data.test=32", *UNKERNELLED, "model.depth=1")
    words += ("model.activation=tanh", "optimizer.steps=2048", "log.points=12", "seed=range(0,8)")
    by_data = (*words, "model.width=256", "data.train=4,16,64")
    words, widths, stop = (*words, "data.train=16"), (64, 256, 1024), "optimizer.stop=0.03"
    grids = (
        computed(*words, "model.width=64,256,1024", "optimizer.lr=0.05", stop),
        computed(*by_data, "optimizer.lr=0.05", stop),
    )
    others = at_rates(computed, words, widths, 0.05), computed(*by_data, "optimizer.lr=0.2")

    def verdicts(by_width, by_data):
        own, custom = catalog.figure("8"), catalog.figure("custom").several
        panes = dict.fromkeys(own.experiments, by_width) | {"rmse_fc_data": by_data}
        claims = [*own.claims(panes), *custom.claims({"digits": by_width})]
        return {c.verdict for c in claims}

    assert verdicts(*grids) == {REPRODUCED}
    assert verdicts(*map(all_beside, grids, others)) == {FAILED}
    assert REPRODUCED not in verdicts(*map(all_beside, grids, others, (1, 1)))


def test_1_turns_around(computed, monkeypatch):
    """Against the kernel of another variance of the weights the error stays."""
    words = ("experiment=kernel_convergence", "samples=16", "data.dim=16", "data.train=8")
    grid = (*words, "model.depth=1", "model.width=16,64,256", "seed=range(0,16)")
    assert not others(REPRODUCED, computed(*grid), "1", "S3")
    exact = kernel_convergence.analytic.fc

    def wrong(x, **settings):
        return exact(x, **(settings | {"w_var": 1.0}))

    monkeypatch.setattr(kernel_convergence.analytic, "fc", wrong)
    again = computed(*grid, "samples=17")  # another config, so that it is computed
    assert not others(FAILED, again, "1", "S3")


def test_2_turns_around(computed):
    words = (*LITTLE, "data.test=4", "linearized.space=none", "optimizer.steps=32")
    words += ("log.outputs=16", "model.activation=tanh", "seed=range(0,8)")
    assert not others(REPRODUCED, computed(*words, "model.width=8,64,512"), "2")
    assert not others(FAILED, at_rates(computed, words, (8, 64, 512), 0.1 / 64), "2")


def test_s5_turns_around(computed):
    """With linearizations at a rate in proportion to the width."""
    words = (*LITTLE, "data.test=32", *ONEHOT, *UNKERNELLED, "optimizer.steps=256")
    words += ("log.points=24", "seed=range(0,4)")
    runs = computed(*words, "optimizer.lr=0.1", "model.width=8,32,128")
    assert not others(REPRODUCED, runs, "S5")
    wrong = at_rates(computed, words, (8, 32, 128), 0.1)
    assert not others(FAILED, all_beside(runs, wrong), "S5")


def test_s1a_turns_around(computed):
    """With a rate for the standard parametrization that is not that of the other over n. The width
    is the inputs', where all layers' rates are so."""
    words = (*WIDE, "model.width=64", *ONEHOT, "loss.name=mse,xent", "model.activation=relu,tanh")
    words += ("linearized.space=none", "optimizer.steps=512", "seed=range(0,4)", "log.points=0")
    words += ("log.kernel=false", "log.weights=0")
    ntk = computed(*words, "optimizer.lr=0.2")
    standard = (*words, "model.parametrization=standard")
    right, wrong = (computed(*standard, f"optimizer.lr={lr / 64}") for lr in (0.2, 0.001))
    assert perform_alike([*ntk, *right]).verdict == REPRODUCED
    assert perform_alike([*ntk, *wrong]).verdict == FAILED


def test_s1b_turns_around(computed):
    """With one rate for all layers in place of Eq. S33's."""
    words = (*LITTLE, "data.test=8", "optimizer.steps=16", "optimizer.lr=0.01", "precision=float64")
    words = (*words, "linearized.space=none")  # which diverges at that rate
    (standard,) = computed(*words, "model.parametrization=standard")
    right, wrong = (computed(*words, f"optimizer.layer_rates={rates}") for rates in ("S33", "same"))
    assert train_alike([standard, *right]).verdict == REPRODUCED
    assert train_alike([standard, *wrong]).verdict == FAILED
    assert train_alike([standard]).verdict == UNCHECKABLE


def test_f1_turns_around(computed):
    """With the change of a wider network's kernel, which is too little."""
    (own,), (wide,) = (computed(*LITTLE, "data.test=8", f"model.width={n}") for n in (64, 4096))
    assert bound.claim(own).verdict == REPRODUCED
    moved = tables.series(wide, "network", "ntk_distance", "train")["value"]
    mixed = common.with_values(own, "network", "ntk_distance", "train", moved)
    assert bound.claim(mixed).verdict == FAILED


def test_f2_turns_around(computed):
    """With the counts of the networks in the other order of width."""
    words = (*LITTLE, "data.test=16", "optimizer.steps=1024")
    words += (*UNKERNELLED, "log.points=0", "optimizer.solver=leaps", "optimizer.floor=1")
    fewest = computed(*words, "optimizer.tolerance=1000", "model.width=2048")
    runs = computed(*words, "model.width=8,64,2048", "seed=range(0,6)")
    assert {c.verdict for c in linearizations.claims([*runs, *fewest])} == {REPRODUCED}
    given = ("network", "linearizations")
    counts = [tables.series(run, *given)["value"] for run in runs]
    mixed = [
        common.with_values(run, *given, "", c) for run, c in zip(runs, counts[::-1], strict=True)
    ]
    assert {c.verdict for c in linearizations.claims([*mixed, *fewest])} == {FAILED}
