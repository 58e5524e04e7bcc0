"""Figure S2: as Figure 4 in the standard parametrization (SM E)."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("fc_cifar_standard",)
PAPER = (
    "In the standard parametrization, too, exact and experimental dynamics are nearly identical "
    "for network outputs, and are similar for individual weights (caption of Figure S2)."
)
ALT = (
    "Six panes over time on a log axis, network solid and linearization dashed: outputs of train "
    "points, of test points, and displacements of single weights above; loss, accuracy and RMSE "
    "on test points below."
)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["fc_cifar_standard"][0]
    return panels.dynamics(
        record, f"Figure S2: standard parametrization, {panels.settings(record)}"
    )


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return checks.loss_and_accuracy_agree(records["fc_cifar_standard"][0], "S2a", "Figure S2")
