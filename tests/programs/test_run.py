"""Whole runs at smoke scale, in process."""

import os
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import trajectories
from ntkrepro.config import identity
from ntkrepro.config.compose import compose
from ntkrepro.config.schema import Log, Optimizer
from ntkrepro.data import load
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.figures.save import draw
from ntkrepro.programs import setup
from ntkrepro.programs.run import compute
from ntkrepro.programs.setup import log_steps
from ntkrepro.records import store
from ntkrepro.records.tables import series, table
from ntkrepro.theory.kernels import empirical
from tests.conftest import TINY


def run(tmp_path, *overrides, said=None):
    chosen = compose(["scale=smoke", f"results={tmp_path}", *overrides])
    said = [] if said is None else said
    return store.read(compute(chosen, said.append))


def last(record, model, quantity, split="test"):
    return series(record, model, quantity, split)["value"].iloc[-1]


def test_a_run_logs_what_the_figures_need(tmp_path):
    record = run(tmp_path)
    rows = record.rows
    models = {"network", "ntk_empirical", "ntk_analytic", "data"}
    assert set(rows["model"]) == models
    both = ("loss", "accuracy", "output", "output_rms", "example_loss", "example_correct")
    network = {*both, "weight", "weight_change", "ntk_change", "nngp_change", "ntk_distance"}
    stability = {"lambda_max", "lambda_min", "kernel_rate", "lr_critical"}
    assert set(rows[rows["model"] == "network"]["quantity"]) == network | stability
    analytic = set(rows[rows["model"] == "ntk_analytic"]["quantity"])
    assert analytic == {*both, "rmse"} | stability
    assert rows["value"].notna().all()
    steps = log_steps(Optimizer(steps=32), Log(points=8))
    assert list(series(record, "network", "loss", "train")["step"]) == steps


NORMED = ("log.norms=true", "linearized.analytic=false", "precision=float64", "model.b_var=0")


