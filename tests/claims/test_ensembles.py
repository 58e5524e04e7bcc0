"""Claims 3a to 3d on small real ensembles; their controls: tests/report/test_controls.py."""

import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import ensembles, mixes
from ntkrepro.claims.claim import FAILED, REPRODUCED, UNCHECKABLE
from ntkrepro.config.compose import expand
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.theory import gaussian_process

SMALL = ("experiment=ensemble_drawn", "data.name=digits", "data.classes=[3,8]", "data.train=8")
SMALL += ("data.points=6", "model.depth=2", "samples=300", "optimizer.train=all,readout")
SMALL += ("model.width=64,128,256",)
DRAWN, LIMITS = ("3b drawn", "3c drawn", "3d drawn"), ("3b limit", "3c limit", "3d limit")


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """The records of the small grid, as if of the paper's numbers."""
    runs = expand([*SMALL, f"results={tmp_path_factory.mktemp('ensembles')}"])
    return [store.read(compute(run))._replace(paper=True) for run in runs]


def verdicts(records, experiment="ensemble_drawn"):
    return {claim.id: claim.verdict for claim in ensembles.claims({experiment: records})}


def test_a_limit_and_the_widest_networks_are_judged(right):
    found = verdicts(right)
    assert set(found) == {*DRAWN, *LIMITS}
    assert {found[name] for name in DRAWN} == {REPRODUCED}


def test_3c_is_asked_of_networks_that_have_learned(right):
    place = ("network", "loss", "train")
    losses = ensembles.select(right[0], *place)["value"].to_numpy()
    assert losses[-1] < ensembles.LEARNED**2 / 2 < losses[0] / 100
    losses = [*losses[:-1], 1.01 * ensembles.LEARNED**2 / 2]
    sick = [mixes.with_values(own, *place, losses) for own in right]
    without = {name for name, verdict in verdicts(sick).items() if verdict == UNCHECKABLE}
    assert without == {"3c drawn", "3c limit"}


def test_networks_are_at_their_targets_at_a_hundredth_of_them(right):
    place = ("network", "loss", "train")
    count = len(ensembles.select(right[0], *place))
    for share, learned in ((0.99, True), (1.01, False)):
        losses = [1.0] * (count - 1) + [share * ensembles.LEARNED**2 / 2]
        assert ensembles.learned(mixes.with_values(right[0], *place, losses)) is learned


def test_every_claim_says_of_how_many_networks_it_is_and_where_it_is_furthest_off(right):
    for claim in ensembles.claims({"ensemble_drawn": right}):
        assert claim.sample == (300 * (3 if claim.at == "" else 1), "networks")
        assert claim.id.startswith("3c") or claim.found.startswith("the largest at step ")


def trained(f, alpha=(0.0, 0.5), steps=(0, 4)):
    """A record of the outputs f [t, members, points] of an ensemble along a path."""
    rows = [(0, "data", "alpha", i, value) for i, value in enumerate(alpha)]
    rows += [(t, "ntk_analytic", "mean", 0, 0.0) for t in steps]
    for t, outputs in zip(steps, f, strict=True):
        rows += [(t, "network", "output", i, x) for i, x in enumerate(np.ravel(outputs))]
    frame = pd.DataFrame(rows, columns=["step", "model", "quantity", "index", "value"])
    frame = frame.assign(time=0.1 * frame["step"], split="path")
    return store.Record(frame, {"optimizer": {"train": "all"}}, {})


def test_trained_networks_have_the_moments_of_their_outputs():
    f = np.random.default_rng(0).standard_normal((2, 3, 2))
    found, own = ensembles.moments(trained(f)), ensembles.members(trained(f))
    assert np.abs(found.mean - f.mean(1)).max() < 1e-15
    assert (
        np.abs(found.std - ((f - f.mean(1, keepdims=True)) ** 2).sum(1) ** 0.5 / 2**0.5).max()
        < 1e-15
    )
    assert np.isnan(found.noise)
    assert (own.networks == f).all()
    assert (own.alpha.tolist(), own.steps.tolist()) == ([0.0, 0.5], [0, 4])


