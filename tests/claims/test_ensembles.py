"""Claims 3a to 3d on networks that are drawn from what they are compared with, or from another."""

import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import ensembles
from ntkrepro.claims.claim import FAILED, REPRODUCED
from ntkrepro.config.compose import expand
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.records.rows import rows
from tests.claims.common import beside, with_values

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def drawn(smoke_records):
    """Both records of the sweep, with 400 networks that are like their process."""
    return [like(store.read(path)) for path in smoke_records("ensemble")]


def like(record):
    """The record with networks of exactly this mean and spread at every point."""
    trained = record.config["optimizer"]["train"]
    mean, std = ensembles.process(record, {"readout": "nngp", "all": "ntk_analytic"}[trained])
    normal = np.random.default_rng(0).standard_normal((len(mean), 400, mean.shape[1]))
    normal = (normal - normal.mean(1, keepdims=True)) / normal.std(1, ddof=1, keepdims=True)
    f, steps = mean[:, None] + std[:, None] * normal, ensembles.members(record).steps
    outputs = rows("network", "output", steps, f, "path").assign(time=lambda own: 1.0 * own["step"])
    others = record.rows[record.rows["model"] != "network"]
    return record._replace(rows=pd.concat([others, outputs], ignore_index=True))


def verdicts(found):
    return {claim.id: claim.verdict for claim in ensembles.claims(found)}


@pytest.mark.parametrize("wrong", ["model.w_var=1.0", "optimizer.lr=0.1"])
def test_3a_3b_3d_turn_around_with_a_wrong_kernel_or_rate(drawn, tmp_path, wrong):
    """The rate, but for 3a: it is of step 0."""
    assert {verdicts(drawn)[name] for name in ("3a", "3b", "3d")} == {REPRODUCED}
    words = ["experiment=ensemble", "scale=smoke", f"results={tmp_path}", wrong]
    others = [store.read(compute(run)) for run in expand(words)]
    found = verdicts([beside(*pair) for pair in zip(drawn, others, strict=True)])
    assert (found["3b"], found["3d"]) == (FAILED, FAILED)
    assert found["3a"] == (FAILED if "w_var" in wrong else REPRODUCED)


def test_3c_turns_around_with_networks_that_are_the_posterior_s(drawn):
    whole = drawn[0]
    assert verdicts([whole])["3c"] == REPRODUCED
    posterior = ensembles.process(whole, "nngp_posterior")
    trained = ensembles.process(whole, "ntk_analytic")
    for quantity, values, last in zip(("mean", "std"), trained, posterior, strict=True):
        values = np.concatenate([values[:-1], last])
        whole = with_values(whole, "ntk_analytic", quantity, "path", values)
    assert verdicts([like(whole)])["3c"] == FAILED


def test_the_interval_is_99_percent():
    """Of 4,000 ensembles of 30, 98 % have both mean and standard deviation inside."""
    networks = np.random.default_rng(0).standard_normal((30, 4000))
    share = ensembles.inside(networks, np.zeros(4000), np.ones(4000)).mean()
    assert share == pytest.approx(0.99**2, abs=0.005)
