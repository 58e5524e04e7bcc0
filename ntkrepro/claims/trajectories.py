"""How closely a network's training follows its linearization: Figures 4 to 7, S2 and S5."""

import numpy as np
import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim, Sample
from ntkrepro.claims.criterion import above, at_least, at_most, below
from ntkrepro.claims.intervals import bootstrap, of_means
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, outputs_per_example, select, series, table

FITTED = 0.95  # train accuracy up to which 6b holds the logits to their linearization
EARLY, REBOUND = 64, 1.1  # steps within which 7a looks for a rise by this factor after a dip


def squared_errors(record: Record, model: str, split: str = "test") -> pd.DataFrame:
    """(f_model - f_network)^2 of the kept examples [time, index]."""
    return (table(record, model, "output", split) - table(record, "network", "output", split)) ** 2


def empirical_beats_analytic(record: Record) -> Claim:
    """4a: the largest ratio RMSE(empirical) / RMSE(analytic) from time 1 on is below 1.

    No verdict where one of the two kernels' dynamics or times from 1 on are missing.
    """
    models = ("ntk_empirical", "ntk_analytic")
    errors = [squared_errors(record, model).loc[1.0:].to_numpy() for model in models]
    present = set(models) <= set(record.rows["model"]) and len(errors[0]) > 0
    ratio = intervals.NONE
    if present:
        ratio = of_means(lambda e, a: np.sqrt((e / a).max(0)), *errors)
    return Claim(
        "4a",
        "The empirical kernel predicts the outputs better than the analytic one from time 1 on: "
        "largest RMSE ratio",
        "§3.3, Figure 4",
        *ratio,
        below(1),
        present,
        Sample(errors[0].shape[1], "test outputs"),
    )


def plateau_is_small(record: Record) -> Claim:
    """4b: final test RMSE against the linearization, over the rms of the network's outputs."""
    errors = squared_errors(record, linear_model(record)).to_numpy()[-1:]
    outputs = table(record, "network", "output", "test").to_numpy()[-1:]
    return Claim(
        "4b",
        "The RMSE stays small: plateau over the rms of the test outputs",
        "Figure 4",
        *of_means(lambda e, f: np.sqrt(e / f)[0], errors, outputs**2),
        below(0.25),
        record.paper,
        Sample(errors.shape[1], "test outputs"),
    )


def loss_and_accuracy_agree(record: Record, name: str, source: str) -> list[Claim]:
    """4c, 6a, S2a: largest gap of test accuracy, and of test loss over its initial value.

    None where the record has no single examples (log.examples); of real targets, the loss alone.
    """
    models = ("network", linear_model(record))
    if select(record, models[0], "example_loss", "test").empty:
        return []
    right, losses = (
        [table(record, model, f"example_{what}", "test").to_numpy() for model in models]
        for what in ("correct", "loss")
    )

    def accuracy_gap(network: np.ndarray, linear: np.ndarray) -> np.ndarray:
        return 100 * np.abs(network - linear).max(0)

    def loss_gap(network: np.ndarray, linear: np.ndarray) -> np.ndarray:
        return np.abs(network - linear).max(0) / network[0]

    accuracy = ("accuracy", "test accuracy, points", accuracy_gap, right, at_most(3))
    loss = ("loss", "test loss over its initial value", loss_gap, losses, at_most(0.1))
    return [
        Claim(
            f"{name} {what}",
            f"Network and linearization agree: largest gap of {words}",
            source,
            *of_means(gap, *values),
            criterion,
            record.paper,
            Sample(values[0].shape[1], "test points"),
        )
        for what, words, gap, values, criterion in (accuracy, loss)
        if values[0].size
    ]


def logits_follow(record: Record) -> Claim:
    """6b: largest RMSE of the test logits over their rms until train accuracy reaches 95 %.

    No verdict where it never does.
    """
    k = outputs_per_example(record)
    accuracy = series(record, "network", "accuracy", "train")
    fitted = accuracy["value"] >= FITTED
    last = int(fitted.idxmax()) if fitted.any() else len(accuracy) - 1
    squares = squared_errors(record, linear_model(record)).to_numpy()[: last + 1]
    outputs = table(record, "network", "output", "test").to_numpy()[: last + 1] ** 2
    squares, outputs = (a.reshape(len(a), -1, k).mean(-1) for a in (squares, outputs))
    return Claim(
        "6b",
        "Momentum, minibatches and cross entropy stay linear until train accuracy is 95 % "
        f"(step {accuracy['step'][last]}): largest RMSE of the logits over their rms",
        "§3.3, Figure 6",
        *of_means(lambda e, f: np.sqrt((e / f).max(0)), squares, outputs),
        at_most(0.1),
        record.paper and bool(fitted.any()),
        Sample(squares.shape[1], "test points"),
    )


