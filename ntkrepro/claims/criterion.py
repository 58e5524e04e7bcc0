"""When a claim holds: an accepted band, in words and as a test of an interval, written once."""

from dataclasses import dataclass
from enum import Enum
from math import ceil, inf

ROUNDING = 1e-9  # of an interval's half: a value so near to an edge is on it


class Place(Enum):
    """Of an interval and a band."""

    inside = "inside"
    outside = "outside"
    across = "across an edge"


@dataclass(frozen=True)
class Criterion:
    """Accepts values in low..high; `text` says so. strict: without the ends."""

    text: str
    low: float = -inf
    high: float = inf
    strict: bool = False

    def place(self, interval: tuple[float, float]) -> Place:
        """Inside where every value of the interval is accepted, outside where none is."""
        if all(map(self._accepts, interval)):
            return Place.inside
        first, last = max(self.low, interval[0]), min(self.high, interval[1])
        shared = first < last if self.strict else first <= last
        return Place.across if shared else Place.outside

    def _accepts(self, x: float) -> bool:
        return self.low < x < self.high if self.strict else self.low <= x <= self.high

    def needed(self, value: float, interval: tuple[float, float], count: int) -> float:
        """How many items would decide, of which `count` gave this interval: its half width falls as
        count^-1/2, and is to be the value's distance from the nearest edge. Infinite on an edge, to
        rounding."""
        edge = min(abs(value - self.low), abs(value - self.high))
        half = max(value - interval[0], interval[1] - value)
        return ceil(count * (half / edge) ** 2) if edge > ROUNDING * half else inf


def below(limit: float) -> Criterion:
    return Criterion(f"< {_number(limit)}", high=limit, strict=True)


def above(limit: float) -> Criterion:
    return Criterion(f"> {_number(limit)}", low=limit, strict=True)


def at_most(limit: float) -> Criterion:
    return Criterion(f"≤ {_number(limit)}", high=limit)


def at_least(limit: float) -> Criterion:
    return Criterion(f"≥ {_number(limit)}", low=limit)


def within(target: float, half: float) -> Criterion:
    """target ± half."""
    return Criterion(f"{_number(target)} ± {_number(half)}", target - half, target + half)


def both(a: Criterion, b: Criterion) -> Criterion:
    """Two whose ends are included."""
    assert {a.strict, b.strict} == {False}
    return Criterion(f"{a.text} and {b.text}", max(a.low, b.low), min(a.high, b.high))


def _number(x: float) -> str:
    """1e-8, where Python writes 1e-08."""
    return f"{x:g}".replace("e-0", "e-")
