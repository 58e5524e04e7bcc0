"""How many linearizations training needs, against width, from records by leaps: Figure F2."""

from math import nan

import pandas as pd

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Sample
from ntkrepro.records.store import Record
from ntkrepro.records.tables import final


def networks(records: list[Record]) -> dict[str, list[Record]]:
    """The runs by their activation."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.config["model"]["activation"], []).append(record)
    return found


def closest(records: list[Record]) -> list[Record]:
    """The runs at the least tolerance."""
    least = min(map(_tolerance, records))
    return [record for record in records if _tolerance(record) == least]


def counts(records: list[Record]) -> pd.DataFrame:
    """Linearizations until the end of each run: columns width, seed, value."""
    return final(records, "linearizations")


def fewest(records: list[Record]) -> float:
    """Without which the solver can't do: at a larger tolerance; not a number without such runs."""
    least = min(map(_tolerance, records))
    free = [record for record in records if _tolerance(record) > least]
    return float(counts(free)["value"].min()) if free else nan


def _tolerance(record: Record) -> float:
    return float(record.config["optimizer"]["tolerance"])


def claims(records: list[Record]) -> list[Claim]:
    """F2a: the count falls with width; F2b: at the widest, over the fewest that there can be."""
    out = []
    for name, runs in networks(records).items():
        rows, least = counts(closest(runs)), fewest(runs)
        own = exponents.measured(rows, "width")
        out.append(judged("F2a", records=closest(runs), at=name, **own))
        widest = rows["width"].max()
        ratios = rows["value"][rows["width"] == widest] / least
        mean, sample = intervals.mean(ratios.to_numpy()), Sample(len(ratios), "seeds")
        found = f"at n={widest}, the fewest is {least:g}"
        out.append(judged("F2b", mean, runs, at=name, found=found, sample=sample))
    return out
