"""The default experiment: the panes of Figure 4 on scikit-learn's digits. Not in the paper."""

from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    return panels.dynamics(records["digits"])


FIGURE = Figure(
    title="The default experiment: the panes of Figure 4 on scikit-learn's digits",
    experiments={"digits": ()},
    draw=draw,
    needs=panels.DYNAMICS,
)
