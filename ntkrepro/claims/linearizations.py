"""How many linearizations training needs, against width, from records by leaps: Figure F2."""

from math import nan

import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim, Sample
from ntkrepro.claims.criterion import at_most, below
from ntkrepro.records.store import Record
from ntkrepro.records.tables import final

SOURCE = "Theorem 2.1"


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
        what = f"Linearizations that training needs fall with width, {name}: slope in n"
        slope = intervals.slope(rows, "width")
        out.append(
            Claim(f"F2a {name}", what, SOURCE, *slope, below(0), True, intervals.seeds(rows))
        )
        widest = rows["width"].max()
        ratios = rows["value"][rows["width"] == widest] / least
        what = f"They go to the solver's fewest, {least:g}, {name}: mean ratio at n={widest}"
        paper = all(run.paper for run in runs)
        mean = intervals.mean(ratios.to_numpy())
        sample = Sample(len(ratios), "seeds")
        out.append(Claim(f"F2b {name}", what, SOURCE, *mean, at_most(2), paper, sample))
    return out
