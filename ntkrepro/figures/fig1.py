"""Figure 1: kernels of random ReLU networks converge to the analytic ones with width and M."""

from matplotlib.figure import Figure

from ntkrepro.claims import Claim, convergence_claims
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("kernel_convergence",)


def draw(records: dict[str, list[Record]]) -> Figure:
    runs = records["kernel_convergence"]
    depths = sorted({record.config["model"]["depth"] for record in runs})
    figure, axes = panels.grid(2, len(depths), "Figure 1: kernels at initialization against width")
    for row, kernel in zip(axes, ("ntk", "nngp"), strict=True):
        for ax, depth in zip(row, depths, strict=True):
            panels.kernel_error(ax, runs, kernel, depth)
    panels.shared_legend(figure, axes[0, 0])
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return convergence_claims(records["kernel_convergence"])
