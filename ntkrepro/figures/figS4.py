"""Figure S4."""

from ntkrepro.claims import ensembles
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.fig3 import along_the_path, trained
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    record = trained(records["ensemble"])
    seen = ensembles.members(record)
    figure, axes = along_the_path("Figure S4", record, "A line for each network")
    for t, ax in enumerate(axes):
        ax.plot(seen.alpha, seen.networks[t].T, color="C0", alpha=0.25, lw=0.6)
        ax.plot([0, 1], [1, -1], "o", color="C3", ms=5, label="train points")
    panels.beside(axes[panels.columns(len(axes)) - 1])
    return figure


FIGURE = Figure(
    title="Figure S4: the functions of Figure 3's networks themselves",
    experiments={"ensemble": ("optimizer.train",)},
    draw=draw,
    paper=(
        "The functions learned for 100 different initializations, in the configuration of Figure 3 "
        "(caption of Figure S4)."
    ),
    alt=(
        "A pane for each of four steps: the outputs of all networks of Figure 3 as thin lines "
        "against alpha, drawn together at the two train points as training goes on."
    ),
)
