"""The default experiment: the panes of Figure 4 on scikit-learn's digits. Not in the paper."""

from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    record = records["digits"][0]
    return panels.dynamics(record, f"digits 3 and 8, MSE, {panels.settings(record)}")


FIGURE = Figure(
    title="The default experiment: the panes of Figure 4 on scikit-learn's digits",
    experiments=("digits",),
    draw=draw,
)
