"""Figure 8."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import activations, exponents
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import SATURATED, rmse_claims, rmse_rows
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import first_draw

LINES = {  # experiment -> what tells its lines apart
    "rmse_fc_depth": "depth",
    "rmse_fc_data": "train",
    "rmse_cnn": "depth",
    "rmse_wrn": "depth",
}


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """The panes of each experiment that was run; the caption names the others."""
    drawn = [(pane, first_draw(runs)) for name, runs in records.items() for pane in PANES[name]]
    firsts = [runs[0] for _, runs in drawn]
    shared = (dict.fromkeys(map(word, firsts)) for word in (panels.data_set, rate))
    title = ", ".join(word for words in shared for word in words)
    lack = ", ".join(name for name in PANES if name not in records)
    hollow = f"hollow: above {SATURATED:.0%} of the outputs' rms, and in no exponent"
    note = f"{panels.BANDS.format('bars')}; {hollow}" + (f". Not run: {lack}" if lack else "")
    title = f"Figure 8: final RMSE to the linearization on test points, {title}"
    figure, axes = panels.panes(len(drawn), title, note, height=3.0, legends=3)
    for ax, (pane, runs) in zip(axes, drawn, strict=True):
        pane(ax, runs)
    return figure


def rate(record: Record) -> str:
    fraction = record.config["optimizer"]["lr_over_critical"]
    return rf"$\eta$={record.lr:.3g}" if fraction is None else rf"$\eta={fraction:g}\,\eta_c$"


def against_width(ax: Axes, runs: list[Record], by: str) -> None:
    """A line for each value of `by`, its fitted exponent in the legend; bars: range over seeds."""
    rows, first = rmse_rows(runs), runs[0]
    values = sorted(rows[by].unique())
    for value, colour in zip(values, panels.shades(len(values)), strict=True):
        own = rows[rows[by] == value]
        name = panels.depth(first, value) if by == "depth" else f"|D|={value}"
        panels.line_in_width(ax, own, name, colour)
    widths = np.array(sorted(rows["width"].unique()), float)
    anchor = 0.7 * float(rows[rows["width"] == widths[0]]["value"].min())
    panels.power(ax, widths, anchor, -1.0)
    same = f"|D|={first.config['data']['train']}" if by == "depth" else panels.depth(first)
    panels.log_log(ax, f"{panels.architecture(first)}, {same}", "width n", "RMSE")
    panels.beside(ax)


def by_activation(ax: Axes, runs: list[Record]) -> None:
    """Against width at the least |D|, a line per activation."""
    rows = activations.least(activations.measured(runs), "depth", "train")
    for colour, activation, own in of_activations(rows):
        scatter(ax, own, "width", "n", activation, colour)
    panels.log_log(ax, told(runs[0], rows), "width n", "RMSE")
    panels.beside(ax)


def collapsed(ax: Axes, runs: list[Record]) -> None:
    """Against |D|/n, all |D| and widths of the least depth on one line per activation."""
    rows = activations.least(activations.measured(runs), "depth")
    for colour, activation, own in of_activations(rows):
        scatter(ax, own, "ratio", "(|D|/n)", activation, colour)
    panels.log_log(ax, told(runs[0], rows), "|D| / n", "RMSE")
    panels.beside(ax)


def of_activations(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """A colour, and the rows, of each."""
    for i, (activation, own) in enumerate(rows.groupby("activation", sort=False)):
        yield f"C{i}", str(activation), own


def scatter(ax: Axes, rows: pd.DataFrame, x: str, base: str, activation: str, colour: str) -> None:
    """The points of an activation, and the power law that its claim is on."""
    rows = rows.assign(value=rows["rmse"])
    own = exponents.whole_seeds(rows[~rows["saturated"]], ["width", "train"])
    slope = exponents.slope(own, x).value
    for _, point in rows.groupby(["width", "train"]):
        at, face = point[x].iloc[0], "white" if point["saturated"].all() else colour
        ax.plot(at, rms(point["value"]), "o", ms=3.5, color=colour, mfc=face, zorder=3)
    known = np.isfinite(slope)
    ends = np.array([own[x].min(), own[x].max()] if known else [], float)
    middle = np.exp(np.log(own[[x, "value"]]).mean())
    label = f"{activation}  ${base}^{{{slope:.2f}}}$" if known else activation
    ax.plot(ends, middle["value"] * (ends / middle[x]) ** slope, color=colour, lw=1, label=label)


def told(run: Record, rows: pd.DataFrame) -> str:
    return f"{panels.depth(run, rows['depth'].min())}, {exponents.span(rows, 'train', 'width')}"


def rms(values: pd.Series) -> float:
    return float(np.sqrt((values**2).mean()))


PANES: dict[str, tuple[Callable[[Axes, list[Record]], None], ...]] = {
    **{name: (partial(against_width, by=by),) for name, by in LINES.items()},
    "rmse_activations": (by_activation, collapsed),
}


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    found = rmse_claims(records)
    if runs := records.get("rmse_activations"):
        found += activations.rmse_claims(runs)
    return found


FIGURE = Figure(
    title="Figure 8: final test RMSE between network and linearization, against width",
    experiments={
        name: (f"{'model' if by == 'depth' else 'data'}.{by}", "model.width", "seed")
        for name, by in LINES.items()
    }
    | {"rmse_activations": activations.KEYS},
    draw=draw,
    claims=claims,
    paper=(
        "As the width grows the final RMSE decreases, approximately as 1/N for fully connected "
        "networks, with more ambiguous scaling for convolutional and wide residual ones; it grows "
        "approximately linearly in the size of the data set (Figure 8, §3.4)."
    ),
    alt=(
        "A log-log pane for each grid that was run, of the final RMSE on test points against "
        "width, with fitted exponents and a dotted reference 1/n: fully connected networks by "
        "depth and by data-set size, convolutional networks by depth, wide residual networks by "
        "blocks in a group; by activation; and of all widths and sizes of the data set against "
        "|D|/n, where the points of an activation lie on one line, ReLU's the flatter one."
    ),
    panes=True,
    follows=("log",),
    needs=("rmse", "loss", "output_rms"),
    also={"rmse_activations": activations.NEEDS},
    wants=("weight",),
    only=True,
)
