"""The paper's claims as numbers with intervals and verdicts, from records alone.

A claim on a deviation that shrinks with width has a verdict at paper scale only; elsewhere its
value is shown without one. Intervals are 95 % bootstrap intervals over test points or weights.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ntkrepro import slopes
from ntkrepro.errors import UserError
from ntkrepro.records import Record
from ntkrepro.slopes import Slope

REPRODUCED, FAILED, UNCHECKABLE = "reproduced", "not reproduced", "not checkable at this scale"
RESAMPLES = 2000


class Claim(NamedTuple):
    """One statement: `value` with its `interval` against `threshold`, and the verdict."""

    id: str
    statement: str
    source: str
    value: float
    interval: tuple[float, float]
    threshold: str
    verdict: str


def verdict(holds: bool, checkable: bool = True) -> str:
    if not checkable:
        return UNCHECKABLE
    return REPRODUCED if holds else FAILED


def series(record: Record, model: str, quantity: str, split: str = "") -> pd.DataFrame:
    """time, step and value of a scalar quantity, in order."""
    rows = select(record, model, quantity, split)
    return rows[["time", "step", "value"]].reset_index(drop=True)


def select(record: Record, model: str, quantity: str, split: str = "") -> pd.DataFrame:
    """Raises UserError for single outputs, or weights, of a record that was made without them
    (log.examples, log.weights)."""
    rows, log = record.rows, record.config.get("log", {})
    if quantity in ("output", "target") and not log.get("examples", True):
        raise UserError(
            f"log.examples=false: run {record.id} has no single outputs, which this figure shows; "
            "leave it out"
        )
    if quantity in ("weight", "weight_change") and log.get("weights") == 0:
        raise UserError(
            f"log.weights=0: run {record.id} has no weights, which this figure shows; leave it out"
        )
    wanted = (rows["model"] == model) & (rows["quantity"] == quantity) & (rows["split"] == split)
    return rows[wanted]


def table(record: Record, model: str, quantity: str, split: str = "") -> pd.DataFrame:
    """An indexed quantity as [time, index]."""
    return select(record, model, quantity, split).pivot(
        index="time", columns="index", values="value"
    )


def linear_model(record: Record) -> str:
    """The linearization to compare with: trained if it was, else from the empirical kernel."""
    return "linearized" if "linearized" in record.rows["model"].unique() else "ntk_empirical"


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> tuple[float, float]:
    """95 % percentile interval of statistic(indices [r, count]) -> [r] over resampled indices."""
    return percentiles(statistic(resampled(count)))


def resampled(count: int) -> np.ndarray:
    """RESAMPLES rows of `count` indices."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def percentiles(draws: Any) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


Means = Callable[..., np.ndarray]  # of mean values [t, r] a statistic [r]


