"""Any quantity of any grid: a line for each `hue`, a pane for each `facet`, against any key.

`ntkrepro figures grid x=width hue=depth WORDS`, WORDS being what `ntkrepro run -m` was given. A
point is the mean over seeds, its bar 95 % by Student's t; of logarithms where the axis has them.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from ntkrepro.claims import exponents, intervals
from ntkrepro.claims.intervals import ALL, SIZE, Estimate
from ntkrepro.config.identity import Run, flat
from ntkrepro.config.keys import written
from ntkrepro.config.schema import Program
from ntkrepro.errors import UserError, nearest
from ntkrepro.figures import asked as words_of
from ntkrepro.figures import fits, panels
from ntkrepro.figures.asked import CURVES, Asked, short
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records import store, tables
from ntkrepro.records.store import Record

FACTOR = 2  # an axis is logarithmic where positive values span more
SHARES = dict.fromkeys(("accuracy", "example_correct"), (0.0, 1.0))  # what they can be
LINE = 0.36  # inches of a line in the legend
TICKS = 8  # an axis of so few values has a tick for each


class Axis(NamedTuple):
    """numbers: else words, one beside the other."""

    numbers: bool
    log: bool


class Slope(NamedTuple):
    """The exponent in x of a line, which `where` tells from the others, over so many seeds."""

    where: str
    of: Estimate
    seeds: int

    def __str__(self) -> str:
        low, high = self.of.interval
        return f"slope {self.of.value:.3g} ({low:.3g} to {high:.3g})"


def given(words: Sequence[str]) -> tuple[Figure, dict[str, tuple[str, ...]]]:
    """The figure of these words, and those of its runs. Raises UserError as `draw` would, as far as
    configs, and the first record that is there, can tell."""
    asked, rest = words_of.read(words)
    named = [word for word in rest if word.lstrip("+").startswith("experiment=")]
    own = (*(named or ["experiment=digits"]), *(word for word in rest if word not in named))
    runs = fits.expand(*own)
    words_of.refuse_pooled([flat(run.experiment) for run in runs], asked)
    refuse_unknown(asked.y, runs)
    return of(asked), {"digits": own}


def refuse_unknown(y: str, runs: Sequence[Run]) -> None:
    """Raises UserError for a quantity that a record hasn't, and no key of `train` leaves out."""
    record = next(filter(None, (store.read(run.path) for run in runs)), None)
    known = {*record.rows["quantity"]} if record else {y}
    switched = y in fits.SWITCHES and record and record.config["program"] == Program.train.name
    if y not in known and not switched:
        raise UserError(f"y={y}: {nearest(y, sorted(known))}")


def of(asked: Asked) -> Figure:
    return FIGURE._replace(
        draw=partial(draw, asked),
        table=partial(table, asked),
        says=partial(says, asked),
        wants=(asked.y,),
        stem=asked.named,
    )


def table(asked: Asked, records: dict[str, list[Record]]) -> pd.DataFrame:
    """The rows that the figure shows: asked.rows."""
    found = records["digits"]
    for record in found:
        fits.refuse_absent("grid", asked.y, record)
    frame = tables.with_configs([*map(tables.about, found)], [record.rows for record in found])
    return words_of.rows(frame, asked)


def draw(asked: Asked, records: dict[str, list[Record]]) -> panels.Picture:
    return picture(table(asked, records), asked)


def says(asked: Asked, records: dict[str, list[Record]]) -> list[str]:
    """The slopes, for the terminal."""
    return [
        f"{s.where or asked.y}: {s} in {asked.x} over {s.seeds} seed{'s' if s.seeds > 1 else ''}"
        for s in slopes(table(asked, records), asked)
    ]


