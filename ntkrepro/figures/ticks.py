"""Logarithmic axes, which have at least two labelled ticks however short they are."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter, NullLocator


class LogTicks(LogLocator):
    """Powers of `base`; where the axis shows fewer than two, 1, 2 and 5 of each decade, and where
    it shows fewer than two of those, evenly spaced values."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        finer = LogLocator(subs=(1, 2, 5), numticks=8)
        for ticks in (super().tick_values(vmin, vmax), finer.tick_values(vmin, vmax)):
            if sum(vmin <= x <= vmax for x in ticks) > 1:
                return ticks
        return MaxNLocator(5).tick_values(vmin, vmax)


class LogLabels(Formatter):
    """Powers where all ticks are powers of `base`, else plain numbers."""

    def __init__(self, base: int) -> None:
        self.base = base

    def set_locs(self, locs: Sequence[float]) -> None:
        self.ticks = locs

    def __call__(self, x: float, pos: int | None = None) -> str:
        powers = np.log(self.ticks) / np.log(self.base)
        if np.allclose(powers, powers.round()):
            return f"${self.base}^{{{np.log(x) / np.log(self.base):.0f}}}$"
        if 1e-3 <= x < 1e5:
            return f"{x:.6g}"
        mantissa, exponent = f"{x:.5e}".split("e")
        return rf"${float(mantissa):g}\cdot 10^{{{int(exponent)}}}$"


def log(ax: Axes, *names: str, base: int = 10) -> None:
    """Make the axes "x", "y" logarithmic."""
    for name in names:
        ax.set(**{f"{name}scale": "log"})
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(LogTicks(base, numticks=8))
        axis.set_major_formatter(LogLabels(base))
        axis.set_minor_formatter(NullFormatter())
        if base != 10:
            axis.set_minor_locator(NullLocator())
