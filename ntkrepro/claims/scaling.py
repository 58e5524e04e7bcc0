"""How kernels, weights and RMSE scale with width, depth and data: Figures 1, 2 and 8."""

from typing import NamedTuple

import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.criterion import Criterion, at_most, both, sign, within
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, endings, final, final_rmse

PAPER, FALLS = "§3.4, Figure 8", "falls with width: slope in n"


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
            worst = intervals.worst(fits, -0.5)
            claims.append(Claim(f"{name} L={depth}", what, "§3.1", *worst, criterion))
        in_m += [intervals.slope(g, "index") for _, g in rows.groupby(["depth", "width"])]
    what = "The error falls with the number of samples: slope in M, the worst width and kernel"
    name = f"1c L={depths[0]}" if len(depths) == 1 else "1c"
    return [*claims, Claim(name, what, "Figure 1", *intervals.worst(in_m, -0.5), criterion)]


def change_claims(records: list[Record]) -> list[Claim]:
    """2a: weights move as n^-1/2; 2b, 2c: kernels by at most n^-1/2, close to n^-1."""
    weights = final(records, "weight_change")
    readout = weights["index"] == weights.groupby("width")["index"].transform("max")
    claims = []
    for layers, rows in (("readout", weights[readout]), ("other", weights[~readout])):
        what = f"Change of {layers} weights ~ n^-1/2: slope"
        slope = intervals.slope(rows, "width")
        claims.append(Claim(f"2a {layers}", what, "Figure 2", *slope, within(-0.5, 0.15)))
    for name, kernel, letter in (("2b", "ntk", "Θ̂"), ("2c", "nngp", "K̂")):
        what = f"Change of {letter} bounded by n^-1/2, close to n^-1: slope"
        slope = intervals.slope(final(records, f"{kernel}_change"), "width")
        criterion = both(at_most(-0.5), within(-1, 0.35))
        claims.append(Claim(name, what, "Figure 2", *slope, criterion))
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
    "rmse_cnn": Pane("8c", "Convolutional", "depth", "L", FALLS, "width", "Figure 8", sign(-1)),
    "rmse_wrn": Pane("8d", "Wide residual", "depth", "N", FALLS, "width", "Figure 8", sign(-1)),
}


def rmse_claims(records: dict[str, list[Record]]) -> list[Claim]:
    """8a: RMSE ~ 1/n at every depth; 8b: ~ |D|; 8c, 8d: falls with width. One for each line, which
    is not checkable where a network's training had not ended."""
    claims = []
    for experiment, pane in PANES.items():
        if not (runs := records.get(experiment)):
            continue
        for line, rows in final_rmse(runs).join(endings(runs)).groupby(pane.by):
            which = f"{pane.symbol}={line}"
            what = f"{pane.network}, {which}: final RMSE {pane.says}; {ends(rows)}"
            slope, ended = intervals.slope(rows, pane.x), bool(rows["ended"].all())
            given = f"{pane.name} {which}", what, pane.source, *slope, pane.criterion, ended
            claims.append(Claim(*given))
    return claims


def ends(rows: pd.DataFrame) -> str:
    """When training ended, and at which train loss."""
    count, losses = f"{rows['ended'].sum()} of {len(rows)}", rows["loss"]
    return f"training ended in {count} runs, at train losses up to {losses.max():.1g}"
