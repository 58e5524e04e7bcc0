"""Figure 7: a wide residual network and its linearization, minibatches with momentum, MSE."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("wrn_cifar",)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["wrn_cifar"][0]
    title = f"Figure 7: CIFAR-10, wide residual network, {panels.settings(record)}"
    figure, axes = panels.grid(2, 2, title)
    for ax, split in zip(axes[0], ("train", "test"), strict=True):
        panels.logits(ax, record, split)
    panels.curves(axes[1, 0], record, "loss", "loss")
    panels.curves(axes[1, 1], record, "accuracy", "accuracy")
    axes[1, 0].set_yscale("log")
    panels.solid_and_dashed(axes[0, 0])
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return checks.loss_curves_agree(records["wrn_cifar"][0])
