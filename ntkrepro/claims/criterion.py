"""When a claim holds: an accepted band, in words and as a test, written once."""

from dataclasses import dataclass
from math import inf, isfinite


@dataclass(frozen=True)
class Criterion:
    """Accepts values in low..high; `text` says so.

    strict: without the ends. whole: the whole interval must lie inside, not the value alone.
    widest: how wide an interval may be for a verdict, one that is not a number being too wide;
    none where the value decides, whatever its interval.
    """

    text: str
    low: float = -inf
    high: float = inf
    strict: bool = False
    whole: bool = False
    widest: float | None = None

    def allows_verdict(self, value: float, interval: tuple[float, float]) -> bool:
        """Not where what decides is not a number, or infinite: that is no measurement."""
        narrow = self.widest is None or interval[1] - interval[0] <= self.widest
        return narrow and all(map(isfinite, (value, *self._decides(value, interval))))

    def holds(self, value: float, interval: tuple[float, float]) -> bool:
        return all(map(self._accepts, self._decides(value, interval)))

    def _decides(self, value: float, interval: tuple[float, float]) -> tuple[float, ...]:
        return interval if self.whole else (value,)

    def _accepts(self, x: float) -> bool:
        return self.low < x < self.high if self.strict else self.low <= x <= self.high


def below(limit: float) -> Criterion:
    return Criterion(f"< {_number(limit)}", high=limit, strict=True)


def at_most(limit: float) -> Criterion:
    return Criterion(f"≤ {_number(limit)}", high=limit)


def at_least(limit: float) -> Criterion:
    return Criterion(f"≥ {_number(limit)}", low=limit)


def within(target: float, half: float) -> Criterion:
    """target ± half; no verdict where the interval is wider than the band: too few runs."""
    text = f"{_number(target)} ± {_number(half)}"
    return Criterion(text, target - half, target + half, widest=2 * half)


def sign(of: int) -> Criterion:
    """Below 0 (-1) or above 0 (+1) with the whole interval; no verdict without an interval."""
    low, high = (-inf, 0.0) if of < 0 else (0.0, inf)
    text = f"{'<' if of < 0 else '>'} 0 with 95 % confidence"
    return Criterion(text, low, high, strict=True, whole=True, widest=inf)


def both(a: Criterion, b: Criterion) -> Criterion:
    """Two on the value, their ends included."""
    assert {a.strict, b.strict, a.whole, b.whole} == {False}
    widest = min((c.widest for c in (a, b) if c.widest is not None), default=None)
    text = f"{a.text} and {b.text}"
    return Criterion(text, max(a.low, b.low), min(a.high, b.high), widest=widest)


def _number(x: float) -> str:
    """1e-8, where Python writes 1e-08."""
    return f"{x:g}".replace("e-0", "e-")