def test_two_networks_have_a_deviation_and_one_has_none():
    f = np.random.default_rng(0).standard_normal((2, 2, 2))
    assert np.isfinite(ensembles.moments(trained(f)).std).all()
    assert np.isnan(ensembles.moments(trained(f[:, :1])).std).all()


def test_the_posterior_is_met_at_the_last_step_alone(right):
    record = right[0]
    mean, std = ensembles.process(record, "nngp_posterior")
    steps = len(ensembles.path(record)[1])
    far = [ensembles.Moments(np.full((steps, 6), x), np.ones((steps, 6)), 0.1) for x in (1e3, -1e3)]
    for own in far:
        own.mean[-1], own.std[-1] = mean[-1], std[-1]
        assert ensembles.from_posterior(own, record).value == 0.0


def test_two_widths_have_no_limit(right):
    few = [own for own in right if ensembles.width(own) > 64]
    assert verdicts(few).keys() == {*DRAWN}
    assert np.isnan(ensembles.limit(few[:2]).mean).all()


def test_a_record_without_noise_has_no_verdict(right):
    older = [own._replace(rows=own.rows[own.rows["quantity"] != "noise"]) for own in right]
    assert set(verdicts(older).values()) == {UNCHECKABLE}


PRIOR = ("experiment=ensemble_prior", *SMALL[1:5], "model.depth=2", "model.width=256")


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """prior(words): the record of networks before training."""
    results = tmp_path_factory.mktemp("prior")

    def record(*words):
        (run,) = expand([*PRIOR, f"results={results}", *words])
        return store.read(run.path) or store.read(compute(run))

    return record


@pytest.mark.parametrize(
    ("words", "off", "verdict"),
    [
        ((), 0, REPRODUCED),
        (("model.w_var=1.64", "samples=2"), 0.08, FAILED),
        (("model.w_var=1.36", "samples=2"), -0.08, FAILED),
    ],
)
def test_3a_tells_two_sigma_from_eight_percent_more_or_less(prior, words, off, verdict):
    own, other = prior(), prior(*words)
    sigma, others = (ensembles.process(run, "nngp")[1][0].mean() for run in (own, other))
    assert others / sigma - 1 == pytest.approx(off, abs=0.005)
    (mixed,) = mixes.other_processes([own], [other])
    assert verdicts([mixed], "ensemble_prior") == {"3a": verdict}


def test_the_limit_excludes_the_process_in_5_of_100_ensembles():
    """Of 2,000 times four ensembles that are drawn from it: within 1.5 points, three standard
    errors; and their noise is calibrated at each width."""
    rng, members, points = np.random.default_rng(0), 40, np.linspace(-2, 3, 11)
    root = np.linalg.cholesky(np.exp(-((points[:, None] - points) ** 2)) + 1e-9 * np.eye(11))
    root = np.stack([root, 0.5 * root])
    of = gaussian_process.Ensemble(np.zeros((2, 11, 1)), root)
    zero = np.zeros((2, 11)), of.std
    off = gaussian_process.distance(*gaussian_process.moments(of, members, 4000), zero)
    noise = np.quantile(off.max(1), 0.95)
    away = [0, 0]
    for _ in range(2000):
        f = np.einsum("tmp,wcp->wtcm", root, rng.standard_normal((4, members, 11)))
        every = [ensembles.Moments(own.mean(1), own.std(1, ddof=1), noise) for own in f]
        found = ensembles.extrapolated([256, 512, 1024, 2048], every)
        for i, seen in enumerate((found, every[0])):
            away[i] += gaussian_process.distance(seen.mean, seen.std, zero).max() > seen.noise
    assert np.array(away) / 2000 == pytest.approx([0.05, 0.05], abs=0.015)


def test_the_limit_is_that_of_a_straight_line_in_1_over_n():
    mean, std, slope = (np.random.default_rng(i).standard_normal((2, 3)) for i in range(3))
    widths = [8, 16, 64, 256]
    every = [ensembles.Moments(mean + slope / n, std - slope / n, 0.1) for n in widths]
    found = ensembles.extrapolated(widths, every)
    assert np.abs(found.mean - mean).max() < 1e-12
    assert np.abs(found.std - std).max() < 1e-12
    assert 0.05 < found.noise < 0.1
