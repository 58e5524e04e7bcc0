"""How closely a network's training follows its linearization: Figures 4 to 7, S2 and S5.

`records` are of one experiment, a network each.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import SIZE, Estimate, Sample, bootstrap, of_means
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, outputs_per_example, select, series, table

EARLY = 64  # steps within which 7a looks for a dip and a rebound
Records = Sequence[Record]


def networks(records: Records) -> Sample:
    """What an interval is of: of a single network, of its test points."""
    if len(records) > 1:
        return Sample(len(records), "networks")
    return Sample(records[0].config["data"]["test"], "test points")


def squared_errors(record: Record, model: str, split: str = "test") -> pd.DataFrame:
    """(f_model - f_network)^2 of the kept examples [time, index]."""
    return (table(record, model, "output", split) - table(record, "network", "output", split)) ** 2


def empirical_beats_analytic(records: Records) -> Claim:
    """4a: the largest ratio RMSE(empirical) / RMSE(analytic) from time 1 on.

    No verdict where one of the two kernels' dynamics or times from 1 on are missing.
    """
    models = ("ntk_empirical", "ntk_analytic")
    errors = [[squared_errors(r, m).loc[1.0:].to_numpy() for r in records] for m in models]
    present = all(set(models) <= set(record.rows["model"]) for record in records)
    present = present and all(len(error) > 0 for error in errors[0])
    ratio = intervals.NONE
    if present:
        ratio = of_means(lambda e, a: np.sqrt((e / a).max(0)), *errors)
    return judged("4a", ratio, records, checkable=present, sample=networks(records))


def plateau_is_small(records: Records) -> Claim:
    """4b: final test RMSE against the linearization, over the rms of the network's outputs."""
    errors = [squared_errors(r, linear_model(r)).to_numpy()[-1:] for r in records]
    squares = [table(r, "network", "output", "test").to_numpy()[-1:] ** 2 for r in records]
    share = of_means(lambda e, f: np.sqrt(e / f)[0], errors, squares)
    return judged("4b", share, records, sample=networks(records))


def loss_and_accuracy_agree(records: Records, name: str) -> list[Claim]:
    """4c, 5a, 6a, 7b, S2a: largest gap of test accuracy, and of test loss over its initial value.

    None where a record has no single examples (log.examples); of real targets, the loss alone.
    """
    if any(select(record, "network", "example_loss", "test").empty for record in records):
        return []
    found = []
    for what, gap in (("accuracy", accuracy_gap), ("loss", loss_gap)):
        values = [
            [table(r, m, QUANTITIES[what], "test").to_numpy() for r in records]
            for m in ("network", linear_model(records[0]))
        ]
        if values[0][0].size:
            sample, gaps = networks(records), of_means(gap, *values)
            found.append(judged(f"{name} {what}", gaps, records, sample=sample))
    return found


QUANTITIES = {"accuracy": "example_correct", "loss": "example_loss"}


def accuracy_gap(network: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """In points."""
    return 100 * np.abs(network - linear).max(0)


def loss_gap(network: np.ndarray, linear: np.ndarray) -> np.ndarray:
    return np.abs(network - linear).max(0) / network[0]


def logits_follow(records: Records) -> Claim:
    """6b: largest RMSE of the test logits over their rms, over the whole run."""
    errors: list[np.ndarray] = []
    squares: list[np.ndarray] = []
    for record in records:
        k, error = outputs_per_example(record), squared_errors(record, linear_model(record))
        outputs = table(record, "network", "output", "test") ** 2
        for values, found in ((error, errors), (outputs, squares)):
            found.append(values.to_numpy().reshape(len(values), -1, k).mean(-1))
    largest = of_means(lambda e, f: np.sqrt((e / f).max(0)), errors, squares)
    return judged("6b", largest, records, sample=networks(records))


def loss_curves_agree(records: Records) -> list[Claim]:
    """7a: rank correlation of the two train loss curves, and where and how far both dip and
    rebound."""
    models = ("network", linear_model(records[0]))
    curves = [[series(r, m, "loss", "train") for r in records] for m in models]
    pairs = zip(*curves, strict=True)
    each = [correlation(*(curve["value"][1:] for curve in pair)) for pair in pairs]
    shape = intervals.over_networks(np.array(each), bounds=(-1, 1))
    claims = [judged("7a shape", shape, records, sample=networks(records))]
    for model, own in zip(("network", "linearization"), curves, strict=True):
        seen = np.array([dip(curve) for curve in own])
        for i, (what, (bounds, grain)) in enumerate(DIP.items()):
            found = intervals.over_networks(seen[:, i], bounds=bounds, grain=grain)
            claims.append(judged(what, found, records, at=model, sample=networks(records)))
    return claims


DIP = {  # claim -> what its value can be, and what it is known to
    "7a dip step": (SIZE, 1.0),
    "7a dip": ((0.0, 1.0), 0.0),
    "7a peak step": (SIZE, 1.0),
    "7a rebound": ((1.0, math.inf), 0.0),
}


def dip(curve: pd.DataFrame) -> tuple[float, ...]:
    """Of the largest rise after a dip within the first steps: the dip's step and its loss over the
    first one, the peak's step and its loss over the dip's."""
    early = curve[curve["step"] <= EARLY]
    loss, step = early["value"].to_numpy(), early["step"].to_numpy()
    if not np.isfinite(loss).all():
        return (np.nan,) * len(DIP)
    peak = int((loss / np.minimum.accumulate(loss)).argmax())
    low = int(loss[: peak + 1].argmin())
    return float(step[low]), loss[low] / loss[0], float(step[peak]), loss[peak] / loss[low]


def correlation(a: pd.Series, b: pd.Series) -> float:
    """Spearman's; not a number beside a constant."""
    return float(a.reset_index(drop=True).corr(b.reset_index(drop=True), method="spearman"))


def weights_follow(records: Records) -> Claim:
    """4d: median over weights of |omega_network - omega_linear| / |omega_network| at the last step.

    Weights of units that are dead on all train points never move in either model: left out. No
    verdict where no other is kept.
    """
    each = [weight_errors(record) for record in records]
    moved, found = all(map(len, each)), intervals.NONE
    sample = networks(records)
    if moved and len(each) == 1:
        (own,) = each
        interval = bootstrap(lambda items: np.median(own[items], axis=-1), len(own))
        found, sample = Estimate(float(np.median(own)), interval), Sample(len(own), "weights")
    elif moved:
        found = intervals.over_networks(np.array(list(map(np.median, each))), bounds=SIZE)
    return judged("4d", found, records, checkable=moved, sample=sample)


def weight_errors(record: Record) -> np.ndarray:
    """Relative error of every weight's displacement that isn't zero in both models."""
    models = ("network", linear_model(record))
    network, linear = (table(record, model, "weight").to_numpy()[-1] for model in models)
    moved = (network != 0) | (linear != 0)
    with np.errstate(divide="ignore"):
        return np.abs(linear - network)[moved] / np.abs(network)[moved]


def deviation(record: Record, split: str) -> pd.DataFrame:
    """RMSE of network and linearization over the rms of the network's outputs, by step."""
    rmse = series(record, linear_model(record), "rmse", split)
    rms = series(record, "network", "output_rms", split)
    return rmse.assign(value=rmse["value"] / rms["value"])


def wider_deviates_later(records: Records) -> Claim:
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
    return judged("S5a", records=records, **exponents.measured(frame, "width"))
