"""Figure 5."""

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    return panels.dynamics(records["cnn_cifar"], "Figure 5: ")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return trajectories.loss_and_accuracy_agree(records["cnn_cifar"], "5a")


FIGURE = Figure(
    title="Figure 5: a convolutional network and its linearization, full batch with momentum, MSE",
    experiments={"cnn_cifar": ("seed",)},
    draw=draw,
    claims=claims,
    needs=panels.DYNAMICS,
    paper=(
        "A convolutional network and its linearization behave similarly when trained by full-batch "
        "gradient descent with momentum; the linearized model is trained directly (caption of "
        "Figure 5)."
    ),
    alt=(
        "Six panes over time on a log axis, network solid and linearization dashed: outputs of "
        "train points, of test points, and displacements of single weights above; loss, accuracy "
        "and RMSE on test points below."
    ),
)