def loss_curves_agree(record: Record) -> list[Claim]:
    """7a: rank correlation of the two train loss curves, and the dip and rebound of both."""
    curves = [
        series(record, m, "loss", "train").iloc[1:] for m in ("network", linear_model(record))
    ]
    losses = np.stack([curve["value"] for curve in curves])
    count = losses.shape[1]

    def correlation(items: np.ndarray) -> np.ndarray:
        drawn = losses[:, items]
        ranks = pd.DataFrame(drawn.reshape(-1, count)).rank(axis=1).to_numpy().reshape(drawn.shape)
        network, linear = ranks - ranks.mean(-1, keepdims=True)
        covariance, scale = (network * linear).sum(-1), (network**2).sum(-1) * (linear**2).sum(-1)
        with np.errstate(invalid="ignore"):  # no correlation with a constant
            return covariance / np.sqrt(scale)

    smaller = float(np.min([rebound(curve) for curve in curves]))  # NaN stays NaN
    return [
        Claim(
            "7a shape",
            "Both train loss curves have the same shape: their rank correlation",
            "Figure 7",
            float(correlation(np.arange(count))),
            bootstrap(correlation, count),
            at_least(0.95),
            record.paper,
            Sample(count, "logged steps"),
        ),
        Claim(
            "7a rebound",
            f"Both train losses dip and rebound within {EARLY} steps: the smaller rise of the two "
            "after its dip",
            "Figure 7",
            smaller,
            (smaller, smaller),
            at_least(REBOUND),
            record.paper,
        ),
    ]


def rebound(curve: pd.DataFrame) -> float:
    """Largest ratio of a later to an earlier loss within the first steps."""
    early = curve["value"][curve["step"] <= EARLY]
    return float((early / early.cummin()).max(skipna=False))


def weights_follow(record: Record) -> Claim:
    """4d: median over weights of |omega_network - omega_linear| / |omega_network| at the last step.

    Weights of units that are dead on all train points never move in either model: left out. No
    verdict where no other is kept.
    """
    models = ("network", linear_model(record))
    network, linear = (table(record, model, "weight").to_numpy()[-1] for model in models)
    moved = (network != 0) | (linear != 0)
    with np.errstate(divide="ignore"):
        errors = np.abs(linear - network)[moved] / np.abs(network)[moved]
    found = intervals.NONE
    if moved.any():
        interval = bootstrap(lambda items: np.median(errors[items], axis=-1), len(errors))
        found = intervals.Estimate(float(np.median(errors)), interval)
    return Claim(
        "4d",
        "Individual weights follow Eq. 9: median relative error of their displacement at the end",
        "Figure 4, Eq. 9",
        *found,
        at_most(0.1),
        record.paper and bool(moved.any()),
        Sample(len(errors), "weights"),
    )


def deviation(record: Record, split: str) -> pd.DataFrame:
    """RMSE of network and linearization over the rms of the network's outputs, by step."""
    rmse = series(record, linear_model(record), "rmse", split)
    rms = series(record, "network", "output_rms", split)
    return rmse.assign(value=rmse["value"] / rms["value"])


def wider_deviates_later(records: list[Record]) -> Claim:
    """S5a: exponent in width of the first step at which the test deviation passes 10 %.

    A run that never passes counts with its last step, which can only lower the exponent.
    """
    rows: list[dict] = []
    for record in records:
        line = deviation(record, "test")
        passed = line["step"][line["value"] >= 0.1]
        step = passed.iloc[0] if len(passed) else line["step"].iloc[-1]
        step = np.nan if line["value"].isna().any() else step
        width, seed = record.config["model"]["width"], record.config["seed"]
        rows.append({"width": width, "seed": seed, "value": step})
    frame = pd.DataFrame(rows)
    return Claim(
        "S5a",
        "Logits leave their linearization later in wider networks: slope in n of the step at which "
        "the deviation passes 10 % of their rms",
        "Figure S5",
        *intervals.slope(frame, "width"),
        above(0),
        sample=intervals.seeds(frame),
    )
