"""Figure F5: how far from their linearization networks are, against their scale and width."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import dial
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import SATURATED
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record

TITLES = {
    "deviation": "test RMSE to the linearization,\nover the outputs' rms",
    "change": "relative change of the tangent kernel",
}
AGAINST = {  # x -> the other key, how its lines are named, and what x is called
    "scale": ("width", "n={:g}", r"$\alpha$"),
    "width": ("scale", r"$\alpha$={:g}", "width n"),
}


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["lazy_rich"]
    first, rows = runs[0], dial.table(runs)
    what = f"{panels.data_set(first)}, {panels.loss(first)}, {first.config['model']['activation']}"
    what += f", {panels.depth(first)}, |D|={first.config['data']['train']}"
    title = rf"Figure F5: the outputs' scale $\alpha$ from rich to lazy, {what}"
    note = rf"{panels.BANDS.format('bars')}; dotted: $\alpha f$ with $f_0$ left in, else "
    note += rf"$\alpha(f-f_0)$; dashed: its law; level: {SATURATED:.0%}, above which none is fitted"
    figure, axes = panels.grid(2, 2, title, note, height=3.0, legends=2)
    for line, measure in zip(axes, dial.MEASURES, strict=True):
        for ax, x in zip(line, AGAINST, strict=True):
            pane(ax, rows.assign(value=rows[measure]), x)
            ax.set_title(TITLES[measure])
    axes[0, 0].axhline(SATURATED, color="0.35", ls="-.", lw=0.8)
    return figure


def pane(ax: Axes, rows: pd.DataFrame, x: str) -> None:
    """A line for each value of the other key, and the law through the last one's end."""
    own = rows[rows["centred"]]
    for label, part, style in lines(rows, x):
        mean = panels.mean_over_seeds(part, x)
        bars = np.abs(mean[["low", "high"]].to_numpy() - mean[["mean"]].to_numpy()).T
        ax.errorbar(mean.index, mean["mean"], bars, ms=3, capsize=2, label=label, **style)
    ends = np.array([own[x].min(), own[x].max()], float)
    if len(own) and ends[1] > ends[0]:
        other = AGAINST[x][0]
        level = panels.mean_over_seeds(own[own[other] == own[other].max()], x)["mean"].iloc[-1]
        law = "$1/n$" if x == "width" else r"$1/\alpha$"
        ax.plot(ends, level * ends[1] / ends, color="0.35", ls="--", lw=1, label=law)
    panels.log_log(ax, "", AGAINST[x][2], "at the end")
    panels.beside(ax)


def lines(rows: pd.DataFrame, x: str) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Label, rows and style; those with f_0 left in against alpha alone."""
    other, named, _ = AGAINST[x]
    values = sorted(rows[other].unique())
    for value, colour in zip(values, panels.shades(len(values)), strict=True):
        for centred, dash in ((True, "-"), (False, ":")):
            own = rows[(rows[other] == value) & (rows["centred"] == centred)]
            if own[x].nunique() > 1:
                told = "" if centred else r", $f_0$ left in"
                yield named.format(value) + told, own, {"color": colour, "fmt": f"o{dash}"}


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return dial.claims(records["lazy_rich"])


FIGURE = Figure(
    title=(
        "Figure F5, not in the paper: one dial from rich to lazy training, the outputs' scale, "
        "and width"
    ),
    experiments={"lazy_rich": ("model.centred", "model.scale", "model.width", "seed")},
    draw=draw,
    claims=claims,
    needs=("rmse", "output_rms", "ntk_change"),
    paper=(
        "Any differentiable model whose outputs start at 0 trains as its linearization once they "
        "are multiplied by a large α and the learning rate is divided by α² (Chizat, Oyallon & "
        "Bach 2019). Width is one way to such a scale."
    ),
    alt=(
        "Four log-log panes: above, the distance of the network from its linearization, below, the "
        "change of the tangent kernel; left against the outputs' scale α with a line for each "
        "width, right against width with a line for each α. All fall, for α above 1 as the dashed "
        "1/α and 1/n. Dotted, with the initial outputs left in, there is no fall in α."
    ),
)
