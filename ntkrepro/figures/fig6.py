"""Figure 6."""

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    return panels.dynamics(records["fc_mnist"], "Figure 6: ")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    runs = records["fc_mnist"]
    return [*trajectories.loss_and_accuracy_agree(runs, "6a"), trajectories.logits_follow(runs)]


FIGURE = Figure(
    title="Figure 6: momentum, minibatches and cross entropy on all of MNIST, both models trained",
    experiments={"fc_mnist": ("seed",)},
    draw=draw,
    claims=claims,
    needs=panels.DYNAMICS,
    paper=(
        "A network and its linearization behave similarly when both are trained by SGD with "
        "momentum on cross entropy on MNIST (caption of Figure 6)."
    ),
    alt=(
        "Six panes over time on a log axis, network solid and linearization dashed: all ten logits "
        "of one train point, of one test point, each of its own colour and mark, and displacements "
        "of single weights above; loss, accuracy and RMSE on test points below."
    ),
)