def picture(rows: pd.DataFrame, asked: Asked) -> panels.Picture:
    """Of rows as `asked.rows` gives them."""
    both = axes(rows, asked)
    told = {s.where: s for s in slopes(rows, asked)}
    rows = rows[rows["step"] > 0] if asked.over_time and both[0].log else rows
    facets, hues = (values(rows, name) for name in (asked.facet, asked.hue))
    height, count = max(3.0, 1.0 + LINE * len(hues)), len(facets)
    legends = 2 * panels.columns(count) if told else 1
    title, note = heading(rows, asked), caption(rows, asked, both[1])
    figure, drawn = panels.panes(count, title, note, height=height, legends=legends)
    for ax, facet in zip(drawn, facets, strict=True):
        for hue, colour in zip(hues, colours(rows, asked.hue, hues), strict=True):
            own = where(rows, {asked.facet: facet, asked.hue: hue})
            known = str(told.get(name_of(asked, facet, hue), ""))
            text = "\n".join(filter(None, (label(asked.hue, hue), known)))
            if len(own):
                dash = "--" if asked.hue == "model" and hue != "network" else "-"
                draw_line(ax, own, asked, both, label=text, color=colour, ls=dash)
        dress(ax, rows, asked, both, label(asked.facet, facet))
    for ax in drawn if told else drawn[-1:]:
        if ax.get_legend_handles_labels()[1]:
            panels.beside(ax)
    limits = [ax.get_ylim() for ax in drawn]
    for ax in drawn:  # one scale, so that panes can be compared
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return figure


def heading(rows: pd.DataFrame, asked: Asked) -> str:
    """What y is, in the words of the rows."""
    told = [
        f"{word} {' and '.join(dict.fromkeys(map(str, rows[name])))}{noun}"
        for word, name, noun in (("of", "model", ""), ("on", "split", " points"))
        if name not in asked.columns and any(rows[name])
    ]
    when = {"last": "at the last step"}.get(asked.at, f"at step {asked.at}")
    return panels.plain(" ".join([asked.y, *told, *([] if asked.over_time else [when])]))


def caption(rows: pd.DataFrame, asked: Asked, y: Axis) -> str:
    """What lines and their intervals are; nothing of one seed."""
    mean, bars = "geometric mean" if y.log else "mean", "bands" if asked.over_time else "bars"
    told = f"Lines: {mean} over seeds; {bars}: 95\u00a0%, Student's t"
    return told if rows["seed"].nunique() > 1 and "seed" not in asked.columns else ""


def axes(rows: pd.DataFrame, asked: Asked) -> tuple[Axis, Axis]:
    """Of x and y. Raises UserError where logarithms are asked of what has none."""
    across = rows[asked.x]
    if asked.over_time and asked.xscale != "linear" and (across > 0).any():
        rows = rows[across > 0]
    return (
        axis("xscale", asked.xscale, asked.x, rows[asked.x]),
        axis("yscale", asked.yscale, asked.y, rows["value"]),
    )


def axis(word: str, chosen: str, name: str, found: pd.Series) -> Axis:
    numbers = is_numeric_dtype(found) and not is_bool_dtype(found)
    positive = numbers and bool((found > 0).all())
    if chosen == "log" and not positive:
        raise UserError(f"{word}=log: {name} is not positive everywhere; {word}=linear")
    wide = positive and found.max() > FACTOR * found.min()
    return Axis(numbers, chosen == "log" or (chosen == "auto" and wide))


def values(rows: pd.DataFrame, name: str) -> list[Any]:
    """Of a column: numbers ascending, words as they come; one of none."""
    if not name:
        return [None]
    found = rows[name]
    numbers = is_numeric_dtype(found) and not is_bool_dtype(found)
    return sorted(found.unique()) if numbers else list(found.unique())


