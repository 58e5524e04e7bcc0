"""How kernels, weights and RMSE scale with width, depth and data: Figures 1, 2 and 8."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, draws, endings, final, final_rmse, first_draw

# Of the outputs' rms. Above, network and linearization have little in common, and the RMSE nears
# that of two unrelated functions, whatever the width: no power law holds there.
SATURATED = 0.2


def convergence_claims(records: list[Record]) -> list[Claim]:
    """1a, 1b: exponents in width at every depth: the highest of all M, for the paper's is an upper
    bound, and that of single networks, on every draw of the data; 1c: in M, the one furthest off.

    Of one depth alone, 1c names it.
    """
    claims = []
    for kernel, name in (("nngp", "1a"), ("ntk", "1b")):
        for another, own in draws(records):
            for depth, errors in collect(own, f"{kernel}_error").groupby("depth"):
                runs, at = of_depth(own, depth), f"L={depth}{another}"
                claims += [] if another else [fastest(name, errors, runs, at)]
                claims.append(of_single_networks(name, errors, runs, at))
    return [*claims, in_samples(first_draw(records))]


def of_depth(records: list[Record], depth: int) -> list[Record]:
    return [record for record in records if record.config["model"]["depth"] == depth]


def fastest(name: str, errors: pd.DataFrame, runs: list[Record], at: str) -> Claim:
    """The highest exponent of all M."""
    fits = [exponents.slope(group, "width") for _, group in errors.groupby("index")]
    return judged(name, exponents.highest(fits), runs, at=at, sample=intervals.seeds(errors))


def of_single_networks(name: str, errors: pd.DataFrame, runs: list[Record], at: str) -> Claim:
    single = errors[errors["index"] == 1]
    slope, sample = exponents.slope(single, "width"), intervals.seeds(single)
    return judged(f"{name} M=1", slope, runs, at=at, sample=sample)


def in_samples(records: list[Record]) -> Claim:
    depths = sorted({record.config["model"]["depth"] for record in records})
    errors = [
        collect(records, f"{kernel}_error").assign(kernel=kernel) for kernel in ("nngp", "ntk")
    ]
    rows, at = pd.concat(errors), f"L={depths[0]}" if len(depths) == 1 else ""
    fits = [exponents.slope(g, "index") for _, g in rows.groupby(["kernel", "depth", "width"])]
    worst, sample = intervals.worst(fits, -0.5), intervals.seeds(rows)
    return judged("1c", worst, records, at=at, sample=sample)


def change_claims(records: list[Record]) -> list[Claim]:
    """2a: weights move as n^-1/2, the readout on every draw of the data; 2b, 2c: kernels by at most
    n^-1/2, close to n^-1, and by theory."""
    claims, first = [], first_draw(records)
    for another, own in draws(records):
        for layers, rows in by_layer(own).items():
            if layers == "readout" or not another:
                at = another.lstrip(", ")
                slope = exponents.measured(rows, "width")
                claims.append(judged(f"2a {layers}", records=own, at=at, **slope))
    kind = exponents.KINDS.get(first[0].config["model"]["activation"])
    for name, kernel in (("2b", "ntk"), ("2c", "nngp")):
        rows = exponents.measured(final(first, f"{kernel}_change"), "width")
        names = [name, *([f"{name} {kind}"] if kind else [])]
        claims += [judged(own, records=first, **rows) for own in names]
    return claims


def by_layer(records: list[Record]) -> dict[str, pd.DataFrame]:
    weights = final(records, "weight_change")
    readout = weights["index"] == weights.groupby("width")["index"].transform("max")
    return {"readout": weights[readout], "other": weights[~readout]}


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
            measured = exponents.measured(rows[~rows["saturated"]], pane.x)
            own, ended = [runs[i] for i in rows.index], bool(rows["ended"].all())
            measured["found"] = "; ".join(filter(None, (measured["found"], ends(rows))))
            at = f"{pane.symbol}={line}"
            claims.append(judged(pane.name, records=own, at=at, checkable=ended, **measured))
    return claims


def rmse_rows(runs: list[Record]) -> pd.DataFrame:
    """final_rmse, endings, and whether a run is of a point that is `saturated`, in the mean of its
    seeds: one by one, the runs with the smaller RMSE would remain."""
    rows = final_rmse(runs).join(endings(runs))
    return rows.assign(saturated=saturated(rows, "value", ("depth", "width", "train")))


def saturated(rows: pd.DataFrame, rmse: str, point: Sequence[str]) -> pd.Series:
    """Whether the column `rmse` is above SATURATED of `size`, the outputs' rms, in the mean of the
    seeds of a point, which the columns `point` tell apart."""
    share = (rows[rmse] / rows["size"]).groupby([rows[key] for key in point]).transform("mean")
    return share > SATURATED


def ends(rows: pd.DataFrame) -> str:
    """When training ended, at which train loss, and how many runs are left out."""
    count, losses, out = len(rows), rows["loss"], rows["saturated"].sum()
    told = f"training ended in {rows['ended'].sum()} of {count} runs, at train losses up to"
    left = f"; {out} are left out, as their RMSE is above {SATURATED:.0%} of the outputs' rms"
    return f"{told} {losses.max():.1g}{left if out else ''}"
