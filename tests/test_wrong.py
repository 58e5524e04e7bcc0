"""Every claim fails where a kernel or a learning rate is wrong: real runs, not bent numbers.

First the claim holds, then one side of it comes from a run that differs in one key. Claims on
Gaussian processes: tests/test_ensemble.py.
"""

import numpy as np
import pandas as pd
import pytest

from ntkrepro import claims, config, convergence, experiment, packs, records
from ntkrepro.claims import FAILED, REPRODUCED
from ntkrepro.figures import fig1, fig2, fig4, fig5, fig6, fig7, fig8, figS2, figS5
from ntkrepro.parametrizations import perform_alike

pytestmark = pytest.mark.slow
KERNEL = "model.w_var=1.0"  # for 2.0
OURS = ("network", "data")  # models of a record that aren't linearizations


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 50)


@pytest.fixture
def computed(tmp_path):
    """computed(words): the records of a grid, as if of the paper's numbers."""

    def run(*words):
        points = config.expand([*words, f"results={tmp_path}"])
        for pack in packs.packs(points):
            experiment.run_pack(pack, lambda line: None, lambda step, **values: None)
        read = (records.read(records.path_of(point)) for point in points)
        return [record._replace(paper=True) for record in read]

    return run


def beside(network, other):
    """The network of one run and the linearizations of another, on the network's time."""
    ours, theirs = (r.rows[r.rows["model"].isin(OURS)] for r in (network, other))
    rows = pd.concat([ours, other.rows.drop(theirs.index)], ignore_index=True)
    mixed = network._replace(rows=rows.assign(time=rows["step"] * network.lr))
    rmse = claims.select(mixed, claims.linear_model(mixed), "rmse", "test").index
    errors = claims.squared_errors(mixed, claims.linear_model(mixed))
    mixed.rows.loc[rmse, "value"] = np.sqrt(errors.mean(axis=1).to_numpy())
    return mixed


def others(verdict, found):
    """The claims that have another verdict."""
    return [(c.id, c.verdict, c.value, c.interval) for c in found if c.verdict != verdict]


WIDE = ("experiment=digits", "model.width=1024", "model.depth=1", "data.train=32", "data.test=64")
ONEHOT = ("data.targets=onehot", "loss.name=xent")


def full_batch(record):
    """Claims of Figures 4, 5 and S2, which ask the same of their records."""
    return [
        *fig4.claims({"fc_cifar": [record]}),
        *fig5.claims({"cnn_cifar": [record]}),
        *figS2.claims({"fc_cifar_standard": [record]}),
    ]


@pytest.mark.parametrize("wrong", [KERNEL, "optimizer.lr=0.5"])
def test_4_5_s2_turn_around(computed, wrong):
    words = (*WIDE, "optimizer.steps=64", "log.points=8")
    (right,), (other,) = computed(*words), computed(*words, wrong)
    assert not others(REPRODUCED, full_batch(right))
    assert not others(FAILED, full_batch(beside(right, other)))


@pytest.mark.parametrize("wrong", [KERNEL, "optimizer.lr=0.6"])
def test_6_turns_around(computed, wrong):
    momentum = ("optimizer.momentum=0.9", "optimizer.batch=8", "optimizer.lr=0.1")
    words = (*WIDE, *ONEHOT, *momentum, "optimizer.steps=64", "log.points=12")
    (right,), (other,) = computed(*words), computed(*words, wrong)
    assert not others(REPRODUCED, fig6.claims({"fc_mnist": [right]}))
    assert not others(FAILED, fig6.claims({"fc_mnist": [beside(right, other)]}))


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ("model.w_var=0.01", {"7a shape", "7a rebound"}),
        ("optimizer.lr=1.2", {"7a shape"}),
        ("optimizer.lr=0.001", {"7a rebound"}),
    ],
)
def test_7a_turns_around(computed, wrong, failing):
    words = (*WIDE, "optimizer.momentum=0.9", "optimizer.steps=64", "optimizer.lr=0.3")
    (right,), (other,) = computed(*words), computed(*words, wrong)
    assert not others(REPRODUCED, fig7.claims({"wrn_cifar": [right]}))
    turned = others(REPRODUCED, fig7.claims({"wrn_cifar": [beside(right, other)]}))
    assert {claim[:2] for claim in turned} == {(name, FAILED) for name in failing}


