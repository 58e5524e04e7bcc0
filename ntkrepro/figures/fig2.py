"""Figure 2."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import change_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, final


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["weight_change"]
    title = "Figure 2: relative Frobenius change during training"
    figure, axes = panels.grid(1, 3, f"{title}, |D|={runs[0].config['data']['train']}")
    weights(axes[0, 0], runs)
    kernels(axes[0, 1], runs)
    over_steps(axes[0, 2], runs)
    panels.shared_legend(figure, axes[0, 2])
    return figure


def weights(ax: Axes, runs: list[Record]) -> None:
    """A line per layer, the readout last."""
    rows = final(runs, "weight_change")
    layers = sorted(rows["index"].unique())
    for layer in layers:
        line = panels.mean_over_seeds(rows[rows["index"] == layer], "width")
        label = "readout" if layer == layers[-1] else f"layer {layer + 1}"
        ax.plot(line.index, line["mean"], "o-", ms=3, label=label)
    reference(ax, rows, -0.5, r"$1/\sqrt{n}$")
    panels.log_log(ax, "weights", "width n", r"$\|W_T-W_0\|_F\,/\,\|W_0\|_F$")
    ax.legend()


def kernels(ax: Axes, runs: list[Record]) -> None:
    for kernel, name in (("ntk", r"\hat\Theta"), ("nngp", r"\hat\mathcal{K}")):
        line = panels.mean_over_seeds(final(runs, f"{kernel}_change"), "width")
        ax.plot(line.index, line["mean"], "o-", ms=3, label=f"${name}$")
    rows = final(runs, "ntk_change")
    reference(ax, rows, -0.5, r"$1/\sqrt{n}$")
    reference(ax, rows, -1.0, "$1/n$")
    panels.log_log(ax, "kernels", "width n", "relative change")
    ax.legend()


def reference(ax: Axes, rows: pd.DataFrame, exponent: float, label: str) -> None:
    widths = np.array(sorted(rows["width"].unique()), float)
    top = float(rows[rows["width"] == widths[0]]["value"].max())
    panels.power(ax, widths, 1.5 * top, exponent, label)


def over_steps(ax: Axes, runs: list[Record]) -> None:
    """Change of the tangent kernel on the way, a line per width."""
    rows = collect(runs, "ntk_change")
    rows = rows[(rows["seed"] == rows["seed"].min()) & (rows["step"] > 0)]
    widths = sorted(rows["width"].unique())
    colours = panels.plt.get_cmap("viridis")(np.linspace(0, 0.9, len(widths)))
    for width, colour in zip(widths, colours, strict=True):
        line = rows[rows["width"] == width]
        ax.plot(line["step"], line["value"], color=colour, label=f"n={width}")
    ax.set(title=r"$\hat\Theta$ on the way", xlabel="step", ylabel="relative change")
    ax.set(xscale="log", yscale="log")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return change_claims(records["weight_change"])


FIGURE = Figure(
    title="Figure 2: relative change of weights and kernels during training, against width",
    experiments=("weight_change",),
    draw=draw,
    claims=claims,
    paper=(
        "The change in weights scales as 1/√n, that of the empirical Θ̂ and K̂ is bounded by "
        "O(1/√n) but close to O(1/n) (caption of Figure 2)."
    ),
    alt=(
        "Three log-log panes. Relative change of each layer's weights against width, and of both "
        "kernels against width, with dashed references 1/√n and 1/n: all fall with width. Change "
        "of the tangent kernel against the step, a line for each width: wider lies lower."
    ),
)
