"""Figure 1: kernels of random ReLU networks converge to the analytic ones with width and M."""

from matplotlib.figure import Figure

from ntkrepro.claims import Claim, convergence_claims
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("kernel_convergence",)
PAPER = (
    "Kernels of randomly initialized ReLU networks with one and three hidden layers converge to "
    "the analytic ones as the width n and the number of samples M increase, as O(n^-1/2) (Figure "
    "1, §3.1)."
)
ALT = (
    "Four log-log panes, tangent kernel above and NNGP kernel below, one and three hidden layers: "
    "relative error of the mean of M networks' kernels against width, a line for each M, which "
    "all fall along the dashed reference 1/√n; more samples lie lower."
)
WHY = {
    ("paper", "1a L=3"): (
        "The mean of finite networks' K has a bias of order 1/n at L=3, which the average of 1,024 "
        "samples uncovers at small width: fitted at M=1024 up to n=256 the slope is -0.78, from "
        "n=256 on -0.505 (ntkrepro run -m experiment=kernel_convergence scale=paper)."
    ),
}


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
