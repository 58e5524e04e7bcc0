"""Figure 8."""

import numpy as np
from matplotlib.axes import Axes

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import rmse_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import final_rmse

PANES = {  # experiment -> title, what tells its lines apart, its symbol
    "rmse_fc_depth": ("fully connected, by depth", "depth", "L"),
    "rmse_fc_data": ("fully connected, by data-set size", "train", "|D|"),
    "rmse_cnn": ("convolutional, by depth", "depth", "L"),
    "rmse_wrn": ("wide residual, by blocks", "depth", "N"),
}


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    fraction = next(iter(records.values()))[0].config["optimizer"]["lr_over_critical"]
    title = "Figure 8: final RMSE to the linearization on test points"
    figure, axes = panels.grid(2, 2, rf"{title}, $\eta={fraction:g}\,\eta_c$", height=3.0)
    for ax, (name, pane) in zip(axes.flat, PANES.items(), strict=True):
        if name in records:
            against_width(ax, records[name], *pane)
        else:
            ax.text(0.5, 0.5, f"{pane[0]}: not run", ha="center", transform=ax.transAxes)
            ax.set_axis_off()
    return figure


def against_width(ax: Axes, runs: list[Record], title: str, by: str, symbol: str) -> None:
    """A line for each value of `by`, its fitted exponent in the legend; bars: range over seeds."""
    rows = final_rmse(runs)
    values = sorted(rows[by].unique())
    colours = panels.plt.get_cmap("viridis")(np.linspace(0, 0.9, len(values)))
    for value, colour in zip(values, colours, strict=True):
        own = rows[rows[by] == value]
        line = panels.mean_over_seeds(own, "width")
        bars = np.abs(line[["low", "high"]].to_numpy() - line[["mean"]].to_numpy()).T
        label = f"${symbol}$={value}  {panels.exponent(own, 'width')}"
        ax.errorbar(line.index, line["mean"], bars, fmt="o-", ms=3, color=colour, label=label)
    widths = np.array(sorted(rows["width"].unique()), float)
    anchor = 0.7 * float(rows[rows["width"] == widths[0]]["value"].min())
    panels.power(ax, widths, anchor, -1.0, "$1/n$")
    fixed = runs[0].config["data"]["train"] if by == "depth" else runs[0].config["model"]["depth"]
    detail = f"|D|={fixed}" if by == "depth" else f"L={fixed}"
    panels.log_log(ax, f"{title}, {detail}", "width n", "RMSE")
    ax.legend(fontsize=6)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return rmse_claims(records)


FIGURE = Figure(
    title="Figure 8: final test RMSE between network and linearization, against width",
    experiments=("rmse_fc_depth", "rmse_fc_data", "rmse_cnn", "rmse_wrn"),
    draw=draw,
    claims=claims,
    paper=(
        "As the width grows the final RMSE decreases, approximately as 1/N for fully connected "
        "networks, with more ambiguous scaling for convolutional and wide residual ones; it grows "
        "approximately linearly in the size of the data set (Figure 8, §3.4)."
    ),
    alt=(
        "Four log-log panes of the final RMSE on test points against width, with fitted exponents "
        "and a dashed reference 1/n: fully connected networks by depth and by data-set size, "
        "convolutional networks by depth, wide residual networks by blocks in a group."
    ),
    panes=True,
)
