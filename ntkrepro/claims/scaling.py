"""How kernels, weights and RMSE scale with width, depth and data: Figures 1, 2 and 8."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.criterion import at_most, both, sign, within
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, final, final_rmse


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


def rmse_claims(records: dict[str, list[Record]]) -> list[Claim]:
    """8a: RMSE ~ 1/n at every depth; 8b: ~ |D|; 8c, 8d: falls with width. One for each line."""
    claims, source = [], "§3.3.1, Figure 8"
    for depth, rows in _lines(records.get("rmse_fc_depth"), "depth"):
        what = f"Fully connected, L={depth}: final RMSE ~ 1/n: slope in n"
        slope = intervals.slope(rows, "width")
        claims.append(Claim(f"8a L={depth}", what, source, *slope, within(-1, 0.3)))
    for width, rows in _lines(records.get("rmse_fc_data"), "width"):
        what = f"Fully connected, n={width}: final RMSE ~ |D|: slope in |D|"
        slope = intervals.slope(rows, "train")
        claims.append(Claim(f"8b n={width}", what, source, *slope, within(1, 0.4)))
    for name, network, symbol, experiment in (
        ("8c", "Convolutional", "L", "rmse_cnn"),
        ("8d", "Wide residual", "N", "rmse_wrn"),
    ):
        for depth, rows in _lines(records.get(experiment), "depth"):
            what = f"{network}, {symbol}={depth}: final RMSE falls with width: slope in n"
            slope = intervals.slope(rows, "width")
            claims.append(Claim(f"{name} {symbol}={depth}", what, "Figure 8", *slope, sign(-1)))
    return claims


def _lines(runs: list[Record] | None, by: str) -> Iterable[tuple[Any, pd.DataFrame]]:
    """Final RMSE of an experiment's runs, a line of the figure each; none where it wasn't run."""
    return final_rmse(runs).groupby(by) if runs else ()
