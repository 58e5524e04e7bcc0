"""Figure S2: as Figure 4 in the standard parametrization (SM E)."""

from matplotlib.figure import Figure

from ntkrepro import claims as checks
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("fc_cifar_standard",)


def draw(records: dict[str, list[Record]]) -> Figure:
    record = records["fc_cifar_standard"][0]
    return panels.dynamics(
        record, f"Figure S2: standard parametrization, {panels.settings(record)}"
    )


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return checks.loss_and_accuracy_agree(records["fc_cifar_standard"][0], "S2a", "Figure S2")
