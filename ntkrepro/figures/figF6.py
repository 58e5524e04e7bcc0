"""Figure F6: the coordinate check of three parametrizations."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import coordinates
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record

NAMES = {"ntk": "NTK", "standard": "standard", "mup": "µP"}
TITLES = {"coordinate": r"$h$ at $\theta_0$", "coordinate_change": r"$h_t-h_0$"}
STYLES: tuple[dict[str, Any], ...] = (
    {"fmt": "o-"},
    {"fmt": "s--", "alpha": 0.6},
)  # of the first logged step, and of the last


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """A column for each parametrization: the layers' outputs at the start, and what is added."""
    runs = records["coordinate_check"]
    first, rows = runs[0], coordinates.table(runs)
    shown = [name for name in NAMES if name in set(rows["parametrization"])]
    what = f"{panels.data_set(first)}, {panels.loss(first)}, {first.config['model']['activation']}"
    what += f", {panels.depth(first)}, |D|={first.config['data']['train']}"
    title = f"Figure F6: coordinate check, one learning rate at every width, {what}"
    rates = {record.config["model"]["parametrization"]: record.lr for record in runs}
    note = f"{panels.BANDS.format('bars')}; rms over examples and units; t: steps; in the legends "
    note += "n^exponent, and whether its 95 % interval says that the line is flat, grows or falls"
    figure, axes = panels.grid(2, len(shown), title, note, height=3.0, legends=len(shown))
    for line, quantity in zip(axes, TITLES, strict=True):
        for ax, name in zip(line, shown, strict=True):
            own = rows[(rows["parametrization"] == name) & (rows["quantity"] == quantity)]
            pane(ax, own)
            title = rf"{NAMES[name]}, $\eta$={rates[name]:g}: {TITLES[quantity]}"
            panels.log_log(ax, title, "width n", "rms")
            panels.beside(ax)
    return figure


def pane(ax: Axes, rows: pd.DataFrame) -> None:
    """A line for each layer, and step."""
    last, steps = rows["layer"].max(), sorted(rows["step"].unique())
    steps = list(dict.fromkeys((steps[0], steps[-1])))
    slopes = coordinates.lines(rows).set_index(["layer", "step"])["slope"]
    for step, style in zip(steps, STYLES, strict=False):
        for layer, colour in zip(range(1, last + 1), panels.shades(last), strict=True):
            slope = slopes[layer, step]
            name = "outputs" if layer == last else f"layer {layer}"
            at = f", t={step}" if step else ""
            told = f"{name}{at}  $n^{{{slope.value:.2f}}}$ {coordinates.shape(slope)}"
            own = rows[(rows["layer"] == layer) & (rows["step"] == step)]
            mean = panels.mean_over_seeds(own, "width")
            bars = (mean["mean"] - mean["low"], mean["high"] - mean["mean"])
            ax.errorbar(
                mean.index, mean["mean"], bars, ms=3, capsize=2, label=told, color=colour, **style
            )


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return coordinates.claims(records["coordinate_check"])


FIGURE = Figure(
    title=(
        "Figure F6, not in the paper: the coordinate check, how large every layer's outputs and "
        "updates are against width, in the NTK, the standard and the maximal update "
        "parametrization"
    ),
    experiments={"coordinate_check": ("model.parametrization", "model.width", "seed")},
    draw=draw,
    claims=claims,
    follows=("optimizer.steps", "optimizer.lr"),
    needs=("coordinate", "coordinate_change"),
    paper=(
        "Where the kernel stays, hidden layers' outputs hardly move and those of the network do "
        "(§2.4). In the maximal update parametrization all move alike at every width, at one "
        "learning rate (Yang & Hu 2021); so each line that should be flat is one to check an "
        "implementation by."
    ),
    alt=(
        "Six log-log panes against width, a column for each parametrization. Above, layers' "
        "outputs at the start: level, but the network's outputs in µP, which fall. Below, what "
        "steps add: in the NTK parametrization hidden layers fall and outputs are level; in the "
        "standard one at one rate hidden layers and outputs grow; in µP all are level."
    ),
)
