"""The paper's claims as numbers with intervals and verdicts, from records alone.

A claim on a deviation that shrinks with width has a verdict at paper scale only; elsewhere its
value is shown without one.
"""

from typing import NamedTuple

from ntkrepro.claims.criterion import Criterion

REPRODUCED, FAILED, UNCHECKABLE = "reproduced", "not reproduced", "not checkable at this scale"


class Claim(NamedTuple):
    """One statement: `value` with its 95 % `interval`, and when it holds.

    checkable: whether the records are such that it can be asked of them.
    """

    id: str
    statement: str
    source: str
    value: float
    interval: tuple[float, float]
    criterion: Criterion
    checkable: bool = True

    @property
    def threshold(self) -> str:
        return self.criterion.text

    @property
    def verdict(self) -> str:
        if not (self.checkable and self.criterion.allows_verdict(self.value, self.interval)):
            return UNCHECKABLE
        return REPRODUCED if self.criterion.holds(self.value, self.interval) else FAILED
