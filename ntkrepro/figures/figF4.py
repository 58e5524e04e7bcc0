"""Figure F4: which phase runs end in, against the learning rate over the critical one."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ntkrepro.claims import phases
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.phases import Phase
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record

LOOKS = {
    Phase.stable: ("C0", "o"),
    Phase.catapult: ("C1", "^"),
    Phase.divergent: ("C3", "x"),
    Phase.unsettled: ("0.5", "s"),
}
ASIDE = 1.07  # how far widths stand apart


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """A row for each activation: share of phases, the loss's rise, the kernel's eigenvalue."""
    runs = records["lr_phases"]
    first, rows = runs[0], phases.table(runs)
    data, widths = first.config["data"]["train"], sorted(rows["width"].unique())
    what = f"{panels.data_set(first)}, {panels.loss(first)}, {panels.depth(first)}, |D|={data}"
    title = f"Figure F4: the phase that gradient descent ends in, {what}"
    told = ", ".join(f"{n}" for n in widths)
    note = f"A marker for each network; from left to right at each rate: n={told}"
    activations = list(dict.fromkeys(rows["activation"]))
    figure, axes = panels.grid(len(activations), 3, title, note, height=2.9)
    for line, activation in zip(axes, activations, strict=True):
        own = rows[rows["activation"] == activation]
        ended = own[own["phase"] != Phase.divergent]
        shares(line[0], own, activation)
        scatter(line[1], own, "rise", widths, "train loss over its least before, at most")
        log(line[1], "y")
        scatter(line[2], ended, "eigenvalue", widths, r"$\lambda_{max}$ at the end over the start")
        above = np.geomspace(1, max(2, own["fraction"].max()))
        line[2].plot(above, 1 / above, color="0.35", ls="--", lw=1)
        looks = [
            Line2D([], [], color=colour, marker=marker, ms=4, label=phase.name)
            for phase, (colour, marker) in LOOKS.items()
        ]
        critical = Line2D([], [], color="0.35", ls="--", lw=1, label=r"$\eta=\eta_c$ at the end")
        panels.beside(line[2], [*looks, critical])
    return figure


def shares(ax: Axes, rows: pd.DataFrame, activation: str) -> None:
    """Of all networks in each phase."""
    for phase, (colour, marker) in LOOKS.items():
        line = (rows["phase"] == phase).groupby(rows["fraction"]).mean()
        ax.plot(line.index, line, color=colour, marker=marker, ms=4)
    over_rates(ax, f"{activation}: share of networks", "")


def scatter(ax: Axes, rows: pd.DataFrame, what: str, widths: list[int], title: str) -> None:
    middle = (len(widths) - 1) / 2
    for phase, (colour, marker) in LOOKS.items():
        own = rows[rows["phase"] == phase]
        x = own["fraction"] * ASIDE ** (own["width"].map(widths.index) - middle)
        ax.plot(x, own[what], color=colour, marker=marker, ms=3, ls="", alpha=0.6)
    over_rates(ax, title, "")


def over_rates(ax: Axes, title: str, ylabel: str) -> None:
    ax.set(title=title, xlabel=r"$\eta\,/\,\eta_c$", ylabel=ylabel)
    log(ax, "x", base=2)
    ax.axvline(1, color="0.35", ls=":", lw=1)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return phases.claims(records["lr_phases"])


FIGURE = Figure(
    title=(
        "Figure F4, not in the paper: which phase gradient descent ends in, against the learning "
        "rate over the critical one"
    ),
    experiments={
        "lr_phases": ("model.activation", "model.width", "optimizer.lr_over_critical", "seed")
    },
    draw=draw,
    claims=claims,
    needs=("loss", "ntk_largest", "lr_critical", "rmse"),
    paper=(
        "Theorem 2.1 is for gradient descent at a learning rate below a critical one: there wide "
        "networks train as their linearization does, which diverges above it."
    ),
    alt=(
        "Three panes a row against the learning rate over the critical one, a row for ReLU and one "
        "for tanh networks. Share of networks in each phase: all are stable up to 1, then all "
        "catapult, then all diverge. The loss does not rise up to 1 and rises by orders of "
        "magnitude above. The largest eigenvalue of the kernel stays as it was up to 1 and ends "
        "below the dashed line, where the rate is critical, in networks that catapulted."
    ),
)
