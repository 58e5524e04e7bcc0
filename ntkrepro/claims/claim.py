"""The paper's claims as numbers with intervals and verdicts, from records alone.

The whole interval decides: inside what is accepted, outside of it, or neither. A claim on a
deviation that shrinks with width has a verdict at paper scale only; elsewhere its value is shown
without one.
"""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, NamedTuple

from ntkrepro.claims.contracts import Contract, contract
from ntkrepro.claims.criterion import Place
from ntkrepro.claims.intervals import Estimate, Sample
from ntkrepro.records.store import Record

REPRODUCED, FAILED, INCONCLUSIVE, UNCHECKABLE = VERDICTS = (
    "reproduced",
    "not reproduced",
    "inconclusive",
    "not checkable at this scale",
)
OWN = {  # contract, "" any other -> what a verdict is called of runs that are not the paper's
    "": {REPRODUCED: "follows", FAILED: "doesn't follow"},
    "width": {REPRODUCED: "closes", FAILED: "doesn't close"},  # the gap, as the network widens
}
BY_PLACE = {Place.inside: REPRODUCED, Place.outside: FAILED, Place.across: INCONCLUSIVE}


class Claim(NamedTuple):
    """A contract with its number: `value` and its 95 % `interval`.

    at: which of several it is. found: what else is known of it. tested: on which networks and how
    long. checkable: whether the records are such that it can be asked of them. sample: what the
    interval is of, where more of it would make it narrower. own: of a user's own runs, of which no
    claim of the paper is reproduced: they follow it.
    """

    contract: Contract
    value: float
    interval: tuple[float, float]
    at: str = ""
    found: str = ""
    tested: str = ""
    checkable: bool = True
    sample: Sample | None = None
    own: bool = False

    @property
    def id(self) -> str:
        return f"{self.contract.id} {self.at}".rstrip()

    @property
    def statement(self) -> str:
        at = f", {self.at}" if self.at else ""
        return "; ".join(filter(None, (self.contract.measures + at, self.found)))

    @property
    def source(self) -> str:
        return self.contract.source

    @property
    def threshold(self) -> str:
        return self.contract.criterion.text

    @property
    def verdict(self) -> str:
        """What is not a number, or infinite, is no measurement."""
        if not (self.checkable and all(map(isfinite, (self.value, *self.interval)))):
            return UNCHECKABLE
        return BY_PLACE[self.contract.criterion.place(self.interval)]

    @property
    def word(self) -> str:
        """The verdict as it is told."""
        words = OWN.get(self.contract.id, OWN[""]) if self.own else {}
        return words.get(self.verdict, self.verdict)

    @property
    def missing(self) -> str:
        """How much more would decide what is inconclusive, or ""."""
        if self.verdict != INCONCLUSIVE or self.sample is None:
            return ""
        size, items = self.sample
        needed = self.contract.criterion.needed(self.value, self.interval, size)
        if not isfinite(needed):
            return f"no number of {items} decides a value on the edge"
        return f"about {needed} {items} in place of {size} would decide"


def judged(
    name: str,
    estimate: Estimate,
    records: Sequence[Record],
    *,
    at: str = "",
    found: str = "",
    sample: Sample | None = None,
    checkable: bool = True,
) -> Claim:
    """The contract `name` with its number, of these records."""
    own = contract(name)
    large = own.scale == "any" or all(record.paper for record in records)
    return Claim(own, *estimate, at, found, tested(records), checkable and large, sample)


def tested(records: Sequence[Record]) -> str:
    """To which width, depth, |D| and step, and on how many networks."""
    parts = [
        f"{symbol}={_span(record.config[section][key] for record in records)}"
        for symbol, section, key in (
            ("n", "model", "width"),
            ("L", "model", "depth"),
            ("|D|", "data", "train"),
        )
    ]
    if last := max(int(record.rows["step"].max()) for record in records):
        parts.append(f"to step {last}")
    networks = sum(record.config.get("samples") or 1 for record in records)
    return ", ".join([*parts, f"{networks} network{'s' if networks > 1 else ''}"])


def _span(values: Iterable[Any]) -> str:
    low, high = min(found := list(values)), max(found)
    return f"{low}" if low == high else f"{low} to {high}"
