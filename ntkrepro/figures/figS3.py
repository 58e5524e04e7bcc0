"""Figure S3."""

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import convergence_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def shallow(records: dict[str, list[Record]]) -> list[Record]:
    return [run for run in records["kernel_convergence"] if run.config["model"]["depth"] == 1]


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    figure, axes = panels.grid(1, 2, "Figure S3: kernels of one hidden layer against width")
    for ax, kernel in zip(axes[0], ("ntk", "nngp"), strict=True):
        panels.kernel_error(ax, shallow(records), kernel, 1)
    panels.shared_legend(figure, axes[0, 0])
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return convergence_claims(shallow(records))


FIGURE = Figure(
    title="Figure S3: as Figure 1, one hidden layer",
    experiments=("kernel_convergence",),
    draw=draw,
    claims=claims,
    paper=(
        "Kernels of randomly initialized ReLU networks with a single hidden layer converge to the "
        "analytic kernels (caption of Figure S3)."
    ),
    alt=(
        "Two log-log panes, tangent kernel and NNGP kernel of one hidden layer: relative error of "
        "the mean of M networks' kernels against width, a line for each M, along the dashed "
        "reference 1/√n."
    ),
)