def of_means(statistic: Means, *values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The statistic of the means over items of `values` [t, items], and its `bootstrap` interval.

    All resamples at once: each is a row of how often it has every item.
    """
    count = values[0].shape[1]
    own = resampled(count) + count * np.arange(RESAMPLES)[:, None]  # a row's own bins
    share = np.bincount(own.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, -1) / count
    value = statistic(*(v.mean(1, keepdims=True) for v in values))[0]
    return float(value), percentiles(statistic(*(v @ share.T for v in values)))


def squared_errors(record: Record, model: str, split: str = "test") -> pd.DataFrame:
    """(f_model - f_network)^2 of the kept examples [time, index]."""
    return (table(record, model, "output", split) - table(record, "network", "output", split)) ** 2


def empirical_beats_analytic(record: Record) -> Claim:
    """4a: the largest ratio RMSE(empirical) / RMSE(analytic) from time 1 on is below 1.

    No verdict where one of the two kernels' dynamics or times from 1 on are missing.
    """
    empirical, analytic = (
        squared_errors(record, model).loc[1.0:].to_numpy()
        for model in ("ntk_empirical", "ntk_analytic")
    )

    kernels = {"ntk_empirical", "ntk_analytic"}
    present = kernels <= set(record.rows["model"]) and len(empirical) > 0
    value, interval = float("nan"), (float("nan"), float("nan"))
    if present:
        value, interval = of_means(lambda e, a: np.sqrt((e / a).max(0)), empirical, analytic)
    return Claim(
        "4a",
        "The empirical kernel predicts the outputs better than the analytic one from time 1 on: "
        "largest RMSE ratio",
        "§3.3, Figure 4",
        value,
        interval,
        "< 1",
        verdict(value < 1, present),
    )


def plateau_is_small(record: Record) -> Claim:
    """4b: final test RMSE against the linearization, over the rms of the network's outputs."""
    errors = squared_errors(record, linear_model(record)).to_numpy()[-1:]
    outputs = table(record, "network", "output", "test").to_numpy()[-1:]
    value, interval = of_means(lambda e, f: np.sqrt(e / f)[0], errors, outputs**2)
    return Claim(
        "4b",
        "The RMSE stays small: plateau over the rms of the test outputs",
        "Figure 4",
        value,
        interval,
        "< 0.25",
        verdict(value < 0.25, record.paper),
    )


def loss_and_accuracy_agree(record: Record, name: str, source: str) -> list[Claim]:
    """4c, 6a, S2a: largest gap of test accuracy, and of test loss over its initial value.

    None where the record has no single examples (log.examples).
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

    gaps = (
        ("accuracy", "largest gap of test accuracy, points", accuracy_gap, right, 3.0, "≤ 3"),
        ("loss", "largest gap of test loss over its initial value", loss_gap, losses, 0.1, "≤ 0.1"),
    )
    out = []
    for what, words, gap, values, limit, threshold in gaps:
        value, interval = of_means(gap, *values)
        out.append(
            Claim(
                f"{name} {what}",
                f"Network and linearization agree: {words}",
                source,
                value,
                interval,
                threshold,
                verdict(value <= limit, record.paper),
            )
        )
    return out


def outputs_per_example(record: Record) -> int:
    """k, from the targets of the kept examples."""
    config, targets = record.config, select(record, "data", "target", "test")
    return len(targets) // min(config["log"]["outputs"], config["data"]["test"])


FITTED = 0.95  # train accuracy up to which 6b holds the logits to their linearization


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

    value, interval = of_means(lambda e, f: np.sqrt((e / f).max(0)), squares, outputs)
    return Claim(
        "6b",
        "Momentum, minibatches and cross entropy stay linear until train accuracy is 95 % "
        f"(step {accuracy['step'][last]}): largest RMSE of the logits over their rms",
        "§3.3, Figure 6",
        value,
        interval,
        "≤ 0.1",
        verdict(value <= 0.1, record.paper and bool(fitted.any())),
    )


EARLY, REBOUND = 64, 1.1  # steps within which 7a looks for a rise by this factor after a dip


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

    value = float(correlation(np.arange(count)))
    rebounds = [rebound(curve) for curve in curves]
    smaller = min(rebounds)
    return [
        Claim(
            "7a shape",
            "Both train loss curves have the same shape: their rank correlation",
            "Figure 7",
            value,
            bootstrap(correlation, count),
            "≥ 0.95",
            verdict(value >= 0.95, record.paper),
        ),
        Claim(
            "7a rebound",
            f"Both train losses dip and rebound within {EARLY} steps: the smaller rise of the two "
            "after its dip",
            "Figure 7",
            smaller,
            (smaller, smaller),
            f"≥ {REBOUND}",
            verdict(smaller >= REBOUND, record.paper),
        ),
    ]


def rebound(curve: pd.DataFrame) -> float:
    """Largest ratio of a later to an earlier loss within the first steps."""
    early = curve["value"][curve["step"] <= EARLY]
    return float((early / early.cummin()).max())


def weights_follow(record: Record) -> Claim:
    """4d: median over weights of |omega_network - omega_linear| / |omega_network| at the last step.

    Weights of units that are dead on all train points never move in either model: left out.
    """
    models = ("network", linear_model(record))
    network, linear = (table(record, model, "weight").to_numpy()[-1] for model in models)
    moved = (network != 0) | (linear != 0)
    with np.errstate(divide="ignore"):
        errors = np.abs(linear - network)[moved] / np.abs(network)[moved]

    value = float(np.median(errors))
    return Claim(
        "4d",
        "Individual weights follow Eq. 9: median relative error of their displacement at the end",
        "Figure 4, Eq. 9",
        value,
        bootstrap(lambda items: np.median(errors[items], axis=-1), len(errors)),
        "≤ 0.1",
        verdict(value <= 0.1, record.paper),
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
    rows = []
    for record in records:
        line = deviation(record, "test")
        passed = line["step"][line["value"] >= 0.1]
        step = passed.iloc[0] if len(passed) else line["step"].iloc[-1]
        rows.append({"width": record.config["model"]["width"], "value": step})
    slope = slopes.of(pd.DataFrame(rows), "width")
    return Claim(
        "S5a",
        "Logits leave their linearization later in wider networks: slope in n of the step at which "
        "the deviation passes 10 % of their rms",
        "Figure S5",
        slope.value,
        slope.interval,
        "> 0 with 95 % confidence",
        verdict(slope.interval[0] > 0, bool(np.isfinite(slope.value))),
    )


def collect(records: list[Record], quantity: str) -> pd.DataFrame:
    """Rows of one quantity over a sweep, with each run's width, depth and seed as columns."""
    frames = []
    for record in records:
        rows, model = record.rows, record.config["model"]
        chosen = rows[rows["quantity"] == quantity]
        columns = {key: model[key] for key in ("width", "depth")}
        frames.append(chosen.assign(**columns, seed=record.config["seed"]))
    return pd.concat(frames, ignore_index=True)


def final(records: list[Record], quantity: str) -> pd.DataFrame:
    """The rows of each run's last step."""
    rows = collect(records, quantity)
    return rows[rows["step"] == rows.groupby(["width", "depth", "seed"])["step"].transform("max")]


def in_band(slope: Slope, target: float, half: float) -> bool:
    return abs(slope.value - target) <= half


def sharp(slope: Slope, half: float) -> bool:
    """Whether the interval is no wider than the band; else the runs are too few for a verdict."""
    return slope.interval[1] - slope.interval[0] <= 2 * half


def slope_claim(
    name: str, statement: str, source: str, slope: Slope, target: float, half: float
) -> Claim:
    """A claim that an exponent lies in target ± half."""
    threshold = f"{target:g} ± {half:g}"
    holds = verdict(in_band(slope, target, half), sharp(slope, half))
    return Claim(name, statement, source, slope.value, slope.interval, threshold, holds)


def convergence_claims(records: list[Record]) -> list[Claim]:
    """1a, 1b: exponents in width for every M and depth, and 1c: in M; the one furthest off."""
    claims, in_m = [], []
    for name, kernel, letter in (("1a", "nngp", "K"), ("1b", "ntk", "Θ")):
        rows = collect(records, f"{kernel}_error")
        for depth, errors in rows.groupby("depth"):
            fits = [slopes.of(group, "width") for _, group in errors.groupby("index")]
            what = f"|{letter}̂ - {letter}| = O(n^-1/2), L={depth}: slope in n, the worst of all M"
            worst = slopes.worst(fits, -0.5)
            claims.append(slope_claim(f"{name} L={depth}", what, "§3.1", worst, -0.5, 0.1))
        in_m += [slopes.of(g, "index") for _, g in rows.groupby(["depth", "width"])]
    what = "The error falls with the number of samples: slope in M, the worst width and kernel"
    worst = slopes.worst(in_m, -0.5)
    return [*claims, slope_claim("1c", what, "Figure 1", worst, -0.5, 0.1)]


def change_claims(records: list[Record]) -> list[Claim]:
    """2a: weights move as n^-1/2; 2b, 2c: kernels by at most n^-1/2, close to n^-1."""
    weights = final(records, "weight_change")
    readout = weights["index"] == weights.groupby("width")["index"].transform("max")
    groups = (("readout", weights[readout]), ("other", weights[~readout]))
    claims = []
    for layers, rows in groups:
        what = f"Change of {layers} weights ~ n^-1/2: slope"
        slope = slopes.of(rows, "width")
        claims.append(slope_claim(f"2a {layers}", what, "Figure 2", slope, -0.5, 0.15))
    for name, kernel, letter in (("2b", "ntk", "Θ̂"), ("2c", "nngp", "K̂")):
        slope = slopes.of(final(records, f"{kernel}_change"), "width")
        what = f"Change of {letter} bounded by n^-1/2, close to n^-1: slope"
        holds = slope.value <= -0.5 and in_band(slope, -1, 0.35)
        threshold = "≤ -0.5 and -1 ± 0.35"
        claims.append(
            Claim(
                name,
                what,
                "Figure 2",
                slope.value,
                slope.interval,
                threshold,
                verdict(holds, sharp(slope, 0.35)),
            )
        )
    return claims


def final_rmse(records: list[Record]) -> pd.DataFrame:
    """Test RMSE to the linearization at each run's end: width, depth, train (|D|), seed, value."""
    rows = []
    for record in records:
        model, line = record.config["model"], series(record, linear_model(record), "rmse", "test")
        keys = {key: model[key] for key in ("width", "depth")}
        keys |= {"train": record.config["data"]["train"], "seed": record.config["seed"]}
        rows.append(keys | {"value": line["value"].iloc[-1]})
    return pd.DataFrame(rows)


def rmse_claims(records: dict[str, list[Record]]) -> list[Claim]:
    """8a: RMSE ~ 1/n at every depth; 8b: ~ |D|; 8c, 8d: falls with width. One for each line."""
    claims = []
    for depth, rows in _lines(records.get("rmse_fc_depth"), "depth"):
        what = f"Fully connected, L={depth}: final RMSE ~ 1/n: slope in n"
        slope = slopes.of(rows, "width")
        claims.append(slope_claim(f"8a L={depth}", what, "§3.3.1, Figure 8", slope, -1, 0.3))
    for width, rows in _lines(records.get("rmse_fc_data"), "width"):
        what = f"Fully connected, n={width}: final RMSE ~ |D|: slope in |D|"
        slope = slopes.of(rows, "train")
        claims.append(slope_claim(f"8b n={width}", what, "§3.3.1, Figure 8", slope, 1, 0.4))
    for name, words, experiment in (
        ("8c", "Convolutional, L", "rmse_cnn"),
        ("8d", "Wide residual, N", "rmse_wrn"),
    ):
        for depth, rows in _lines(records.get(experiment), "depth"):
            slope = slopes.of(rows, "width")
            claims.append(
                Claim(
                    f"{name} {words[-1]}={depth}",
                    f"{words}={depth}: final RMSE falls with width: slope in n",
                    "Figure 8",
                    slope.value,
                    slope.interval,
                    "< 0 with 95 % confidence",
                    verdict(slope.interval[1] < 0, bool(np.isfinite(slope.value))),
                )
            )
    return claims


def _lines(runs: list[Record] | None, by: str) -> Iterable[tuple[Any, pd.DataFrame]]:
    """Final RMSE of an experiment's runs, a line of the figure each; none where it wasn't run."""
    return final_rmse(runs).groupby(by) if runs else ()
