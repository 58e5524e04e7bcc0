"""Figure 2."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import change_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, final


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["weight_change"]
    model, data = (runs[0].config[key] for key in ("model", "data"))
    network = f"{model['activation']}, {panels.depth(runs[0])}, |D|={data['train']}"
    figure, axes = panels.grid(
        1,
        3,
        "Figure 2: relative Frobenius change during training, "
        f"{panels.data_set(runs[0])}, {panels.loss(runs[0])}, {network}",
        "Against width: root mean square over seeds; on the way: the first seed",
        height=3.3,
        legends=3,
    )
    weights(axes[0, 0], runs)
    kernels(axes[0, 1], runs)
    over_steps(axes[0, 2], runs)
    return figure


def weights(ax: Axes, runs: list[Record]) -> None:
    """A line per layer, the readout last."""
    rows = final(runs, "weight_change")
    layers = sorted(rows["index"].unique())
    for layer in layers:
        line = panels.mean_over_seeds(rows[rows["index"] == layer], "width")
        label = "readout" if layer == layers[-1] else f"layer {layer + 1}"
        ax.plot(line.index, line["mean"], "o-", ms=3, label=label)
    reference(ax, rows, -0.5)
    panels.log_log(ax, "weights", "width n", r"$\|W_T-W_0\|_F\,/\,\|W_0\|_F$")
    panels.beside(ax)


def kernels(ax: Axes, runs: list[Record]) -> None:
    for kernel, name in (("ntk", r"\hat\Theta"), ("nngp", r"\hat\mathcal{K}")):
        line = panels.mean_over_seeds(final(runs, f"{kernel}_change"), "width")
        ax.plot(line.index, line["mean"], "o-", ms=3, label=f"${name}$")
    rows = final(runs, "ntk_change")
    reference(ax, rows, -0.5)
    reference(ax, rows, -1.0)
    panels.log_log(ax, "kernels", "width n", "relative change")
    panels.beside(ax)


def reference(ax: Axes, rows: pd.DataFrame, exponent: float) -> None:
    widths = np.array(sorted(rows["width"].unique()), float)
    top = float(rows[rows["width"] == widths[0]]["value"].max())
    panels.power(ax, widths, 1.5 * top, exponent)


def over_steps(ax: Axes, runs: list[Record]) -> None:
    """Change of the tangent kernel on the way, a line per width."""
    rows = collect(runs, "ntk_change")
    rows = rows[(rows["seed"] == rows["seed"].min()) & (rows["step"] > 0)]
    widths = sorted(rows["width"].unique())
    for width, colour in zip(widths, panels.shades(len(widths)), strict=True):
        line = rows[rows["width"] == width]
        ax.plot(line["step"], line["value"], color=colour, label=f"n={width}")
    ax.set(title=r"$\hat\Theta$ on the way", xlabel="step", ylabel="relative change")
    log(ax, "x", "y")
    panels.beside(ax)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return change_claims(records["weight_change"])


FIGURE = Figure(
    title="Figure 2: relative change of weights and kernels during training, against width",
    experiments={"weight_change": ("model.width", "seed")},
    draw=draw,
    claims=claims,
    needs=("weight_change", "ntk_change", "nngp_change"),
    only=True,
    paper=(
        "The change in weights scales as 1/√n, that of the empirical Θ̂ and K̂ is bounded by "
        "O(1/√n) but close to O(1/n) (caption of Figure 2)."
    ),
    alt=(
        "Three log-log panes. Relative change of each layer's weights against width, and of both "
        "kernels against width, with a dashed reference 1/√n and a dotted one 1/n: all fall with "
        "width. Change of the tangent kernel against the step, a line for each width: wider lies "
        "lower."
    ),
)
