"""Exponents in width of how far a trained network is from its linearization, for three activations.

    ntkrepro run -m WORDS                   # python scripts/relu_exponent.py --words prints them
    python scripts/relu_exponent.py         # the tables of docs/relu-exponent.md, as markdown

Slopes are of log-log lines over widths and seeds, with 95 % intervals by Student's t, without the
points that Figure 8 leaves out of its own (claims/scaling.py: `saturated`).
"""

import sys
from collections.abc import Callable

import numpy as np
import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.scaling import rmse_rows
from ntkrepro.config.compose import expand
from ntkrepro.errors import UserError
from ntkrepro.records import store
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, select, series

ACTIVATIONS = ("relu", "tanh", "gelu")
WORDS = (
    "experiment=rmse_fc_depth",
    "scale=paper",
    f"model.activation={','.join(ACTIVATIONS)}",
    "seed=range(0,8)",
    "log.kernel=true",
    "log.weights=512",
)
GRIDS = (
    ("model.depth=1", "model.width=64,128,256,512,1024,2048,4096,8192"),
    ("model.depth=1", "model.width=256,1024,4096", "data.train=64,128,256"),
    ("model.depth=2,4", "model.width=64,128,256,512,1024"),
)
WIDE = 1024
OMEGA = "ω, relative L2"  # of hidden weights; of the readout's where L=1


def last(record: Record, model: str, quantity: str, split: str) -> float:
    return float(series(record, model, quantity, split)["value"].iloc[-1])


def weights(record: Record) -> float:
    """Relative L2 error of the displacement of single weights."""
    network, linear = (
        select(record, model, "weight").pivot(index="step", columns="index", values="value")
        for model in ("network", linear_model(record))
    )
    omega = network.to_numpy()[-1]
    return float(np.linalg.norm(linear.to_numpy()[-1] - omega) / np.linalg.norm(omega))


MEASURES: dict[str, Callable[[Record], float]] = {
    "RMSE": lambda record: last(record, linear_model(record), "rmse", "test"),
    "ΔΘ̂": lambda record: last(record, "network", "ntk_change", "train"),
    "ΔK̂": lambda record: last(record, "network", "nngp_change", "train"),
    OMEGA: weights,
}


def records() -> list[Record]:
    found = []
    for grid in GRIDS:
        runs = expand([*WORDS, *grid])
        there = [record for run in runs if (record := store.read(run.path))]
        if len(there) < len(runs):
            words = " ".join(f"'{w}'" if "(" in w else w for w in (*WORDS, *grid))
            raise UserError(
                f"{len(runs) - len(there)} records are missing: ntkrepro run -m {words}"
            )
        found += there
    return found


def frame(found: list[Record]) -> pd.DataFrame:
    found = list({record.id: record for record in found}.values())  # grids share some
    parts = []
    for activation in ACTIVATIONS:
        own = [record for record in found if record.config["model"]["activation"] == activation]
        measured = {name: [measure(record) for record in own] for name, measure in MEASURES.items()}
        parts.append(rmse_rows(own).assign(activation=activation, **measured))
    return pd.concat(parts).rename(columns={"width": "n", "train": "D"})


def slope(rows: pd.DataFrame, x: str, name: str) -> str:
    rows = rows[~rows["saturated"]]
    found = intervals.slope(rows.assign(value=rows[name]), x)
    return f"{found.value:.2f} ± {found.interval[1] - found.value:.2f}"


def table(title: str, x: str, rows: dict[str, tuple[pd.DataFrame, str]]) -> None:
    """A row each of these data and measures, a column each activation."""
    print(f"| {title} | {' | '.join(ACTIVATIONS)} |")
    print("| --- " * (1 + len(ACTIVATIONS)) + "|")
    for name, (data, measure) in rows.items():
        cells = (slope(data[data["activation"] == a], x, measure) for a in ACTIVATIONS)
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def main() -> None:
    if "--words" in sys.argv:
        for grid in GRIDS:
            print(*WORDS, *grid)
        return
    data = frame(records())
    few, shallow = data[data["D"] == data["D"].min()], data[data["depth"] == 1]
    both = few[few["depth"] == 1]
    table("slope in n, L=1", "n", {name: (both, name) for name in MEASURES})
    wide = both[both["n"] >= WIDE]
    table(f"slope in n, L=1, n ≥ {WIDE}", "n", {name: (wide, name) for name in MEASURES})
    for name in ("RMSE", OMEGA):
        table("slope in n", "n", {f"{name}, L={d}": (r, name) for d, r in few.groupby("depth")})
    widths = {n: rows for n, rows in shallow.groupby("n") if rows["D"].nunique() > 1}
    table("slope in |D|, L=1", "D", {f"RMSE, n={n}": (r, "RMSE") for n, r in widths.items()})


if __name__ == "__main__":
    main()
