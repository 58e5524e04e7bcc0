"""Exponents of power laws, fitted seed by seed, and Student's t over the seeds.

A regression over all points takes each as equally uncertain, and as independent of all others.
Where narrow networks scatter more than wide ones, or the points of a seed move together, its
interval is too narrow.
"""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.intervals import NONE, Estimate

# What docs/relu-exponent.md says of an activation, in the names of contracts: kinked, f - f_lin is
# (|D|/n)^3/4; smooth, |D|/n.
KINDS = {"relu": "kinked", **dict.fromkeys(("tanh", "gelu", "erf"), "smooth")}
SYMBOLS = {"width": "n", "train": "|D|", "ratio": "|D|/n", "scale": "α"}


def slope(rows: pd.DataFrame, x: str) -> Estimate:
    """Exponent of column `value` in column `x` by `jointly`; of a single seed, or where seeds have
    no two x in common, by a regression over all rows."""
    (found,) = jointly(rows, [x])
    return found if np.isfinite(found.interval).all() else intervals.slope(rows, x)


def jointly(rows: pd.DataFrame, xs: Sequence[str]) -> list[Estimate]:
    """Exponents in each of the columns xs of value ~ xs[0]^a xs[1]^b ..., over the points that
    every seed has, so that no exponent rests on fewer seeds at one end than at the other.

    Not a number for less than two seeds, too few points, or a value without a logarithm.
    """
    if not ((rows["value"] > 0) & (rows["value"] < inf)).all():
        return [NONE for _ in xs]
    logs = np.log(rows["value"]).groupby([rows["seed"], *(rows[x] for x in xs)]).mean()
    logs = logs.unstack(list(range(1, len(xs) + 1))).dropna(axis=1)
    points = np.log(np.array(logs.columns.tolist(), float).reshape(-1, len(xs)))
    design = np.column_stack([np.ones(len(points)), points])
    if len(logs) < 2 or np.linalg.matrix_rank(design) <= len(xs):
        return [NONE for _ in xs]
    of_seeds = np.linalg.lstsq(design, logs.to_numpy().T)[0][1:]
    return [intervals.mean(own) for own in of_seeds]


def measured(rows: pd.DataFrame, x: str) -> dict[str, Any]:
    """What a claim on a `slope` is judged by: the exponent, of which x, and of how many seeds."""
    used = rests_on(rows, x)
    own = {"estimate": slope(rows, x), "sample": intervals.seeds(used)}
    return own | {"found": span(used, x)}


def rests_on(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    """The rows that decide a `slope`."""
    every = rows.groupby(x)["seed"].transform("nunique") == rows["seed"].nunique()
    own = rows[every]
    return own if min(own["seed"].nunique(), own[x].nunique()) > 1 else rows


def span(rows: pd.DataFrame, *xs: str) -> str:
    """From where to where."""
    ends = ((SYMBOLS.get(x, x), rows[x].min(), rows[x].max()) for x in xs if len(rows))
    return ", ".join(f"{s}={low}" + (f" to {high}" if high > low else "") for s, low, high in ends)


def whole_seeds(rows: pd.DataFrame, points: Sequence[str]) -> pd.DataFrame:
    """The rows of those seeds that have every point, which the columns `points` tell apart."""
    number = rows.groupby(list(points)).ngroup()
    return rows[number.groupby(rows["seed"]).transform("nunique") == number.nunique()]


def highest(slopes: Sequence[Estimate]) -> Estimate:
    """The one whose interval reaches highest; not a number is higher still."""
    return max(slopes, key=lambda s: s.interval[1] if np.isfinite(s.interval[1]) else inf)
