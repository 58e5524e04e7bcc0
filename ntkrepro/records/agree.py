"""How far two records of one run are apart."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ntkrepro.records.store import Record

COLUMNS = ["step", "time", "model", "quantity", "split", "index", "value"]
WHAT = ["model", "quantity", "split"]
# What another version of a library, compiler or processor may change, over a quantity's largest
# value: training carries rounding along, and a ReLU unit that rounding flips changes its kernel.
# In float64 too weights are drawn in float32 (networks/layers.py).
ROUNDING = {"float32": 0.01, "float64": 0.001}
# What rounding moves by whole examples, or by other leaps.
COUNTED = ("accuracy", "example_correct", "error_estimate", "linearizations", "gradients")


class Apart(NamedTuple):
    """The largest difference over the largest value of its quantity, and which that is; whether all
    bits are the same."""

    same: bool
    share: float
    what: str


def apart(one: Record, other: Record) -> Apart:
    """Infinitely far where they don't hold the same rows."""
    a, b = (record.rows[COLUMNS].astype(dict.fromkeys(WHAT, str)) for record in (one, other))
    keys = ["step", *WHAT, "index"]
    if not a[keys].equals(b[keys]):
        return Apart(False, np.inf, "rows")
    if a["time"].equals(b["time"]) and same_bits(a["value"], b["value"]):
        return Apart(True, 0.0, "")
    off, size = (a["value"] - b["value"]).abs(), a["value"].abs()
    off[a["value"].isna() & b["value"].isna()] = 0.0
    groups = pd.DataFrame({"off": off.fillna(np.inf), "size": size}).join(a[WHAT])
    worst = groups[~groups["quantity"].isin(COUNTED)].groupby(WHAT)[["off", "size"]].max()
    share = (worst["off"] / worst["size"].where(worst["size"] > 0, 1.0)).sort_values()
    return Apart(False, float(share.iloc[-1]), " ".join(filter(None, share.index[-1])))


def same_bits(a: pd.Series, b: pd.Series) -> bool:
    return a.to_numpy().tobytes() == b.to_numpy().tobytes()


def same_software(one: Record, other: Record) -> bool:
    """Whether the same code computed both, by the same libraries, on such a machine, beside as many
    others: then all bits are the same."""
    keys = ("commit", "versions", "python", "machine", "device", "platform", "devices", "pack")
    return all(one.provenance.get(key) == other.provenance.get(key) for key in keys)


def within_rounding(record: Record, found: Apart) -> bool:
    return found.share <= ROUNDING[record.config.get("precision", "float32")]
