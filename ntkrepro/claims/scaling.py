"""How kernels, weights and RMSE scale with width, depth and data: Figures 1, 2 and 8."""

from typing import NamedTuple

import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, endings, final, final_rmse

# Of the outputs' rms. Above, network and linearization have little in common, and the RMSE nears
# that of two unrelated functions, whatever the width: no power law holds there.
SATURATED = 0.2


def convergence_claims(records: list[Record]) -> list[Claim]:
    """1a, 1b: exponents in width for every M and depth, and 1c: in M; the one furthest off.

    Of one depth alone, 1c names it.
    """
    claims, in_m = [], []
    depths = sorted({record.config["model"]["depth"] for record in records})
    for name, kernel in (("1a", "nngp"), ("1b", "ntk")):
        rows = collect(records, f"{kernel}_error")
        for depth, errors in rows.groupby("depth"):
            fits = [intervals.slope(group, "width") for _, group in errors.groupby("index")]
            own = [r for r in records if r.config["model"]["depth"] == depth]
            worst, sample = intervals.worst(fits, -0.5), intervals.seeds(errors)
            claims.append(judged(name, worst, own, at=f"L={depth}", sample=sample))
        in_m += [intervals.slope(g, "index") for _, g in rows.groupby(["depth", "width"])]
    at = f"L={depths[0]}" if len(depths) == 1 else ""
    worst, sample = intervals.worst(in_m, -0.5), intervals.seeds(rows)
    return [*claims, judged("1c", worst, records, at=at, sample=sample)]


def change_claims(records: list[Record]) -> list[Claim]:
    """2a: weights move as n^-1/2; 2b, 2c: kernels by at most n^-1/2, close to n^-1."""
    weights = final(records, "weight_change")
    readout = weights["index"] == weights.groupby("width")["index"].transform("max")
    claims = []
    for layers, rows in (("readout", weights[readout]), ("other", weights[~readout])):
        slope, sample = intervals.slope(rows, "width"), intervals.seeds(rows)
        claims.append(judged(f"2a {layers}", slope, records, sample=sample))
    for name, kernel in (("2b", "ntk"), ("2c", "nngp")):
        rows = final(records, f"{kernel}_change")
        slope, sample = intervals.slope(rows, "width"), intervals.seeds(rows)
        claims.append(judged(name, slope, records, sample=sample))
    return claims


class Pane(NamedTuple):
    """A pane of Figure 8: its claims' name, a line of which `by` names (as `symbol`), and in what
    (`x`) its exponent is."""

    name: str
    by: str
    symbol: str
    x: str


PANES = {  # experiment -> pane
    "rmse_fc_depth": Pane("8a", "depth", "L", "width"),
    "rmse_fc_data": Pane("8b", "width", "n", "train"),
    "rmse_cnn": Pane("8c", "depth", "L", "width"),
    "rmse_wrn": Pane("8d", "depth", "N", "width"),
}


def rmse_claims(records: dict[str, list[Record]]) -> list[Claim]:
    """8a: RMSE ~ 1/n at every depth; 8b: ~ |D|; 8c, 8d: falls with width. One for each line, from
    the runs that aren't saturated; not checkable where a network's training had not ended."""
    claims = []
    for experiment, pane in PANES.items():
        if not (runs := records.get(experiment)):
            continue
        for line, rows in rmse_rows(runs).groupby(pane.by):
            used, ended = rows[~rows["saturated"]], bool(rows["ended"].all())
            own = [runs[i] for i in rows.index]
            line = {"at": f"{pane.symbol}={line}", "found": ends(rows)}
            slope, sample = intervals.slope(used, pane.x), intervals.seeds(used)
            claims.append(judged(pane.name, slope, own, **line, checkable=ended, sample=sample))
    return claims


def rmse_rows(runs: list[Record]) -> pd.DataFrame:
    """final_rmse, endings, and whether a run is of a point that is `saturated`, in the mean of its
    seeds: one by one, the runs with the smaller RMSE would remain."""
    rows = final_rmse(runs).join(endings(runs))
    points = [rows[key] for key in ("depth", "width", "train")]
    share = (rows["value"] / rows["size"]).groupby(points).transform("mean")
    return rows.assign(saturated=share > SATURATED)


def ends(rows: pd.DataFrame) -> str:
    """When training ended, at which train loss, and how many runs are left out."""
    count, losses, out = len(rows), rows["loss"], rows["saturated"].sum()
    told = f"training ended in {rows['ended'].sum()} of {count} runs, at train losses up to"
    left = f"; {out} are left out, as their RMSE is above {SATURATED:.0%} of the outputs' rms"
    return f"{told} {losses.max():.1g}{left if out else ''}"
