"""Figure 7: a wide residual network and its linearization, minibatches with momentum, MSE."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("wrn_cifar",)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["wrn_cifar"][0]
    figure, axes = panels.grid(2, 2, f"Figure 7: WRN, {panels.settings(record)}")
    for ax, split in zip(axes[0], ("train", "test"), strict=True):
        panels.outputs(ax, record, split)
    panels.curves(axes[1, 0], record, "loss", "loss")
    panels.curves(axes[1, 1], record, "accuracy", "accuracy")
    axes[1, 0].set_yscale("log")
    panels.solid_and_dashed(axes[0, 0])
    if record.lr == 1:  # then time is the step, as on the poster
        for ax in axes.flat:
            ax.set_xlabel("step")
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return checks.loss_curves_agree(records["wrn_cifar"][0])
