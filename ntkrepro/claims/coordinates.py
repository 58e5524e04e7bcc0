"""How large layers' outputs and updates are against width: the coordinate check, Figure F6."""

from typing import NamedTuple

import pandas as pd

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.contracts import contract
from ntkrepro.claims.criterion import Place
from ntkrepro.claims.intervals import Estimate
from ntkrepro.records.store import Record
from ntkrepro.records.tables import select

KEYS = ["parametrization", "quantity", "place", "layer", "step"]
FLAT = "F6a"  # whose band says what a flat line is


class Law(NamedTuple):
    """A contract, and of which layers: the first hidden one, those behind it, or the outputs."""

    contract: str
    quantity: str
    places: tuple[str, ...]
    parametrizations: tuple[str, ...]


HIDDEN = ("first", "hidden")
LAWS = (
    Law("F6a", "coordinate", HIDDEN, ("ntk", "standard", "mup")),
    Law("F6b", "coordinate", ("output",), ("ntk", "standard")),
    Law("F6c", "coordinate", ("output",), ("mup",)),
    Law("F6d", "coordinate_change", HIDDEN, ("ntk",)),
    Law("F6e", "coordinate_change", HIDDEN, ("mup",)),
    Law("F6f", "coordinate_change", ("output",), ("ntk", "mup")),
    Law("F6g", "coordinate_change", ("first",), ("standard",)),
    Law("F6h", "coordinate_change", ("hidden",), ("standard",)),
    Law("F6i", "coordinate_change", ("output",), ("standard",)),
)


def table(records: list[Record]) -> pd.DataFrame:
    """A row a number: KEYS, width, seed and value of the outputs at theta_0, and of what was added
    to them at every logged step. layer counts from 1; the last is the outputs."""
    frames = []
    for record in records:
        model = record.config["model"]
        for quantity, start in (("coordinate", True), ("coordinate_change", False)):
            rows = select(record, "network", quantity, "train")
            rows = rows[(rows["step"] == 0) == start]
            own = rows[["step", "value"]].assign(layer=rows["index"] + 1, quantity=quantity)
            keys = {key: model[key] for key in ("parametrization", "width")}
            frames.append(own.assign(**keys, seed=record.config["seed"]))
    found = pd.concat(frames, ignore_index=True)
    last = found.groupby("parametrization")["layer"].transform("max")
    place = pd.Series("hidden", found.index).mask(found["layer"] == 1, "first")
    return found.assign(place=place.mask(found["layer"] == last, "output"))


def lines(rows: pd.DataFrame) -> pd.DataFrame:
    """The exponent of every line: KEYS and slope."""
    found = [(*key, exponents.slope(own, "width")) for key, own in rows.groupby(KEYS)]
    return pd.DataFrame(found, columns=[*KEYS, "slope"])


def shape(slope: Estimate) -> str:
    """Whether a line is flat, by the whole interval of its exponent."""
    band = contract(FLAT).criterion
    way = "grows" if slope.value > band.high else "falls"
    return {Place.inside: "flat", Place.outside: way, Place.across: "flat?"}[
        band.place(slope.interval)
    ]


def claims(records: list[Record]) -> list[Claim]:
    """F6a to F6i for every parametrization: of all its layers and steps the one furthest off."""
    rows = table(records)
    found, out = lines(rows), []
    for law in LAWS:
        criterion = contract(law.contract).criterion
        middle = (criterion.low + criterion.high) / 2
        for name in law.parametrizations:
            own = found[(found["parametrization"] == name) & (found["quantity"] == law.quantity)]
            own = own[own["place"].isin(law.places)].reset_index(drop=True)
            if own.empty:
                continue
            worst = intervals.worst(list(own["slope"]), middle)
            line = own.iloc[[slope is worst for slope in own["slope"]].index(True)]
            told = (
                f"of layer {line['layer']} at step {line['step']}; {exponents.span(rows, 'width')}"
            )
            runs = [r for r in records if r.config["model"]["parametrization"] == name]
            sample = intervals.seeds(rows[rows["parametrization"] == name])
            out.append(judged(law.contract, worst, runs, at=name, found=told, sample=sample))
    return out
