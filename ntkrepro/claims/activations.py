"""Exponents in width and data by activation, for the paper's and for those of
docs/relu-exponent.md: RMSE (Figure 8), kernels (Figure 2) and single weights."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Estimate
from ntkrepro.claims.scaling import saturated
from ntkrepro.records.store import Record
from ntkrepro.records.tables import ended, linear_model

KEYS = ("model.activation", "model.depth", "model.width", "data.train", "data.seed", "seed")
NEEDS = ("rmse", "loss", "output_rms", "ntk_change", "nngp_change")
POINT = ["depth", "width", "train"]
WIDE = 1024  # from here on a term in |D|/n is the smaller part of ReLU's RMSE


def measured(records: list[Record]) -> pd.DataFrame:
    """A row for each run at its end: activation, depth, width, train, seed, draw (data.seed), its
    rmse, change of kernels ntk, nngp and error of `weights` (not a number where none are kept),
    and whether it is of a `saturated` point, in the mean of its seeds, and had `ended`."""
    rows = pd.DataFrame([at_the_end(record) for record in records])
    out = saturated(rows, "rmse", ("activation", "draw", *POINT))
    return rows.assign(saturated=out, ratio=rows.train / rows.width)


def at_the_end(record: Record) -> dict:
    config, linear = record.config, linear_model(record)
    last = record.rows[record.rows["step"] == record.rows["step"].max()]
    found = defaultdict(list)
    for *words, value in zip(*(last[k] for k in ("model", "quantity", "split", "value"))):  # noqa: B905
        found[tuple(words)].append(value)
    omega, linear_omega = (
        np.array(found[model, "weight", ""], float) for model in ("network", linear)
    )
    (loss,) = found["network", "loss", "train"]
    point = {key: config["model"][key] for key in ("activation", "depth", "width")}
    point |= {"train": config["data"]["train"], "draw": config["data"]["seed"]}
    return point | {
        "seed": config["seed"],
        "rmse": found[linear, "rmse", "test"][0],
        "size": found["network", "output_rms", "test"][0],
        "ntk": found["network", "ntk_change", "train"][0],
        "nngp": found["network", "nngp_change", "train"][0],
        "weights": relative(linear_omega, omega) if len(omega) else np.nan,
        "ended": ended(record, loss, last["step"].iloc[0]),
    }


def relative(other: np.ndarray, own: np.ndarray) -> float:
    return float(np.linalg.norm(other - own) / np.linalg.norm(own))


class Line(NamedTuple):
    """An exponent `found` in `rows`, of the contracts `names`, and which line it is."""

    names: tuple[str, ...]
    at: str
    rows: pd.DataFrame
    found: Estimate


def least(rows: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """The rows of the least |D|, or depth."""
    for key in keys:
        rows = rows[rows[key] == rows[key].min()]
    return rows


def claims(
    records: list[Record], rows: pd.DataFrame, lines: Callable[..., Iterator[Line]]
) -> list[Claim]:
    """Those of lines(activation, kind, rows) of every activation that theory speaks of, and every
    draw of the data, from what is `measured`; not checkable where a network's training had not
    ended."""
    out: list[Claim] = []
    for (draw, activation), own in rows[~rows["saturated"]].groupby(["draw", "activation"]):
        if kind := exponents.KINDS.get(str(activation)):
            for line in lines(str(activation), kind, own):
                if draw == rows["draw"].min():
                    out += judge(line, records)
                elif line.names[0] == "8e" and line.rows["width"].min() < WIDE:
                    out += judge(line._replace(at=f"{line.at}, data.seed={draw}"), records)
    return out


def judge(line: Line, records: list[Record]) -> Iterator[Claim]:
    runs = [records[i] for i in line.rows.index]
    over, sample = bool(line.rows["ended"].all()), intervals.seeds(line.rows)
    for name in line.names:
        yield judged(name, line.found, runs, at=line.at, checkable=over, sample=sample)


def rmse_claims(records: list[Record]) -> list[Claim]:
    """8e: the exponent of the final RMSE in n at every depth, of wide networks, and on every draw
    of the data; 8f: in |D|; 8g: in |D|/n; 8h: of one activation's over another's; 4d: of single
    hidden weights' error."""
    rows = measured(records)
    pairs = [c for line in beside_smooth(rows) for c in judge(line, records)]
    return claims(records, rows, rmse_lines) + pairs