def next_seeds(runs):
    """Each run beside the linearization of the next seed."""
    groups = {}
    for run in runs:
        groups.setdefault((run.config["model"]["width"], run.config["data"]["train"]), []).append(
            run
        )
    pairs = (zip(own, [*own[1:], own[0]], strict=True) for own in groups.values())
    return [beside(*pair) for group in pairs for pair in group]


def test_8_turns_around(computed):
    """With the kernel of other weights the distance falls with neither width nor fewer data."""
    data = ("data.name=gaussian", "data.dim=32", "data.classes=[positive,negative]")
    words = ("experiment=digits", *data, "data.normalize=none", "data.test=32", "model.depth=1")
    words += ("model.activation=tanh", "linearized.analytic=false", "log.kernel=false")
    words += ("optimizer.steps=512", "optimizer.lr=0.2", "log.points=4", "seed=range(0,4)")
    by_width = computed(*words, "data.train=16", "model.width=32,128,512")
    by_data = computed(*words, "data.train=4,16,64", "model.width=256")

    def found(by_width, by_data):
        panes = dict.fromkeys(fig8.EXPERIMENTS, by_width) | {"rmse_fc_data": by_data}
        return fig8.claims(panes)

    assert not others(REPRODUCED, found(by_width, by_data))
    assert not others(FAILED, found(next_seeds(by_width), next_seeds(by_data)))


def test_1_turns_around(computed, monkeypatch):
    """Against the kernel of another variance of the weights the error stays."""
    words = ("experiment=kernel_convergence", "samples=16", "data.dim=16", "data.train=8")
    grid = (*words, "model.depth=1", "model.width=16,64,256", "seed=range(0,8)")
    assert not others(REPRODUCED, fig1.claims({"kernel_convergence": computed(*grid)}))
    exact = convergence.analytic.fc

    def wrong(x, **settings):
        return exact(x, **(settings | {"w_var": 1.0}))

    monkeypatch.setattr(convergence.analytic, "fc", wrong)
    again = computed(*grid, "samples=17")  # another config, so that it is computed
    assert not others(FAILED, fig1.claims({"kernel_convergence": again}))


WIDTHS = (8, 64, 512)


def at_widths(computed, words, rate):
    """Runs at one rate, and at one in proportion to the width, as a single rate for all widths is
    in the standard parametrization."""
    right = computed(*words, f"model.width={','.join(map(str, WIDTHS))}")
    rates = {n: f"optimizer.lr={rate * n / WIDTHS[-1]}" for n in WIDTHS}
    wrong = (computed(*words, f"model.width={n}", lr) for n, lr in rates.items())
    return right, [run for runs in wrong for run in runs]


def test_2_turns_around(computed):
    data = ("experiment=digits", "data.train=16", "data.test=4", "model.depth=1")
    words = (*data, "linearized.space=none", "optimizer.steps=32", "log.outputs=16")
    words += ("model.activation=tanh", "seed=range(0,8)")
    right, wrong = at_widths(computed, words, 0.1)
    assert not others(REPRODUCED, fig2.claims({"weight_change": right}))
    assert not others(FAILED, fig2.claims({"weight_change": wrong}))


def test_s5_turns_around(computed):
    words = ("experiment=digits", "data.train=16", "data.test=32", "model.depth=1", *ONEHOT)
    words += ("optimizer.steps=256", "log.points=24", "seed=range(0,4)", "log.kernel=false")
    words += ("linearized.analytic=false",)
    right, wrong = at_widths(computed, words, 0.2)
    assert not others(REPRODUCED, figS5.claims({"fc_cifar_xent": right}))
    assert not others(FAILED, figS5.claims({"fc_cifar_xent": wrong}))


def test_s1a_turns_around(computed):
    """With a rate for the standard parametrization that is not that of the other over n."""
    words = (*WIDE, "data.test=117", "linearized.space=none", "optimizer.steps=1024")
    words += ("model.activation=relu,tanh", "seed=0,1")
    ntk = computed(*words, "optimizer.lr=0.1")
    standard = (*words, "model.parametrization=standard")
    right, wrong = (computed(*standard, f"optimizer.lr={lr / 1024}") for lr in (0.1, 0.001))
    assert perform_alike([*ntk, *right]).verdict == REPRODUCED
    assert perform_alike([*ntk, *wrong]).verdict == FAILED
