"""In which phase gradient descent ends, by its learning rate over the critical one: Figure F4."""

from enum import Enum

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import NONE, Estimate, Sample
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, select, series

RISES = 1.01  # a loss so many times its least until then: below, rounding


class Phase(Enum):
    """What became of a run; `phase` is the rule."""

    stable = "stable"
    catapult = "catapult"
    divergent = "divergent"
    unsettled = "unsettled"


def phase(record: Record) -> Phase:
    """Divergent: it left what is recorded (docs/conventions.md). Stable: the train loss fell, and
    at no logged step was it RISES times its least until then. Catapult: it rose, but ends below its
    start, at a kernel whose largest eigenvalue has come down to where this rate is below critical.
    Else unsettled."""
    if diverged(record, "network"):
        return Phase.divergent
    loss = series(record, "network", "loss", "train")["value"]
    falls = loss.iloc[-1] < loss.iloc[0]
    if falls and rise(record) < RISES:
        return Phase.stable
    down = eigenvalue(record) < min(1, 1 / fraction(record))
    return Phase.catapult if falls and down else Phase.unsettled


def diverged(record: Record, model: str) -> bool:
    return not select(record, model, "diverged").empty


def rise(record: Record) -> float:
    """The train loss over its least until then, the largest at any logged step."""
    loss = series(record, "network", "loss", "train")["value"]
    return float((loss / loss.cummin()).max())


def eigenvalue(record: Record) -> float:
    """The largest of Theta_t at the end, over that at the start."""
    largest = series(record, "network", "ntk_largest", "train")["value"]
    return float(largest.iloc[-1] / largest.iloc[0])


def fraction(record: Record) -> float:
    """The learning rate over the critical one of the network's kernel at theta_0."""
    critical = select(record, "network", "lr_critical", "train")["value"].iloc[0]
    return round(record.lr / float(critical), 6)


def table(records: list[Record]) -> pd.DataFrame:
    """A row a run: activation, width, seed, fraction, phase, rise, eigenvalue, whether its
    linearization diverged, and the largest distance from it while there was one (test RMSE)."""
    return pd.DataFrame(
        {
            "activation": record.config["model"]["activation"],
            "width": record.config["model"]["width"],
            "seed": record.config["seed"],
            "fraction": fraction(record),
            "phase": phase(record),
            "rise": rise(record),
            "eigenvalue": eigenvalue(record),
            "linear": diverged(record, linear_model(record)),
            "value": series(record, linear_model(record), "rmse", "test")["value"].max(),
        }
        for record in records
    )


def share(rows: pd.DataFrame, holds: pd.Series) -> Estimate:
    """Of networks (activation, width, seed), for all of whose runs it holds; with the interval of
    Clopper and Pearson."""
    networks = holds.groupby([rows[key] for key in ("activation", "width", "seed")]).all()
    count, good = len(networks), int(networks.sum())
    if not count:
        return NONE
    low = betaincinv(good, count - good + 1, 0.025) if good else 0.0
    high = betaincinv(good + 1, count - good, 0.975) if good < count else 1.0
    return Estimate(good / count, (float(low), float(high)))


def nearness(rows: pd.DataFrame) -> Estimate:
    """The exponent in n of the largest distance from the linearization, at the fraction below 1
    where it falls the least."""
    below = rows[(rows["fraction"] < 1) & ~rows["linear"]]
    slopes = [exponents.slope(own, "width") for _, own in below.groupby("fraction")]
    return max(slopes, key=lambda slope: np.nan_to_num(slope.interval[1], nan=np.inf), default=NONE)


def claims(records: list[Record]) -> list[Claim]:
    """F4a, F4c, F4d over all networks; F4b for each activation."""
    rows = table(records)
    below, above = rows[rows["fraction"] < 1], rows[rows["fraction"] > 1]
    moves = above["phase"].isin([Phase.catapult, Phase.divergent])
    shares = (
        ("F4a", below, below["phase"] == Phase.stable),
        ("F4c", above, above["linear"]),
        ("F4d", above, moves),
    )
    out = [
        judged(name, share(own, holds), records, sample=Sample(len(networks(own)), "networks"))
        for name, own, holds in shares
    ]
    for activation, own in rows.groupby("activation", sort=False):
        runs = [run for run in records if run.config["model"]["activation"] == activation]
        sample = intervals.seeds(own)
        out.append(judged("F4b", nearness(own), runs, at=str(activation), sample=sample))
    return out


def networks(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["activation", "width", "seed"]].drop_duplicates()
