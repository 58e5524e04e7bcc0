"""The bound of SM F on how far a network is from its linearization, measured along runs.

Where eta sigma_t t is above 1, with sigma_t = sup_{s <= t} |Theta_s - Theta_0| of Eq. S50, its
right side grows exponentially and says nothing. Before, Groenwall's factor is at most e.
"""

import numpy as np
import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Estimate, Sample
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, select, series


def sides(record: Record) -> pd.DataFrame:
    """Eq. S48 at every logged step: columns time, measured |g_lin - g|_2, bound, distance,
    exponent.

    distance = |Theta_t - Theta_0| in the operator norm, exponent = eta sigma_t t. A bound's
    integrals are taken from above: between logged steps |Theta_s - Theta_0| and |g_lin(s)| are the
    larger of both ends. Straight lines are too low where ReLU's kernel leaves Theta_0, as s^1/2.
    """
    model, lr = linear_model(record), record.lr
    rate, smallest = (
        float(select(record, "network", name, "train")["value"].iloc[0])
        for name in ("kernel_rate", "lambda_min")
    )
    count = record.config["loss"]["scale"] / rate  # n k, for the mean loss
    moved = series(record, "network", "ntk_distance", "train")
    residual = np.sqrt(2 * count * series(record, model, "loss", "train")["value"].to_numpy())
    measured = np.sqrt(count) * series(record, model, "rmse", "train")["value"].to_numpy()
    steps = moved["step"].to_numpy(float)
    beta = lr * rate * moved["value"].to_numpy()
    with np.errstate(over="ignore"):
        growth = np.exp(_integral(_larger(beta), steps, 0.0))
        forcing = _larger(beta) * _larger(residual)
        bound = _integral(forcing, steps, lr * rate * smallest) * growth
    columns = {"time": moved["time"], "measured": measured, "bound": bound}
    exponent = lr * rate * steps * moved["value"].cummax()
    return pd.DataFrame(columns | {"distance": moved["value"], "exponent": exponent})


def _larger(values: np.ndarray) -> np.ndarray:
    """Of both ends of each interval, [t] -> [t - 1]."""
    return np.maximum(values[1:], values[:-1])


def _integral(h: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
    """int_0^t exp(decay (s - t)) h(s) ds at every t, h [t - 1] constant between them."""
    out = np.zeros(len(t))
    for i, dt in enumerate(np.diff(t)):
        x = decay * dt
        whole = dt if x < 1e-6 else -np.expm1(-x) / decay
        out[i + 1] = out[i] * np.exp(-x) + whole * h[i]
    return out


def ratios(record: Record) -> pd.Series:
    """measured / bound at every logged step after the first at which eta sigma_t t <= 1."""
    table = sides(record).iloc[1:]
    table = table[table["exponent"] <= 1]
    return table["measured"] / table["bound"]


def extremes(records: list[Record]) -> tuple[Estimate, Estimate]:
    """The smallest and the largest ratio along a run: geometric means over networks, with the
    interval of the mean of their logarithms."""
    found = [ratios(record) for record in records]
    least, most = ([getattr(own, end)(skipna=False) for own in found] for end in ("min", "max"))
    return _geometric(least), _geometric(most)


def _geometric(values: list[float]) -> Estimate:
    with np.errstate(divide="ignore"):
        value, interval = intervals.mean(np.log(values))
    low, high = np.exp(interval)
    return Estimate(float(np.exp(value)), (float(low), float(high)))


def claims(records: list[Record]) -> list[Claim]:
    """F1 holds: the largest ratio; F1 tells: the least."""
    least, most = extremes(records)
    sample = Sample(len(records), "networks")
    return [
        judged("F1 holds", most, records, sample=sample),
        judged("F1 tells", least, records, sample=sample),
    ]