def where(rows: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
    for name, value in chosen.items():
        if name:
            rows = rows[rows[name].isna() if pd.isna(value) else rows[name] == value]
    return rows


def label(name: str, value: Any) -> str:
    """key=value, of a short key and in the words of a command line; nothing of no key."""
    if not name:
        return ""
    text = f"{value:g}" if isinstance(value, float | np.floating) else written(value)
    return panels.plain(f"{short(name)}={'null' if pd.isna(value) else text}")


def colours(rows: pd.DataFrame, name: str, shown: Sequence[Any]) -> Sequence[Any]:
    """Shades of numbers, which have an order."""
    ordered = name and is_numeric_dtype(rows[name]) and len(shown) > 1
    return [*panels.shades(len(shown))] if ordered else [f"C{i}" for i in range(len(shown))]


def over_seeds(rows: pd.DataFrame, asked: Asked, y: Axis) -> pd.DataFrame:
    """A row for each x, as it comes: x, mean, and the ends low and high of its interval, which are
    not a number where there is none. A line over training goes as far as all of its seeds."""
    by = "step" if asked.over_time else asked.x
    every = rows["seed"].nunique() if asked.over_time else 1
    found = []
    for position, own in rows.groupby(by, sort=False):
        if own["seed"].nunique() >= every:
            at = own[asked.x].mean() if asked.over_time else position
            found.append((at, *interval(own.groupby("seed")["value"], asked.y, y.log)))
    line = pd.DataFrame(found, columns=["x", "mean", "low", "high"])
    return line.sort_values("x") if is_numeric_dtype(line["x"]) else line


def interval(of_seeds: Any, y: str, logs: bool) -> tuple[float, float, float]:
    """Mean over seeds and its ends; a share, or what is never negative, has no impossible ones."""
    each = of_seeds.mean().to_numpy()
    if np.ptp(each) == 0:  # of one seed, or a share that is 1 in all: nothing is known of others
        return each[0], np.nan, np.nan
    if logs:
        own = intervals.mean(np.log(each))
        mean, low, high = np.exp([own.value, *own.interval])
        return mean, low, high
    size = SIZE if each.min() >= 0 else ALL
    own = intervals.over_networks(each, bounds=SHARES.get(y, size))
    return own.value, *own.interval


def draw_line(
    ax: Axes, rows: pd.DataFrame, asked: Asked, both: tuple[Axis, Axis], **style: Any
) -> None:
    line = over_seeds(rows, asked, both[1])
    has = line["low"].notna()
    x = line["x"] if both[0].numbers else line["x"].map(lambda v: str(written(v)))
    if asked.over_time:
        ax.plot(x, line["mean"], **style)
        band = {"color": style["color"], "alpha": 0.2, "lw": 0}
        if has.any():
            ax.fill_between(x[has], line["low"][has], line["high"][has], **band)
        return
    bars = np.stack([line["mean"] - line["low"], line["high"] - line["mean"]])
    ax.errorbar(x, line["mean"], bars, marker="o", ms=3.5, capsize=2, elinewidth=0.9, **style)


def slopes(rows: pd.DataFrame, asked: Asked) -> list[Slope]:
    """Of each line on two logarithmic axes, as claims have it; of points, and not over training."""
    if asked.x in (*CURVES, "seed") or not all(own.log for own in axes(rows, asked)):
        return []
    found = []
    for facet, hue in product(values(rows, asked.facet), values(rows, asked.hue)):
        own = where(rows, {asked.facet: facet, asked.hue: hue})
        if len(own):
            told = exponents.measured(own, asked.x)
            found += [Slope(name_of(asked, facet, hue), told["estimate"], told["sample"].size)]
    return [slope for slope in found if np.isfinite(slope.of.interval).all()]


def name_of(asked: Asked, facet: Any, hue: Any) -> str:
    """What tells a line from all others."""
    return ", ".join(filter(None, (label(asked.facet, facet), label(asked.hue, hue))))


def dress(ax: Axes, rows: pd.DataFrame, asked: Asked, both: tuple[Axis, Axis], title: str) -> None:
    """Title, names of the axes, their scales and ticks."""
    names = {"time": r"time $\eta\cdot$step"}
    ax.set(
        title=title, xlabel=names.get(asked.x, panels.plain(asked.x)), ylabel=panels.plain(asked.y)
    )
    log(ax, *(name for name, own in zip("xy", both, strict=True) if own.log))
    shown = values(rows, asked.x)
    if both[0].numbers and len(shown) <= TICKS and not asked.over_time:
        ax.xaxis.set_major_locator(FixedLocator(shown))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter("{x:g}")


DEFAULT = Asked()
FIGURE = Figure(
    title="Any quantity of any grid, against any key",
    experiments={"digits": ()},
    draw=partial(draw, DEFAULT),
    table=partial(table, DEFAULT),
    says=partial(says, DEFAULT),
    alt="A pane a facet, a line a hue; slopes with their intervals in the legend.",
    given=given,
    wants=(DEFAULT.y,),
    stem=DEFAULT.named,
    only=True,
)
