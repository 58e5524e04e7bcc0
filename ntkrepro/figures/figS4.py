"""Figure S4: the functions of Figure 3's networks themselves."""

from matplotlib.figure import Figure

from ntkrepro import processes
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.fig3 import EXPERIMENTS, trained
from ntkrepro.records import Record

__all__ = ["EXPERIMENTS", "claims", "draw"]

PAPER = (
    "The functions learned for 100 different initializations, in the configuration of Figure 3 "
    "(caption of Figure S4)."
)
ALT = (
    "A pane for each of four steps: the outputs of all networks of Figure 3 as thin lines against "
    "alpha, drawn together at the two train points as training goes on."
)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = trained(records)
    seen = processes.path(record)
    title = f"Figure S4: {seen.networks.shape[1]} networks, {panels.settings(record)}"
    figure, axes = panels.grid(1, len(seen.steps), title)
    for t, ax in enumerate(axes[0]):
        ax.plot(seen.alpha, seen.networks[t].T, color="C0", alpha=0.25, lw=0.6)
        ax.plot([0, 1], [1, -1], "o", color="C3", ms=5)
        ax.set(title=f"step {seen.steps[t]}", xlabel=r"$\alpha$", ylabel=r"$f_t(x(\alpha))$")
        ax.sharey(axes[0, 0])
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    """None of its own: those of Figure 3 are on these functions."""
    return []
