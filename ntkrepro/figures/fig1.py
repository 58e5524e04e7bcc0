"""Figure 1."""

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import convergence_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import first_draw


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = first_draw(records["kernel_convergence"])
    depths = sorted({record.config["model"]["depth"] for record in runs})
    title = f"Figure 1: {panels.initial_kernels(runs[0])}"
    figure, axes = panels.grid(2, len(depths), title, panels.BANDS.format("bands"))
    for row, kernel in zip(axes, ("ntk", "nngp"), strict=True):
        for ax, depth in zip(row, depths, strict=True):
            panels.kernel_error(ax, runs, kernel, depth)
    panels.beside(axes[0, -1])
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return convergence_claims(records["kernel_convergence"])


FIGURE = Figure(
    title=(
        "Figure 1: kernels of random ReLU networks converge to the analytic ones with width and M"
    ),
    experiments={"kernel_convergence": ("model.depth", "model.width", "data.seed", "seed")},
    draw=draw,
    claims=claims,
    needs=("nngp_error", "ntk_error"),
    paper=(
        "Kernels of randomly initialized ReLU networks with one and three hidden layers converge "
        "to the analytic ones as the width n and the number of samples M increase, as O(n^-1/2) "
        "(Figure 1, §3.1)."
    ),
    alt=(
        "Four log-log panes, tangent kernel above and NNGP kernel below, one and three hidden "
        "layers: relative error of the mean of M networks' kernels against width, a line for each "
        "M, which all fall along the dashed reference 1/√n; more samples lie lower."
    ),
)
