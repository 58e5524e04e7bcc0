"""Figure S3."""

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import convergence_claims
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import first_draw


def shallow(records: dict[str, list[Record]]) -> list[Record]:
    """The runs of the least depth, one hidden layer unless others were asked for, of the first draw
    of the inputs."""
    runs = first_draw(records["kernel_convergence"])
    least = min(run.config["model"]["depth"] for run in runs)
    return [run for run in runs if run.config["model"]["depth"] == least]


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = shallow(records)
    title = f"Figure S3: {panels.initial_kernels(runs[0])}"
    figure, axes = panels.grid(1, 2, title, panels.BANDS.format("bands"), height=3.3)
    for ax, kernel in zip(axes[0], ("ntk", "nngp"), strict=True):
        panels.kernel_error(ax, runs, kernel, runs[0].config["model"]["depth"])
    panels.beside(axes[0, -1])
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return convergence_claims(shallow(records))


FIGURE = Figure(
    title="Figure S3: as Figure 1, one hidden layer",
    experiments={"kernel_convergence": ("model.depth", "model.width", "data.seed", "seed")},
    draw=draw,
    claims=claims,
    needs=("nngp_error", "ntk_error"),
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
