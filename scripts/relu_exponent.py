"""The tables of docs/relu-exponent.md, as markdown, from the records of rmse_activations.

    ntkrepro run -m experiment=rmse_activations scale=paper
    python scripts/relu_exponent.py [RESULTS]

Exponents are the mean over seeds of each seed's log-log line, with Student's 95 % interval, without
the points that Figure 8 leaves out of its own.
"""

import sys
from collections.abc import Callable

import pandas as pd

from ntkrepro.claims import activations, exponents
from ntkrepro.claims.activations import POINT, WIDE, least
from ntkrepro.claims.intervals import Estimate
from ntkrepro.figures.gather import load

COLUMNS = ("relu", "tanh", "gelu")
QUANTITIES = {"rmse": "RMSE", "ntk": "ΔΘ̂", "nngp": "ΔK̂", "weights": "ω, relative L2"}
Measure = Callable[[pd.DataFrame], Estimate]


def cell(found: Estimate) -> str:
    return f"{found.value:.2f} ± {found.interval[1] - found.value:.2f}"


def in_width(name: str) -> Measure:
    def measure(rows: pd.DataFrame) -> Estimate:
        own = exponents.whole_seeds(least(rows, "train"), ["width"])
        return exponents.slope(own.assign(value=own[name]), "width")

    return measure


def in_data(rows: pd.DataFrame) -> Estimate:
    own = exponents.whole_seeds(rows, POINT)
    return exponents.jointly(own.assign(value=own["rmse"]), ["train", "width"])[0]


def in_both(rows: pd.DataFrame) -> Estimate:
    own = exponents.whole_seeds(rows, POINT)
    return exponents.slope(own.assign(value=own["rmse"]), "ratio")


def table(title: str, lines: dict[str, tuple[pd.DataFrame, Measure]]) -> None:
    """A line each of these rows and measures, a column each activation."""
    print(f"| {title} | {' | '.join(COLUMNS)} |")
    print("| --- " * (1 + len(COLUMNS)) + "|")
    for name, (rows, measure) in lines.items():
        print(f"| {name} |", end="")
        print("".join(f" {cell(measure(rows[rows['activation'] == a]))} |" for a in COLUMNS))
    print()


def main() -> None:
    results = [f"results={folder}" for folder in sys.argv[1:2]]
    records, lack = load(["experiment=rmse_activations", "scale=paper", *results])
    if lack:
        sys.exit(f"missing {lack}")
    every = activations.measured(records)
    rows = every[~every["saturated"] & (every["draw"] == 0)]
    shallow = rows[rows["depth"] == 1]
    wide = shallow[shallow["width"] >= WIDE]
    names = {name: what for name, what in QUANTITIES.items() if name != "weights"}
    table("slope in n, L=1", {what: (shallow, in_width(name)) for name, what in names.items()})
    table(
        f"slope in n, L=1, n ≥ {WIDE}",
        {what: (wide, in_width(name)) for name, what in names.items()},
    )
    deep = [(depth, own) for depth, own in rows.groupby("depth") if depth > 1]
    table(
        "slope in n",
        {
            f"{what}, L={depth}": (own, in_width(name))
            for name, what in QUANTITIES.items()
            for depth, own in deep
        },
    )
    table("L=1", {r"slope in \|D\|": (shallow, in_data), r"slope in \|D\|/n": (shallow, in_both)})
    for line in activations.beside_smooth(every):
        print(f"slope in n of the RMSE of {line.at}: {cell(line.found)}")


if __name__ == "__main__":
    main()