def test_norms_are_what_relative_changes_are_relative_to(tmp_path):
    words = (*NORMED, "data.subspace=false")
    record, own = run(tmp_path, *words), compose(["scale=smoke", *words])
    with jax.enable_x64(True):
        ready = setup.prepare(own)
        kernel = np.asarray(empirical.ntk(ready.model, ready.params0, ready.x_train))
    norms = np.array(list(ready.norms.values()))
    changes = record.rows[record.rows["quantity"] == "weight_change"]
    changes = changes[changes["model"] == "network"].pivot(
        index="step", columns="index", values="value"
    )
    rms = np.sqrt(((changes.to_numpy() * norms) ** 2).sum(1))
    named = ("parameter_distance", "ntk_frobenius", "ntk_largest", "ntk_change")
    moved, absolute, largest, relative = (
        series(record, "network", name, "train")["value"].to_numpy() for name in named
    )
    np.testing.assert_allclose(moved, rms, rtol=1e-6)
    np.testing.assert_allclose(absolute, relative * np.linalg.norm(kernel), rtol=1e-6)
    assert largest[0] == pytest.approx(last(record, "network", "lambda_max", "train"))
    assert moved[-1] > moved[0] == 0


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("JAX_DEFAULT_PRNG_IMPL", "rbg"),
        ("JAX_THREEFRY_PARTITIONABLE", "0"),
        ("JAX_RANDOM_SEED_OFFSET", "7"),
        ("JAX_ENABLE_CUSTOM_PRNG", "1"),
        ("JAX_ENABLE_X64", "1"),
        ("JAX_DISABLE_JIT", "1"),
        ("JAX_NUMPY_RANK_PROMOTION", "raise"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16"),
        ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1"),
    ],
)
def test_no_flag_of_jax_changes_a_record(tmp_path, flag, value):
    """Each sets a flag before JAX is imported, in a process of its own."""
    words = ["scale=smoke", *TINY]
    code = "import sys; from ntkrepro.cli import main; sys.argv[1:1] = ['run']; main()"
    environment = {key: v for key, v in os.environ.items() if not key.startswith("JAX_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=environment | {flag: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (there,) = (tmp_path / "results/runs").glob("*.parquet")
    here = run(tmp_path / "here", *TINY)
    assert here.id == there.stem
    pd.testing.assert_frame_equal(store.read(there).rows, here.rows)


def test_rmse_is_that_of_the_outputs_against_the_network(tmp_path):
    record = run(tmp_path)
    gap = table(record, "ntk_empirical", "output", "test") - table(
        record, "network", "output", "test"
    )
    expected = np.sqrt((gap**2).mean(axis=1))
    logged = series(record, "ntk_empirical", "rmse", "test")["value"]
    assert np.allclose(logged, expected, rtol=1e-6, atol=1e-12)
    assert logged.iloc[-1] > 0.01


def test_loss_and_accuracy_are_those_of_the_outputs(tmp_path):
    record = run(tmp_path)
    f, rows = table(record, "network", "output", "test").to_numpy(), record.rows
    y = rows[(rows["quantity"] == "target") & (rows["split"] == "test")]["value"].to_numpy()
    assert np.allclose(
        series(record, "network", "loss", "test")["value"], 0.5 * ((f - y) ** 2).mean(1)
    )
    assert np.allclose(series(record, "network", "accuracy", "test")["value"], (f * y > 0).mean(1))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("experiment_name", ["digits", "fc_cifar_standard"])
def test_function_space_is_weight_space(tmp_path, tfds_dir, experiment_name, precision):
    """Outputs, weights and their change, logged by the two ways."""
    overrides = (f"experiment={experiment_name}", "linearized.space=both", f"precision={precision}")
    record = run(tmp_path, *overrides)
    tolerance = 1e-10 if precision == "float64" else 2e-4
    for quantity, split in (
        ("output", "train"),
        ("output", "test"),
        ("weight", ""),
        ("weight_change", ""),
    ):
        trained, predicted = (
            table(record, m, quantity, split) for m in ("linearized", "ntk_empirical")
        )
        gap = np.abs(trained - predicted).to_numpy().max() / np.abs(predicted).to_numpy().max()
        assert gap < tolerance, (quantity, split)


def test_a_wide_network_is_closer_to_its_linearization(tmp_path):
    narrow, wide = (run(tmp_path, f"model.width={n}") for n in (32, 512))
    assert last(wide, "ntk_empirical", "rmse") < 0.5 * last(narrow, "ntk_empirical", "rmse")


OFF_THE_KERNEL = (
    ("optimizer.name=adam", "optimizer.lr=0.01"),
    ("optimizer.weight_decay=0.01",),
    ("data.augment=true", "data.subspace=false"),
    ("optimizer.layer_rates=S33", "optimizer.lr=0.001"),
)


@pytest.mark.parametrize("overrides", OFF_THE_KERNEL, ids=" ".join)
def test_what_the_kernel_alone_does_not_decide_is_trained_for_both(tmp_path, overrides):
    record = run(tmp_path, *overrides)
    assert {"network", "linearized"} < set(record.rows["model"])
    assert "ntk_empirical" not in set(record.rows["model"])
    for model in ("network", "linearized"):
        assert last(record, model, "loss", "train") < 0.9 * first(record, model)
    with pytest.raises(UserError, match=r"linearized\.space=function.*linearized\.space=weights"):
        run(tmp_path, *overrides, "linearized.space=function")


def first(record, model):
    return series(record, model, "loss", "train")["value"][0]


@pytest.mark.parametrize("batch", ["null", "4"])
@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_momentum_minibatches_and_cross_entropy_in_both_spaces(tmp_path, loss, batch):
    """Function space, where the default runs them, is the training of the linearized network."""
    overrides = (
        f"loss.name={loss}",
        f"optimizer.batch={batch}",
        "optimizer.momentum=0.5",
        "data.targets=onehot",
        "precision=float64",
    )
    record = run(tmp_path, *overrides, "linearized.space=both")
    pair = [table(record, m, "output", "test") for m in ("linearized", "ntk_empirical")]
    assert np.abs(pair[0] - pair[1]).to_numpy().max() < 1e-9
    assert last(record, "linearized", "loss", "train") < 0.7 * first(record, "linearized")
    alone = run(tmp_path, *overrides)
    assert set(alone.rows["model"]) == {"network", "ntk_empirical", "ntk_analytic", "data"}


@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_the_flow_is_near_the_steps_with_and_without_a_stored_kernel(tmp_path, monkeypatch, loss):
    overrides = (f"loss.name={loss}", "data.targets=onehot", "optimizer.lr=0.02")
    steps, flow = (
        table(run(tmp_path, *overrides, f"linearized.flow={on}"), "ntk_empirical", "output", "test")
        for on in ("false", "true")
    )
    assert 1e-6 < np.abs(flow - steps).to_numpy().max() < 0.02
    monkeypatch.setattr(setup, "FUNCTION_SPACE", 8)
    free = run(tmp_path, *overrides, "linearized.flow=true")
    assert set(free.rows["model"]) == {"network", "ntk_empirical", "data"}
    assert np.abs(table(free, "ntk_empirical", "output", "test") - flow).to_numpy().max() < 1e-4


def test_a_flow_of_minibatches_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"linearized\.flow=true.*optimizer\.batch=null"):
        run(tmp_path, "linearized.flow=true", "optimizer.batch=4")


@pytest.mark.parametrize("space", ["function", "both"])
def test_a_kernel_too_large_is_refused_before_the_data_are_read(tmp_path, monkeypatch, space):
    monkeypatch.setattr(load, "load", None)
    words = ("data.name=cifar10", "data.classes=[]", "data.targets=onehot", "data.train=50000")
    with pytest.raises(UserError, match=rf"linearized\.space={space}: the kernel of .* = 500000"):
        run(tmp_path, *words, "model.width=8", f"linearized.space={space}")


def test_loss_is_measured_on_the_first_train_points(tmp_path):
    whole, part = run(tmp_path), run(tmp_path, "log.train=5")
    f = table(whole, "network", "output", "train").to_numpy()[:, :5]
    y = whole.rows[(whole.rows["quantity"] == "target") & (whole.rows["split"] == "train")]
    expected = 0.5 * ((f - y["value"].to_numpy()[:5]) ** 2).mean(1)
    for model in ("network", "ntk_empirical"):
        assert len(table(part, model, "output", "train").columns) == 5
    assert np.allclose(series(part, "network", "loss", "train")["value"], expected)


CONVOLUTIONS = (
    ("model.architecture=cnn", "linearized.space=both"),
    ("model.architecture=wrn", "model.norm=none", "linearized.space=both", "model.depth=1"),
    ("model.architecture=wrn", "log.kernel=false", "log.batch=4", "model.depth=1"),
    ("model.architecture=wrn", "log.kernel=false", "linearized.space=both", "model.depth=1"),
)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", CONVOLUTIONS, ids=" ".join)
def test_convolutional_networks_train_beside_their_linearization(tmp_path, overrides):
    record = run(
        tmp_path,
        *overrides,
        "model.width=4",
        "data.subspace=false",
        "linearized.analytic=false",
        "optimizer.momentum=0.9",
        "precision=float64",
    )
    for model in ("network", "linearized"):
        assert last(record, model, "loss", "train") < 0.9 * first(record, model)
    if "linearized.space=both" in overrides:
        pair = [table(record, m, "output", "test") for m in ("linearized", "ntk_empirical")]
        assert np.abs(pair[0] - pair[1]).to_numpy().max() < 1e-9


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("model.architecture=cnn",), "linearized.analytic=true: model.architecture=cnn"),
        (
            ("model.architecture=wrn", "log.kernel=false", "linearized.space=both", "log.batch=4"),
            "linearized.space=both: BatchNorm .* log.batch and .* linearized.space=weights",
        ),
    ],
)
def test_kernels_that_do_not_exist_are_refused(tmp_path, overrides, told):
    with pytest.raises(UserError, match=told):
        run(tmp_path, *overrides, "model.width=4", "model.depth=1", "data.subspace=false")


