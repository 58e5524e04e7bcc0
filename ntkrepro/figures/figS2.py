"""Figure S2."""

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["fc_cifar_standard"]
    parametrization = runs[0].config["model"]["parametrization"]
    return panels.dynamics(runs, f"Figure S2: {parametrization} parametrization, ")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return trajectories.loss_and_accuracy_agree(records["fc_cifar_standard"], "S2a")


FIGURE = Figure(
    title="Figure S2: as Figure 4 in the standard parametrization (SM E)",
    experiments={"fc_cifar_standard": ("seed",)},
    draw=draw,
    claims=claims,
    needs=panels.DYNAMICS,
    paper=(
        "In the standard parametrization, too, exact and experimental dynamics are nearly "
        "identical for network outputs, and are similar for individual weights (caption of Figure "
        "S2)."
    ),
    alt=(
        "Six panes over time on a log axis, network solid and linearization dashed: outputs of "
        "train points, of test points, and displacements of single weights above; loss, accuracy "
        "and RMSE on test points below."
    ),
)
