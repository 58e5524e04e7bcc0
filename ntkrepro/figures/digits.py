"""The default experiment: the panes of Figure 4 on scikit-learn's digits. Not in the paper."""

from matplotlib.figure import Figure

from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("digits",)


def draw(records: dict[str, Record]) -> Figure:
    record = records["digits"]
    return panels.dynamics(record, f"digits 3 and 8, MSE, {panels.settings(record)}")


def claims(records: dict[str, Record]) -> list[Claim]:
    """None of the paper's: its Figure 4 is on CIFAR-10."""
    return []