def test_a_rate_above_the_critical_one_is_told_before_training(tmp_path):
    said = []
    record = run(tmp_path, "optimizer.lr=0.5", "optimizer.steps=8", said=said)
    for line, model in zip(said, ("network", "ntk_analytic"), strict=True):
        critical = last(record, model, "lr_critical", "train")
        assert critical < 0.5
        assert f"the critical learning rate {critical:.4g} of {model}'s kernel" in line


@pytest.mark.parametrize(
    "words", [("optimizer.lr=50", "model.activation=identity"), ("optimizer.lr=1e9",)]
)
def test_divergence_ends_the_run_without_a_record(tmp_path, words):
    """Of its outputs, or first of its kernel."""
    with pytest.raises(RunFailed, match=r"diverged between step \d+ and step \d+: optimizer\.lr="):
        run(tmp_path, *words)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_run_is_hashed_once(tmp_path, monkeypatch):
    hashed = []
    own = identity.run_id
    monkeypatch.setattr(identity, "run_id", lambda e: hashed.append(e) or own(e))
    run(tmp_path)
    assert len(hashed) == 1


def test_weight_change_is_relative_to_the_whole_first_layer(tmp_path, tfds_dir):
    """With and without the input subspace it has the same size: the hidden part counts in |W_0|."""
    changes = [
        table(
            run(tmp_path, "experiment=fc_cifar", f"data.subspace={s}"), "network", "weight_change"
        )
        for s in ("true", "false")
    ]
    first = [change[0].iloc[-1] for change in changes]
    assert first[0] == pytest.approx(first[1], rel=0.5)


def test_single_examples_are_left_out_where_they_are_not_asked_for(tmp_path):
    whole, short = (run(tmp_path, f"log.examples={asked}") for asked in ("true", "false"))
    single = whole.rows["quantity"].isin(["example_loss", "example_correct", "output", "target"])
    assert single.any()
    rest = whole.rows[~single].reset_index(drop=True)
    pd.testing.assert_frame_equal(short.rows, rest, check_categorical=False)
    whole, short = (trajectories.loss_and_accuracy_agree([r], "4c") for r in (whole, short))
    assert whole
    assert not short


@pytest.mark.parametrize("space", ["function", "weights"])
def test_weights_are_left_out_where_they_are_not_asked_for(tmp_path, space):
    words = [f"linearized.space={space}", "log.weights=0"]
    whole, short = run(tmp_path, words[0]), run(tmp_path, *words)
    of_weights = whole.rows["quantity"].isin(["weight", "weight_change"])
    assert of_weights.any()
    rest = whole.rows[~of_weights].reset_index(drop=True)
    pd.testing.assert_frame_equal(short.rows, rest, check_categorical=False)
    with pytest.raises(UserError, match=r"log\.weights=0: run \w+ has no weight"):
        draw(["digits"], ["scale=smoke", f"results={tmp_path}", *words])
