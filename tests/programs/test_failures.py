"""What ends a run: kernels that are not finite, and models that diverge."""

import glob
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ntkrepro.config.compose import compose, expand
from ntkrepro.errors import RunFailed
from ntkrepro.programs import failures, setup
from ntkrepro.programs.run import compute, compute_pack
from ntkrepro.records import store
from ntkrepro.records.summary import summary
from ntkrepro.training import checkpoint
from tests import own

RECORDS = Path(__file__).parents[2] / "results/runs"
NETS = """

class Attention(nn.Module):
    outputs: int
    width: int = 16
    @nn.compact
    def __call__(self, x):
        h = nn.Dense(self.width)(x.reshape(len(x), 4, -1))
        h = h + nn.SelfAttention(num_heads=2)(nn.LayerNorm()(h))
        return nn.Dense(self.outputs)(h.reshape(len(x), -1))

class Root(Linear):
    def body(self, x):
        return flat(x) / jnp.linalg.norm(flat(x), axis=-1, keepdims=True) ** 0.5 + self.head2(x)
    def head2(self, x):
        h = nn.Dense(flat(x).shape[1], use_bias=False)(flat(x))
        return h * jnp.sqrt(jnp.sum(h**2, -1, keepdims=True))
"""
ENSEMBLE = ("program=ensemble", "data.points=5", "data.train=8", "samples=2", "model.width=8")


def run(tmp_path, *words, said=None):
    chosen = compose(["scale=smoke", f"results={tmp_path}", *words])
    return store.read(compute(chosen, ([] if said is None else said).append))


@pytest.mark.parametrize(
    "words",
    [
        ("model.depth=300", "model.w_var=4", "model.width=16"),
        ("model.w_var=1e26",),
        ("model.w_var=1e26", "linearized.space=none", "optimizer.lr_over_critical=0.5"),
        ("model.w_var=1e300", "precision=float64"),
        ("experiment=kernel_convergence", "model.w_var=1e300"),
        (*ENSEMBLE, "model.w_var=1e300"),
    ],
    ids=" ".join,
)
def test_a_kernel_that_is_not_finite_is_told_by_the_keys_that_make_it_so(tmp_path, words):
    with pytest.raises(RunFailed, match=r"kernel.* is not finite: lower model\.w_var=.*, model\.b"):
        run(tmp_path, *words)
    assert not list(tmp_path.rglob("*.parquet"))


def test_without_a_stored_kernel_it_is_told_too(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "FUNCTION_SPACE", 4)
    words = ("model.w_var=1e26", "optimizer.lr_over_critical=0.5", "log.kernel=false")
    with pytest.raises(RunFailed, match=r"kernel at initialization is not finite"):
        run(tmp_path, *words, "linearized.space=weights")
    with pytest.raises(RunFailed, match=r"kernel at initialization is not finite"):
        run(tmp_path, "model.w_var=1e26", "linearized.flow=true")


def test_one_example_whose_gradient_is_not_a_number_is_named(here):
    (here / "nets.py").write_text(own.NETS + NETS)
    pixels = own.PIXELS[:40].copy()
    pixels[3] = 0
    np.savez(here / "own.npz", **{**own.ARRAYS, "x_train": pixels})
    told = r"not finite at train example 3, .*model\.factory=nets:Root.*inputs up to 0\)"
    with pytest.raises(RunFailed, match=told):
        run(here / "r", *own.words("Root", *own.npz("data.normalize=none")))


def test_attention_that_diverges_ends_in_one_line(here):
    (here / "nets.py").write_text(own.NETS + NETS)
    words = own.words("Attention", *own.npz(), "optimizer.lr=100", "linearized.space=none")
    with pytest.raises(RunFailed, match=r"optimizer\.lr=100 is .* critical .*; lower optimizer\.l"):
        run(here / "r", *words)


FAR = ("optimizer.steps=64", "model.width=16")


@pytest.mark.parametrize(
    ("words", "model", "otherwise"),
    [
        (("linearized.analytic=false",), "ntk_empirical", "linearized.space=none"),
        (("linearized.space=weights",), "linearized", "linearized.space=none"),
        (("linearized.space=none", "model.activation=identity"), "network", "$"),
    ],
)
@pytest.mark.parametrize("key", ["optimizer.lr_over_critical=4", "optimizer.lr=40"])
def test_any_model_that_runs_away_ends_the_run_by_the_key_that_was_set(
    tmp_path, words, model, otherwise, key
):
    name, value = key.split("=")
    told = rf"between step \d+ and step \d+: {name}={value}\b.* x the critical learning rate .* of "
    with pytest.raises(RunFailed, match=rf"{told}{model}'s kernel; lower {name}.*{otherwise}"):
        run(tmp_path, *FAR, *words, key)
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_analytic_kernel_has_a_critical_rate_of_its_own(tmp_path):
    """Below the empirical one of this narrow network, and above its own."""
    words = ("model.width=4", "seed=0", "data.test=8")
    rows = run(tmp_path, *words).rows
    rates = rows[rows["quantity"] == "lr_critical"].set_index("model")["value"]
    assert set(rates.index) == {"network", "ntk_analytic"}
    between = 0.9
    assert rates["ntk_analytic"] < between * rates["network"]
    told = r"lr_over_critical=0\.9: lr=.* of ntk_analytic's kernel; .*linearized\.analytic=false"
    words = (*words, f"optimizer.lr_over_critical={between}", "optimizer.steps=4096")
    with pytest.raises(RunFailed, match=told):
        run(tmp_path, *words)
    run(tmp_path, *words, "linearized.analytic=false")


