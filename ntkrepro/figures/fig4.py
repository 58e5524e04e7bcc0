"""Figure 4."""

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    return panels.dynamics(records["fc_cifar"], "Figure 4: ")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    runs = records["fc_cifar"]
    return [
        trajectories.empirical_beats_analytic(runs),
        trajectories.plateau_is_small(runs),
        *trajectories.loss_and_accuracy_agree(runs, "4c"),
        trajectories.weights_follow(runs),
    ]


FIGURE = Figure(
    title="Figure 4: a fully connected ReLU network on binary CIFAR-10 and its linearization, MSE",
    experiments={"fc_cifar": ("seed",)},
    draw=draw,
    claims=claims,
    needs=panels.DYNAMICS,
    paper=(
        "Full-batch gradient descent on a network behaves similarly to the analytic dynamics of "
        "its linearization, for outputs and for individual weights; the empirical kernel gives "
        "more accurate dynamics than the analytic one (caption of Figure 4, §3.3)."
    ),
    alt=(
        "Six panes over time on a log axis, network solid and linearization dashed: outputs of "
        "train points, of test points, and displacements of single weights above; loss, accuracy, "
        "and the RMSE on test points by empirical and by analytic kernel below."
    ),
)
