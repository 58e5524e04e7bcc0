"""What the outputs' scale alpha does to a network and its kernel, from records: Figure F5."""

import pandas as pd

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.scaling import saturated
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, series

LAZY = 4  # from this alpha on 1/alpha is well above 1/alpha^2
POINT = ["centred", "scale", "width"]
MEASURES = ("deviation", "change")


def table(records: list[Record]) -> pd.DataFrame:
    """A row a run: POINT, seed; at its end the test RMSE to the linearization over the outputs' rms
    (`deviation`) and the kernel's relative change; whether its point is saturated (scaling.py)."""
    rows = pd.DataFrame(
        {key: record.config["model"][key] for key in POINT}
        | {"seed": record.config["seed"]}
        | {"rmse": last(record, linear_model(record), "rmse", "test")}
        | {"size": last(record, "network", "output_rms", "test")}
        | {"change": last(record, "network", "ntk_change", "train")}
        for record in records
    )
    wide = saturated(rows, "rmse", POINT)
    return rows.assign(deviation=rows["rmse"] / rows["size"], saturated=wide)


def last(record: Record, model: str, quantity: str, split: str) -> float:
    return float(series(record, model, quantity, split)["value"].iloc[-1])


def laws(rows: pd.DataFrame, what: str) -> dict[str, intervals.Estimate]:
    """Exponents of a measure in alpha and in n, of those that the runs differ in."""
    xs = [x for x in ("scale", "width") if rows[x].nunique() > 1]
    found = exponents.jointly(rows.assign(value=rows[what]), xs)
    return dict(zip(xs, found, strict=True))


CLAIMS = {  # (centred, measure, exponent in) -> contract
    (True, "deviation", "scale"): "F5a",
    (True, "deviation", "width"): "F5b",
    (True, "change", "scale"): "F5c",
    (True, "change", "width"): "F5d",
    (False, "change", "scale"): "F5e",
}


def claims(records: list[Record]) -> list[Claim]:
    """F5a to F5e, of the runs that can tell."""
    rows, out = table(records), []
    lazy = rows[(rows["scale"] >= LAZY) & ~(rows["saturated"] & rows["centred"])]
    for centred in (True, False):
        own = lazy[lazy["centred"] == centred]
        runs = [records[i] for i in own.index]
        for what in MEASURES if runs else ():
            for x, law in laws(own, what).items():
                if name := CLAIMS.get((centred, what, x)):
                    found, sample = exponents.span(own, "scale", "width"), intervals.seeds(own)
                    out.append(judged(name, law, runs, found=found, sample=sample))
    return out
