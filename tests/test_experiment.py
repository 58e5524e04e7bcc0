"""Whole runs at smoke scale, in process."""

import numpy as np
import pytest

from ntkrepro import config, experiment, records
from ntkrepro.claims import series, table
from ntkrepro.errors import RunFailed, UserError


def run(tmp_path, *overrides, said=None):
    chosen = config.compose(["scale=smoke", f"results={tmp_path}", *overrides])
    said = [] if said is None else said
    return records.read(experiment.run(chosen, said.append))


def last(record, model, quantity, split="test"):
    return series(record, model, quantity, split)["value"].iloc[-1]


def test_a_run_logs_what_the_figures_need(tmp_path):
    record = run(tmp_path)
    rows = record.rows
    models = {"network", "ntk_empirical", "ntk_analytic", "data"}
    assert set(rows["model"]) == models
    both = ("loss", "accuracy", "output", "output_rms")
    network = {*both, "weight", "weight_change", "ntk_change", "nngp_change"}
    network |= {"lambda_max", "lambda_min", "lr_critical"}
    assert set(rows[rows["model"] == "network"]["quantity"]) == network
    analytic = set(rows[rows["model"] == "ntk_analytic"]["quantity"])
    assert analytic == {*both, "rmse"}
    assert rows["value"].notna().all()
    steps = config.log_steps(config.Optimizer(steps=32), config.Log(points=8))
    assert list(series(record, "network", "loss", "train")["step"]) == steps


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


def test_minibatches_momentum_and_cross_entropy_train_both_models(tmp_path):
    overrides = (
        "optimizer.batch=4",
        "optimizer.momentum=0.5",
        "loss.name=xent",
        "data.targets=onehot",
    )
    record = run(tmp_path, *overrides)
    for model in ("network", "linearized"):
        assert (
            last(record, model, "loss", "train")
            < 0.7 * series(record, model, "loss", "train")["value"][0]
        )


def test_function_space_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(UserError, match=r"linearized\.space=function.*linearized\.space=weights"):
        run(tmp_path, "linearized.space=function", "optimizer.momentum=0.9")


def test_a_rate_above_the_critical_one_is_told_before_training(tmp_path):
    said = []
    record = run(tmp_path, "optimizer.lr=1", said=said)
    assert "x the critical learning rate" in said[0]
    assert 1 / last(record, "network", "lr_critical", "train") > 1


def test_divergence_ends_the_run_without_a_record(tmp_path):
    with pytest.raises(
        RunFailed, match=r"diverged between step \d+ and step \d+: optimizer\.lr=50"
    ):
        run(tmp_path, "optimizer.lr=50", "model.activation=identity")
    assert not list(tmp_path.rglob("*.parquet"))


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
