"""The bound of SM F on how far a network is from its linearization, measured along a run."""

import numpy as np
import pandas as pd

from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Estimate
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, select, series


def sides(record: Record) -> pd.DataFrame:
    """Eq. S48 at every logged step: columns time, measured |g_lin - g|_2, bound, distance.

    distance = |Theta_t - Theta_0| in the operator norm. Its integrals run over the logged steps,
    between which |Theta_s - Theta_0| |g_lin(s)| and |Theta_s - Theta_0| are taken as straight.
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
        growth = np.exp(_integral(beta, steps, 0.0))
        bound = _integral(beta * residual, steps, lr * rate * smallest) * growth
    columns = {"time": moved["time"], "measured": measured, "bound": bound}
    return pd.DataFrame(columns | {"distance": moved["value"]})


def _integral(h: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
    """int_0^t exp(decay (s - t)) h(s) ds at every t, h piecewise straight."""
    out = np.zeros(len(t))
    for i, dt in enumerate(np.diff(t)):
        x = decay * dt
        if x < 1e-6:
            whole, ramp = dt, dt / 2
        else:
            whole = -np.expm1(-x) / decay
            ramp = (1 - whole / dt) / decay
        out[i + 1] = out[i] * np.exp(-x) + whole * h[i] + ramp * (h[i + 1] - h[i])
    return out


def claim(record: Record) -> Claim:
    """F1: measured over bound, the largest at any logged step after the first."""
    table = sides(record).iloc[1:]
    value = float((table["measured"] / table["bound"]).max(skipna=False))
    return judged("F1", Estimate(value, (value, value)), [record])
