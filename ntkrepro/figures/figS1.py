"""Figure S1."""

import numpy as np
from matplotlib.axes import Axes

from ntkrepro.claims import parametrizations
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record

MARKS = {"ntk": ("o", "NTK", "C0"), "standard": ("^", "standard", "C1")}


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["parametrization"]
    first = parametrizations.alike(runs)[0]
    title = f"Figure S1: NTK and standard parametrization, {panels.depth(first)}"
    sizes = f"n={first.config['model']['width']}, |D|={first.config['data']['train']}"
    figure, axes = panels.grid(1, 2, f"{title}, {sizes}", "A mark for each seed", height=3.6)
    for ax, quantity in zip(axes[0], ("accuracy", "loss"), strict=True):
        ends(ax, runs, quantity)
    log(axes[0, 1], "y")
    panels.beside(axes[0, 1])
    return figure


def ends(ax: Axes, runs: list[Record], quantity: str) -> None:
    """Final value on test points: a column per choice, a mark per parametrization and seed."""
    table = parametrizations.final_values(runs, quantity)
    choices = sorted(table["choice"].unique())
    for i, (name, (marker, label, colour)) in enumerate(MARKS.items()):
        rows = table[table["parametrization"] == name]
        x = rows["choice"].map(choices.index).to_numpy(float) + 0.24 * i - 0.12
        ax.plot(x, rows["value"], ls="", marker=marker, mfc="none", color=colour, label=label)
    ax.set_xticks(np.arange(len(choices)), choices, rotation=45, ha="right")
    ax.set(title=f"final test {quantity}", ylabel=quantity)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return parametrizations.claims(records["parametrization"])


FIGURE = Figure(
    title="Figure S1: both parametrizations end alike across data sets, activations and losses",
    experiments={
        "parametrization": (
            "data.name",
            "model.activation",
            "loss.name",
            "model.parametrization",
            "precision",
            "seed",
        )
    },
    follows=("data.train", "data.test", "optimizer", "log"),
    needs=("accuracy", "loss"),
    draw=draw,
    claims=claims,
    paper=(
        "Across data sets, activations and losses, models of both parametrizations perform "
        "similarly for the same normalized learning rate η_std = η_NTK / n (Figure S1, SM E)."
    ),
    alt=(
        "Two panes, final test accuracy and final test loss: a column for each choice of loss, "
        "data set and activation, circles for the NTK parametrization and triangles for the "
        "standard one, close to each other in every column."
    ),
)
