"""Exponents of power laws, fitted seed by seed, and Student's t over the seeds.

A regression over all points takes each as equally uncertain, and as independent of all others.
Where narrow networks scatter more than wide ones, or the points of a seed move together, its
interval is too narrow.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.intervals import NONE, Estimate


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
    if not ((rows["value"] > 0) & (rows["value"] < np.inf)).all():
        return [NONE for _ in xs]
    logs = np.log(rows["value"]).groupby([rows["seed"], *(rows[x] for x in xs)]).mean()
    logs = logs.unstack(list(range(1, len(xs) + 1))).dropna(axis=1)
    points = np.log(np.array(logs.columns.tolist(), float).reshape(-1, len(xs)))
    design = np.column_stack([np.ones(len(points)), points])
    if len(logs) < 2 or np.linalg.matrix_rank(design) <= len(xs):
        return [NONE for _ in xs]
    of_seeds = np.linalg.lstsq(design, logs.to_numpy().T)[0][1:]
    return [intervals.mean(own) for own in of_seeds]


def whole_seeds(rows: pd.DataFrame, points: Sequence[str]) -> pd.DataFrame:
    """The rows of those seeds that have every point, which the columns `points` tell apart."""
    number = rows.groupby(list(points)).ngroup()
    return rows[number.groupby(rows["seed"]).transform("nunique") == number.nunique()]
