"""Every claim fails where a kernel or a learning rate is wrong: real runs, not bent numbers.

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
KERNEL = "model.w_var=1.0"  # for 2.0
WIDE = ("experiment=digits", "model.width=1024", "model.depth=1", "data.train=32", "data.test=64")
ONEHOT = ("data.targets=onehot", "loss.name=xent")
LITTLE = ("experiment=digits", "model.depth=1", "data.train=16")
UNKERNELLED = ("linearized.analytic=false", "log.kernel=false")


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
    """The network of one run and the linearizations of another, on the network's time."""
    mixed = common.beside(network, other)
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


FULL_BATCH, MOMENTUM = ("log.points=8",), ("optimizer.momentum=0.9", "optimizer.lr=0.3")
MINIBATCHES = (*ONEHOT, *MOMENTUM, "optimizer.batch=8", "optimizer.lr=0.1", "log.points=12")


@pytest.mark.parametrize(
    ("figures", "words", "wrong", "holding"),
    [
        ("4 5 S2", FULL_BATCH, KERNEL, set()),
        ("4 5 S2", FULL_BATCH, "optimizer.lr=0.5", set()),
        ("6", MINIBATCHES, KERNEL, set()),
        ("6", MINIBATCHES, "optimizer.lr=0.6", set()),
        ("7", MOMENTUM, "model.w_var=0.01", set()),
        ("7", MOMENTUM, "optimizer.lr=1.2", {"7a rebound"}),
        ("7", MOMENTUM, "optimizer.lr=0.001", {"7a shape"}),
    ],
)
def test_4_to_7_and_s2_turn_around(computed, figures, words, wrong, holding):
    words = (*WIDE, "optimizer.steps=64", *words)
    (right,), (other,) = computed(*words), computed(*words, wrong)
    assert not others(REPRODUCED, [right], *figures.split())
    found = others(FAILED, [beside(right, other)], *figures.split())
    assert {name for name, *_ in found} == holding


def next_seeds(runs):
    """Each run beside the linearization of the next of its four seeds, which vary the fastest."""
    pairs = [(run, runs[i + 1 if (i + 1) % 4 else i - 3]) for i, run in enumerate(runs)]
    assert {run.config["model"] == other.config["model"] for run, other in pairs} == {True}
    return [beside(*pair) for pair in pairs]


def test_8_turns_around(computed):
    """With the kernel of other weights the distance falls with neither width nor fewer data."""
    words = ("experiment=digits", "data.name=gaussian", "data.dim=32", "data.normalize=none")
    words += ("data.classes=[positive,negative]", "data.test=32", *UNKERNELLED, "model.depth=1")
    words += ("model.activation=tanh", "optimizer.steps=512", "optimizer.lr=0.2", "log.points=4")
    seeds = "seed=range(0,4)"  # which reach these floors at the same steps
    by_width = ("data.train=16", "model.width=32,128,512", "optimizer.stop=0.01", seeds)
    by_data = ("data.train=4,16,64", "model.width=256", "optimizer.stop=0.04", seeds)
    by_width, by_data = computed(*words, *by_width), computed(*words, *by_data)

    def other_than(verdict, by_width, by_data):
        own, custom = catalog.figure("8"), catalog.figure("custom").several
        panes = dict.fromkeys(own.experiments, by_width) | {"rmse_fc_data": by_data}
        claims = [*own.claims(panes), *custom.claims({"digits": by_width})]
        return [c for c in claims if c.verdict != verdict]

    assert not other_than(REPRODUCED, by_width, by_data)
    assert not other_than(FAILED, next_seeds(by_width), next_seeds(by_data))


def test_1_turns_around(computed, monkeypatch):
    """Against the kernel of another variance of the weights the error stays."""
    words = ("experiment=kernel_convergence", "samples=16", "data.dim=16", "data.train=8")
    grid = (*words, "model.depth=1", "model.width=16,64,256", "seed=range(0,8)")
    assert not others(REPRODUCED, computed(*grid), "1", "S3")
    exact = kernel_convergence.analytic.fc

    def wrong(x, **settings):
        return exact(x, **(settings | {"w_var": 1.0}))

    monkeypatch.setattr(kernel_convergence.analytic, "fc", wrong)
    again = computed(*grid, "samples=17")  # another config, so that it is computed
    assert not others(FAILED, again, "1", "S3")


@pytest.mark.parametrize(
    ("figure", "rate", "words"),
    [
        (
            "2",
            0.1,
            ("data.test=4", "linearized.space=none", "optimizer.steps=32", "log.outputs=16"),
        ),
        (
            "S5",
            0.2,
            ("data.test=32", *ONEHOT, *UNKERNELLED, "optimizer.steps=256", "log.points=24"),
        ),
    ],
)
def test_2_s5_turn_around(computed, figure, rate, words):
    """At a rate in proportion to the width, as one rate for all widths is in the standard
    parametrization."""
    words, widths = (*LITTLE, *words), (8, 64, 512)
    words += ("model.activation=tanh", "seed=range(0,8)") if figure == "2" else ("seed=range(0,4)",)
    assert not others(REPRODUCED, computed(*words, "model.width=8,64,512"), figure)
    rates = [(f"model.width={n}", f"optimizer.lr={rate * n / widths[-1]}") for n in widths]
    wrong = [run for own in rates for run in computed(*words, *own)]
    assert not others(FAILED, wrong, figure)


def test_s1a_turns_around(computed):
    """With a rate for the standard parametrization that is not that of the other over n."""
    words = (*WIDE, "data.test=117", "linearized.space=none", "optimizer.steps=1024")
    words += ("model.activation=relu,tanh", "seed=0,1")
    ntk = computed(*words, "optimizer.lr=0.1")
    standard = (*words, "model.parametrization=standard")
    right, wrong = (computed(*standard, f"optimizer.lr={lr / 1024}") for lr in (0.1, 0.001))
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
    """With the counts of a narrow network, whose kernel changes as much at every width."""
    words = (*LITTLE, "data.test=16", "optimizer.steps=1024")
    words += ("linearized.analytic=false", "log.points=0", "log.kernel=false")
    words += ("optimizer.solver=leaps", "optimizer.floor=1")
    fewest = computed(*words, "optimizer.tolerance=1000", "model.width=4096")
    runs = computed(*words, "model.width=8,64,4096", "seed=0,1")
    assert {c.verdict for c in linearizations.claims([*runs, *fewest])} == {REPRODUCED}
    counts = [tables.series(run, "network", "linearizations")["value"] for run in runs[:2]]
    given = ("network", "linearizations", "")
    mixed = [common.with_values(run, *given, c) for run, c in zip(runs, 3 * counts, strict=True)]
    assert {c.verdict for c in linearizations.claims([*mixed, *fewest])} == {FAILED}
