"""Figure 8."""

import numpy as np
from matplotlib.axes import Axes

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import SATURATED, rmse_claims, rmse_rows
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record

PANES = {  # experiment -> what tells its lines apart
    "rmse_fc_depth": "depth",
    "rmse_fc_data": "train",
    "rmse_cnn": "depth",
    "rmse_wrn": "depth",
}


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """A pane for each experiment that was run; the caption names the others."""
    firsts = [runs[0] for runs in records.values()]
    shared = (dict.fromkeys(map(word, firsts)) for word in (panels.data_set, rate))
    title = ", ".join(word for words in shared for word in words)
    lack = ", ".join(name for name in PANES if name not in records)
    hollow = f"hollow: above {SATURATED:.0%} of the outputs' rms, and in no exponent"
    note = f"{panels.BANDS.format('bars')}; {hollow}" + (f". Not run: {lack}" if lack else "")
    title = f"Figure 8: final RMSE to the linearization on test points, {title}"
    figure, axes = panels.panes(len(records), title, note, height=3.0, legends=2)
    for ax, (name, runs) in zip(axes, records.items(), strict=True):
        against_width(ax, runs, PANES[name])
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
        exponent = panels.exponent(own[~own["saturated"]], "width")
        line = panels.over_seeds(ax, own, f"{name}  {exponent}", color=colour)
        hollow = line["mean"][own.groupby("width")["saturated"].all()]
        ax.plot(hollow.index, hollow, "o", ms=3, color=colour, mfc="white", zorder=3)
    widths = np.array(sorted(rows["width"].unique()), float)
    anchor = 0.7 * float(rows[rows["width"] == widths[0]]["value"].min())
    panels.power(ax, widths, anchor, -1.0)
    same = f"|D|={first.config['data']['train']}" if by == "depth" else panels.depth(first)
    panels.log_log(ax, f"{panels.architecture(first)}, {same}", "width n", "RMSE")
    panels.beside(ax)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return rmse_claims(records)


FIGURE = Figure(
    title="Figure 8: final test RMSE between network and linearization, against width",
    experiments={
        name: (f"{'model' if by == 'depth' else 'data'}.{by}", "model.width", "seed")
        for name, by in PANES.items()
    },
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
        "blocks in a group."
    ),
    panes=True,
    needs=("rmse", "loss", "output_rms"),
    only=True,
)