def beside_smooth(rows: pd.DataFrame) -> Iterator[Line]:
    """The exponent of an RMSE over a smooth activation's in n, of all and of wide networks: those
    of a seed begin with the same weights, so that what they have in common drops out."""
    rows = rows[(rows["draw"] == rows["draw"].min()) & ~rows["saturated"]]
    rows = least(rows, "depth", "train")
    kinds = rows["activation"].map(exponents.KINDS)
    for kinked, own in rows[kinds == "kinked"].groupby("activation"):
        for smooth, other in rows[kinds == "smooth"].groupby("activation"):
            for at, least_width, widths in (("", 0, 3), (f", n ≥ {WIDE}", WIDE, 4)):
                both = pd.concat([own, other])
                both = exponents.whole_seeds(both[both["width"] >= least_width], ["width"])
                if both["width"].nunique() >= widths:
                    yield Line(("8h",), f"{kinked} over {smooth}{at}", both, over(own, other, both))


def over(own: pd.DataFrame, other: pd.DataFrame, among: pd.DataFrame) -> Estimate:
    """The exponent in n of the RMSE of some runs over others', seed by seed, of those `among`."""
    parts = [
        rows[rows.index.isin(among.index)].set_index(["seed", "width"]) for rows in (own, other)
    ]
    ratio = (parts[0]["rmse"] / parts[1]["rmse"]).dropna()
    return exponents.slope(ratio.rename("value").reset_index(), "width")


def rmse_lines(activation: str, kind: str, rows: pd.DataFrame) -> Iterator[Line]:
    def line(name: str, own: pd.DataFrame, found: Estimate, at: str = "") -> Line:
        theory = (f"{name} {kind}",) if kind == "kinked" else ()  # of the others it is the paper's
        return Line((name, *theory), f"{activation}{at}", own, found)

    rows = rows.assign(value=rows["rmse"])
    for depth, own in least(rows, "train").groupby("depth"):
        own = exponents.whole_seeds(own, ["width"])
        yield line("8e", own, exponents.slope(own, "width"), f" L={depth}")
    own = exponents.whole_seeds(least(rows, "depth"), POINT)
    if own["train"].nunique() > 1:
        yield line("8f", own, exponents.jointly(own, ["train", "width"])[0])
        yield line("8g", own, exponents.slope(own, "ratio"))
    own = least(rows[rows["width"] >= WIDE], "depth", "train")
    if own["width"].nunique() > 2:
        yield line("8e", own, exponents.slope(own, "width"), f", n ≥ {WIDE}")
    kept = rows[rows["weights"].notna() & (rows["depth"] > 1)]  # else they are the readout's
    for depth, own in least(kept.assign(value=kept["weights"]), "train").groupby("depth"):
        found = exponents.slope(own, "width")
        yield Line((f"4d {kind}",), f"{activation} L={depth}", own, found)


def change_claims(records: list[Record]) -> list[Claim]:
    """2b, 2c: the exponents of the change of both kernels in n by activation."""
    return claims(records, measured(records), change_lines)


def change_lines(activation: str, kind: str, rows: pd.DataFrame) -> Iterator[Line]:
    own = of_every_width(rows)
    for name, kernel in (("2b", "ntk"), ("2c", "nngp")):
        found = exponents.slope(own.assign(value=own[kernel]), "width")
        yield Line((f"{name} {kind}",), activation, own, found)


def of_every_width(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the least depth and |D|, the seeds that have every width: further seeds of wide networks
    alone would leave those widths alone in an exponent."""
    return exponents.whole_seeds(least(rows, "depth", "train"), ["width"])
