"""Figure 7."""

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["wrn_cifar"]
    record = runs[0]
    title = f"{panels.data_set(record)}, {panels.loss(record)}, {panels.settings(record)}"
    note = "A colour for each output, spread over the range at the end"
    several = f"The network of seed {record.config['seed']}, of {len(runs)}"
    note = ". ".join([note, *([several] if len(runs) > 1 else [])])
    figure, axes = panels.grid(2, 2, f"Figure 7: {title}", note)
    for ax, split in zip(axes[0], ("train", "test"), strict=True):
        panels.outputs(ax, record, split)
    panels.curves(axes[1, 0], record, "loss")
    panels.curves(axes[1, 1], record, "accuracy")
    log(axes[1, 0], "y")
    panels.beside(axes[0, 1], panels.solid_and_dashed())
    panels.beside(axes[1, 1])
    if record.lr == 1:  # then time is the step, as on the poster
        for ax in axes.flat:
            ax.set_xlabel("step")
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    runs = records["wrn_cifar"]
    return [
        *trajectories.loss_curves_agree(runs),
        *trajectories.loss_and_accuracy_agree(runs, "7b"),
    ]


FIGURE = Figure(
    title="Figure 7: a wide residual network and its linearization, minibatches with momentum, MSE",
    experiments={"wrn_cifar": ("seed",)},
    draw=draw,
    claims=claims,
    needs=("output", "loss", "accuracy"),
    paper=(
        "A wide residual network and its linearization behave similarly when both are trained by "
        "SGD with momentum on MSE on CIFAR-10: strong agreement of the predicted dynamics with the "
        "result of training (Figure 7, §3.3)."
    ),
    alt=(
        "Four panes over the step on a log axis, network solid and linearization dashed: outputs "
        "of train points, outputs of test points, loss and accuracy on both."
    ),
    poster=(
        "Loss 0.113 → 0.052 (step 7) → 0.065 (13) → 0.045 (30). At the end, train / test: loss of "
        "the network 0.019 / 0.026, linearized 0.026 / 0.031; accuracy of the network 0.87 / 0.72, "
        "linearized about 0.74 / 0.64."
    ),
)
