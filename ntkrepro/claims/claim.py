"""The paper's claims as numbers with intervals and verdicts, from records alone.

The whole interval decides: inside what is accepted, outside of it, or neither. A claim on a
deviation that shrinks with width has a verdict at paper scale only; elsewhere its value is shown
without one.
"""

from math import isfinite
from typing import NamedTuple

from ntkrepro.claims.criterion import Criterion, Place

REPRODUCED, FAILED, INCONCLUSIVE, UNCHECKABLE = VERDICTS = (
    "reproduced",
    "not reproduced",
    "inconclusive",
    "not checkable at this scale",
)
BY_PLACE = {Place.inside: REPRODUCED, Place.outside: FAILED, Place.across: INCONCLUSIVE}


class Sample(NamedTuple):
    """What an interval is of: `size` items."""

    size: int
    items: str


class Claim(NamedTuple):
    """One statement: `value` with its 95 % `interval`, and when it holds.

    checkable: whether the records are such that it can be asked of them. sample: what the interval
    is of, where more of it would make it narrower.
    """

    id: str
    statement: str
    source: str
    value: float
    interval: tuple[float, float]
    criterion: Criterion
    checkable: bool = True
    sample: Sample | None = None

    @property
    def threshold(self) -> str:
        return self.criterion.text

    @property
    def verdict(self) -> str:
        """What is not a number, or infinite, is no measurement."""
        if not (self.checkable and all(map(isfinite, (self.value, *self.interval)))):
            return UNCHECKABLE
        return BY_PLACE[self.criterion.place(self.interval)]

    @property
    def missing(self) -> str:
        """How much more would decide what is inconclusive, or ""."""
        if self.verdict != INCONCLUSIVE or self.sample is None:
            return ""
        size, items = self.sample
        needed = self.criterion.needed(self.value, self.interval, size)
        if not isfinite(needed):
            return f"no number of {items} decides a value on the edge"
        return f"about {needed} {items} in place of {size} would decide"