def test_processes_that_diverge_end_an_ensemble_before_its_training(tmp_path):
    with pytest.raises(RunFailed, match=r"optimizer\.lr=9 is .* of \w+'s kernel; lower optimizer"):
        run(tmp_path, *ENSEMBLE, "optimizer.lr=9", "optimizer.steps=64")
    assert not list(tmp_path.rglob("*.npy"))


def test_what_the_posterior_leaves_out_is_told(tmp_path):
    """A linear network of few inputs has a singular kernel."""
    said: list[str] = []
    words = ("model.activation=identity", "data.train=70", "optimizer.lr=0.01", "model.b_var=0")
    rows = run(tmp_path, *ENSEMBLE, *words, "optimizer.steps=2", said=said).rows
    cut = rows[rows["quantity"] == "cut"]["value"].item()
    assert cut >= 6  # 64 pixels
    assert f"nngp_posterior leaves out {cut:.0f} of 70 directions" in said[0]
    assert set(rows[rows["quantity"] == "lr_critical"]["model"]) == {"ntk_analytic", "nngp"}


def test_a_kernel_of_zeros_has_no_critical_rate(here):
    zeros = {**own.ARRAYS, "x_train": 0 * own.PIXELS[:40], "x_test": 0 * own.PIXELS[40:]}
    np.savez(here / "own.npz", **zeros)
    words = own.npz("data.normalize=none", "model.b_var=0", "optimizer.lr_over_critical=0.9")
    with pytest.raises(RunFailed, match=r"optimizer\.lr_over_critical=0\.9: the kernel .* is 0"):
        run(here / "r", *words)


DIVERGED = ("log.diverged=true", "optimizer.steps=64", "model.width=256", "log.norms=true")


def end(record, model, quantity="loss"):
    rows = record.rows
    return rows[(rows["model"] == model) & (rows["quantity"] == quantity)]["step"].max()


def ways(record):
    """When each model was seen to have diverged, and the last step of its rows."""
    rows = record.rows
    found = rows[rows["quantity"] == "diverged"]
    return {row.model: (row.step, end(record, row.model)) for row in found.itertuples()}


def test_divergence_is_a_result_where_it_is_asked_for(tmp_path):
    """Above its critical rate a linearization's rows end, and the network's go on or end too."""
    words = (*DIVERGED, "linearized.analytic=false")
    calm, back, away = (
        run(tmp_path, *words, f"optimizer.lr_over_critical={x}") for x in (0.5, 1.5, 8)
    )
    assert ways(calm) == {}
    assert set(ways(back)) == {"ntk_empirical"}
    step, last = ways(back)["ntk_empirical"]
    steps = sorted(back.rows["step"].unique())
    assert steps[steps.index(step) - 1] == last < end(back, "network") == 64
    assert end(back, "ntk_empirical", "rmse") == last
    assert set(ways(away)) == {"network", "ntk_empirical"}
    assert end(away, "network") < ways(away)["network"][0] < 64
    assert np.isfinite(away.rows["value"]).all()
    assert away.lr > 8 / 1.5 * 0.99 * back.lr
    assert "network diverged before step" in summary(away)
    assert "ntk_empirical diverged before step" in summary(back)


def test_a_run_that_does_not_diverge_is_the_same_bit_for_bit(tmp_path):
    words = ("optimizer.steps=64", "linearized.space=both")
    with_key, without = (run(tmp_path, *words, f"log.diverged={on}") for on in ("true", "false"))
    pd.testing.assert_frame_equal(with_key.rows, without.rows, check_exact=True)


@pytest.mark.parametrize("space", ["weights", "none"])
def test_trained_models_that_diverge_are_recorded_too(tmp_path, space):
    record = run(tmp_path, *DIVERGED, f"linearized.space={space}", "optimizer.lr=3")
    assert "network" in ways(record)
    assert end(record, "network") < ways(record)["network"][0]


def test_what_never_was_finite_has_no_record(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "FUNCTION_SPACE", 4)
    words = ("log.diverged=true", "model.w_var=1e26", "log.kernel=false", "linearized.space=none")
    with pytest.raises(RunFailed, match="the loss of network is not finite at step 0"):
        run(tmp_path, *words)


def test_a_checkpoint_holds_a_member_that_diverged(tmp_path, monkeypatch):
    """Its last point has as many numbers as the others."""
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    words = ("scale=smoke", "linearized.space=none", "optimizer.steps=64", "checkpoint=0")
    runs = expand([*words, "optimizer.lr=0.1,1e20", f"results={tmp_path}"])
    done, failed = compute_pack(runs, [].append, lambda step, **values: None)
    assert done.is_file()
    assert isinstance(failed, RunFailed)


def test_no_committed_record_would_have_failed():
    paths = glob.glob(str(RECORDS / "*.parquet"))
    assert len(paths) > 500
    for path in paths:
        rows = pd.read_parquet(path)
        if (rows["quantity"] == "diverged").any():
            continue  # that one diverges is what such a record says (log.diverged)
        assert failures.lost(rows.astype({"quantity": str})) is None
        losses = rows[(rows["quantity"] == "loss") & (rows["split"] == "train")]
        for _, line in losses.groupby("model", observed=True):
            values = line.sort_values("step")["value"].to_numpy()
            assert not failures.ran_away(values, values[0]).any()
