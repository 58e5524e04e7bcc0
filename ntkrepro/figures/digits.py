"""The default experiment: the panes of Figure 4 on scikit-learn's digits. Not in the paper."""

from matplotlib.figure import Figure

from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("digits",)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["digits"][0]
    return panels.dynamics(record, f"digits 3 and 8, MSE, {panels.settings(record)}")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    """None of the paper's: its Figure 4 is on CIFAR-10."""
    return []
