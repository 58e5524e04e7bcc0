"""Figure 6: momentum, minibatches and cross entropy on all of MNIST, both models trained."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("fc_mnist",)
PAPER = (
    "A network and its linearization behave similarly when both are trained by SGD with momentum "
    "on cross entropy on MNIST (caption of Figure 6)."
)
ALT = (
    "Six panes over time on a log axis, network solid and linearization dashed: all ten logits of "
    "one train point, of one test point, and displacements of single weights above; loss, "
    "accuracy and RMSE on test points below."
)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["fc_mnist"][0]
    return panels.dynamics(record, f"Figure 6: MNIST, cross entropy, {panels.settings(record)}")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    record = records["fc_mnist"][0]
    return [
        *checks.loss_and_accuracy_agree(record, "6a", "Figure 6"),
        checks.logits_follow(record),
    ]
