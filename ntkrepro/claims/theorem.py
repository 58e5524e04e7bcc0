"""The suprema over a run that Theorem 2.1 bounds, from records with log.norms: Figure F3.

Of each network the largest value at its logged steps, after the last of which nothing moves any
more; their exponent in the width n is that of a power law through all seeds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from ntkrepro.claims import exponents
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.scaling import saturated
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, select, series


def weights(record: Record) -> float:
    """sup_t |theta_t - theta_0|_2 / n^1/2, of all parameters in the NTK parametrization."""
    moved = series(record, "network", "parameter_distance", "train")["value"].max()
    return float(moved / record.config["model"]["width"] ** 0.5)


def kernel(record: Record) -> float:
    """sup_t |Theta_t - Theta_0|_F on the train points, empirical (Eq. 17)."""
    return float(series(record, "network", "ntk_frobenius", "train")["value"].max())


def outputs(record: Record) -> float:
    """sup_t |f_t - f_lin_t|_2, root mean square over test points x (Eq. 19 is on train points)."""
    return float(series(record, linear_model(record), "rmse", "test")["value"].max())


def gradients(record: Record) -> float:
    """eta int_0^T |grad L|_2 dt of Eq. 18, where L is the paper's sum over the train points and its
    gradient in the outputs f - y; straight between logged steps."""
    rate = float(select(record, "network", "kernel_rate", "train")["value"].iloc[0])
    loss = series(record, "network", "loss", "train")
    residual = np.sqrt(2 * record.config["loss"]["scale"] / rate * loss["value"])
    return float(rate * np.trapezoid(residual, loss["time"]))


class Bound(NamedTuple):
    """A claim's letter, what it bounds as TeX, and that of a record."""

    letter: str
    tex: str
    measured: Callable[[Record], float]


BOUNDS = (
    Bound("a", r"$\sup_t\|\theta_t-\theta_0\|_2\,/\sqrt{n}$", weights),
    Bound("b", r"$\sup_t\|\hat\Theta_t-\hat\Theta_0\|_F$", kernel),
    Bound("c", r"$\sup_t\|f_t-f^{lin}_t\|_2$", outputs),
    Bound("d", r"$\eta\int\|\nabla\mathcal{L}\|_2\,dt$", gradients),
)


def table(records: list[Record]) -> pd.DataFrame:
    """A row a run: activation, depth, width, seed, each bound's letter, and whether the run's point
    is saturated (scaling.py) in the mean of its seeds."""
    keys = ["activation", "depth", "width"]
    rows = pd.DataFrame(
        {key: record.config["model"][key] for key in keys}
        | {"seed": record.config["seed"]}
        | {bound.letter: bound.measured(record) for bound in BOUNDS}
        | {"size": series(record, "network", "output_rms", "test")["value"].iloc[-1]}
        for record in records
    )
    return rows.assign(saturated=saturated(rows, "c", keys))


def networks(records: list[Record]) -> dict[str, list[Record]]:
    """The runs by activation and depth, in all their widths."""
    found: dict[str, list[Record]] = {}
    for record in records:
        model = record.config["model"]
        found.setdefault(f"{model['activation']} L={model['depth']}", []).append(record)
    return found


def claims(records: list[Record]) -> list[Claim]:
    """F3a to F3d, each for every network."""
    out = []
    for name, runs in networks(records).items():
        rows = table(runs)
        rows = rows[~rows["saturated"]]
        for bound in BOUNDS:
            own = exponents.measured(rows.assign(value=rows[bound.letter]), "width")
            out.append(judged(f"F3{bound.letter}", records=runs, at=name, **own))
    return out
