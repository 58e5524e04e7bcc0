"""Figure 2."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import activations
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import change_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, final, first_draw


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """The panes of each experiment that was run."""
    firsts = {name: first_draw(runs) for name, runs in records.items()}
    drawn = [(pane, runs) for name, runs in firsts.items() for pane in PANES[name]]
    run = next(iter(firsts.values()))[0]
    model, data = (run.config[key] for key in ("model", "data"))
    network = f"{model['activation']}, {panels.depth(run)}, |D|={data['train']}"
    figure, axes = panels.panes(
        len(drawn),
        "Figure 2: relative Frobenius change during training, "
        f"{panels.data_set(run)}, {panels.loss(run)}, {network}",
        "Against width: root mean square over seeds; on the way: the first seed",
        height=3.3,
        legends=3,
    )
    for ax, (pane, runs) in zip(axes, drawn, strict=True):
        pane(ax, runs)
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


def by_activation(ax: Axes, runs: list[Record]) -> None:
    """Change of both kernels, a colour per activation, with its exponents."""
    rows = activations.least(activations.measured(runs), "depth", "train")
    rows = rows[~rows["saturated"]]
    for i, (activation, own) in enumerate(rows.groupby("activation", sort=False)):
        for kernel, name, style in (
            ("ntk", r"\hat\Theta", "o-"),
            ("nngp", r"\hat\mathcal{K}", "s--"),
        ):
            values = own.assign(value=own[kernel])
            line = panels.mean_over_seeds(values, "width")
            power = panels.exponent(activations.of_every_width(values), "width")
            label = f"{activation} ${name}$  {power}"
            ax.plot(line.index, line["mean"], style, ms=3, color=f"C{i}", label=label)
    data = runs[0].config["data"]
    panels.log_log(
        ax,
        f"kernels, {data['name']}, |D|={rows['train'].min()}, {panels.depth(runs[0])}",
        "width n",
        "relative change",
    )
    panels.beside(ax)


PANES: dict[str, tuple[Callable[[Axes, list[Record]], None], ...]] = {  # of an experiment
    "weight_change": (weights, kernels, over_steps),
    "rmse_activations": (by_activation,),
}
CLAIMS = {"weight_change": change_claims, "rmse_activations": activations.change_claims}


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return [claim for name, runs in records.items() for claim in CLAIMS[name](runs)]


FIGURE = Figure(
    title="Figure 2: relative change of weights and kernels during training, against width",
    experiments={
        "weight_change": ("model.width", "data.seed", "seed"),
        "rmse_activations": activations.KEYS,
    },
    draw=draw,
    claims=claims,
    panes=True,
    follows=("log",),
    needs=("ntk_change", "nngp_change"),
    also={"weight_change": ("weight_change",), "rmse_activations": activations.NEEDS},
    only=True,
    paper=(
        "The change in weights scales as 1/√n, that of the empirical Θ̂ and K̂ is bounded by "
        "O(1/√n) but close to O(1/n) (caption of Figure 2)."
    ),
    alt=(
        "Four log-log panes. Relative change of each layer's weights against width, and of both "
        "kernels against width, with a dashed reference 1/√n and a dotted one 1/n: all fall with "
        "width. Change of the tangent kernel against the step, a line for each width: wider lies "
        "lower. Change of both kernels against width for ReLU, tanh and GELU: the tangent kernel's "
        "falls more slowly for ReLU."
    ),
)
