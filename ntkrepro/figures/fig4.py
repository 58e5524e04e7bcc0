"""Figure 4: a fully connected ReLU network on binary CIFAR-10 and its linearization, MSE."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("fc_cifar",)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["fc_cifar"][0]
    return panels.dynamics(record, f"Figure 4: planes and horses, MSE, {panels.settings(record)}")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    record = records["fc_cifar"][0]
    return [
        checks.empirical_beats_analytic(record),
        checks.plateau_is_small(record),
        *checks.loss_and_accuracy_agree(record, "4c", "Figure 4"),
        checks.weights_follow(record),
    ]
