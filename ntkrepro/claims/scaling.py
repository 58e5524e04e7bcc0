"""How kernels, weights and RMSE scale with width, depth and data: Figures 1, 2 and 8."""

from typing import NamedTuple

import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.criterion import Criterion, at_most, below, both, within
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, endings, final, final_rmse

PAPER, FALLS = "§3.4, Figure 8", "falls with width: slope in n"
# Of the outputs' rms. Above, network and linearization have little in common, and the RMSE nears
# that of two unrelated functions, whatever the width: no power law holds there.
SATURATED = 0.2


def convergence_claims(records: list[Record]) -> list[Claim]:
    """1a, 1b: exponents in width for every M and depth, and 1c: in M; the one furthest off.

    Of one depth alone, 1c names it.
    """
    claims, in_m, criterion = [], [], within(-0.5, 0.1)
    depths = sorted({record.config["model"]["depth"] for record in records})
    for name, kernel, letter in (("1a", "nngp", "K"), ("1b", "ntk", "Θ")):
        rows = collect(records, f"{kernel}_error")
        for depth, errors in rows.groupby("depth"):
            fits = [intervals.slope(group, "width") for _, group in errors.groupby("index")]
            what = f"|{letter}̂ - {letter}| = O(n^-1/2), L={depth}: slope in n, the worst of all M"
            worst, sample = intervals.worst(fits, -0.5), intervals.seeds(errors)
            claims.append(Claim(f"{name} L={depth}", what, "§3.1", *worst, criterion, True, sample))
        in_m += [intervals.slope(g, "index") for _, g in rows.groupby(["depth", "width"])]
    what = "The error falls with the number of samples: slope in M, the worst width and kernel"
    name = f"1c L={depths[0]}" if len(depths) == 1 else "1c"
    worst, sample = intervals.worst(in_m, -0.5), intervals.seeds(rows)
    return [*claims, Claim(name, what, "Figure 1", *worst, criterion, True, sample)]


def change_claims(records: list[Record]) -> list[Claim]:
    """2a: weights move as n^-1/2; 2b, 2c: kernels by at most n^-1/2, close to n^-1."""
    weights = final(records, "weight_change")
    readout = weights["index"] == weights.groupby("width")["index"].transform("max")
    claims = []
    for layers, rows in (("readout", weights[readout]), ("other", weights[~readout])):
        what = f"Change of {layers} weights ~ n^-1/2: slope"
        slope = intervals.slope(rows, "width")
        criterion, sample = within(-0.5, 0.15), intervals.seeds(rows)
        claims.append(Claim(f"2a {layers}", what, "Figure 2", *slope, criterion, True, sample))
    for name, kernel, letter in (("2b", "ntk", "Θ̂"), ("2c", "nngp", "K̂")):
        what = f"Change of {letter} bounded by n^-1/2, close to n^-1: slope"
        rows, criterion = final(records, f"{kernel}_change"), both(at_most(-0.5), within(-1, 0.35))
        slope, sample = intervals.slope(rows, "width"), intervals.seeds(rows)
        claims.append(Claim(name, what, "Figure 2", *slope, criterion, True, sample))
    return claims


class Pane(NamedTuple):
    """A pane of Figure 8: its claims' name, what it says of a line, which `by` names (as `symbol`
    in the statement), its criterion for the slope in `x`."""

    name: str
    network: str
    by: str
    symbol: str
    says: str
    x: str
    source: str
    criterion: Criterion


PANES = {  # experiment -> pane
    "rmse_fc_depth": Pane(
        "8a", "Fully connected", "depth", "L", "~ 1/n: slope in n", "width", PAPER, within(-1, 0.3)
    ),
    "rmse_fc_data": Pane(
        "8b", "Fully connected", "width", "n", "~ |D|: slope in |D|", "train", PAPER, within(1, 0.4)
    ),
    "rmse_cnn": Pane("8c", "Convolutional", "depth", "L", FALLS, "width", "Figure 8", below(0)),
    "rmse_wrn": Pane("8d", "Wide residual", "depth", "N", FALLS, "width", "Figure 8", below(0)),
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
            which = f"{pane.symbol}={line}"
            what = f"{pane.network}, {which}: final RMSE {pane.says}; {ends(rows)}"
            slope = intervals.slope(used, pane.x)
            own = Claim(f"{pane.name} {which}", what, pane.source, *slope, pane.criterion, ended)
            claims.append(own._replace(sample=intervals.seeds(used)))
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
