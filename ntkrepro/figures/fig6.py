"""Figure 6: momentum, minibatches and cross entropy on all of MNIST, both models trained."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("fc_mnist",)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["fc_mnist"][0]
    return panels.dynamics(record, f"Figure 6: MNIST, cross entropy, {panels.settings(record)}")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    record = records["fc_mnist"][0]
    return [
        *checks.loss_and_accuracy_agree(record, "6a", "Figure 6"),
        checks.logits_follow(record),
    ]
