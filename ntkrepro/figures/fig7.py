"""Figure 7."""

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure, Reading
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, series


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


def poster(records: dict[str, list[Record]]) -> list[Reading]:
    """Of the first network, at the logged steps nearest to those of the poster."""
    record = records["wrn_cifar"][0]
    found = []
    for model, quantity, split, step, text in POSTER:
        name = "network" if model == "network" else linear_model(record)
        line = series(record, name, quantity, split)
        own = line.iloc[-1 if step == END else (line["step"] - step).abs().argmin()]
        when = "end" if step == END else f"step {step}"
        ours = f"{own['value']:.3g} at step {own['step']:g}"
        found.append(Reading(f"{split} {quantity}, {model}, {when}", text, ours))
    return found


END = -1  # the last step
POSTER = (  # model, quantity, split, step, reading
    *(("network", "loss", "train", *own) for own in ((0, "0.113"), (7, "0.052"), (13, "0.065"))),
    ("network", "loss", "train", 30, "0.045"),
    ("network", "loss", "train", END, "0.019"),
    ("network", "loss", "test", END, "0.026"),
    ("linearized", "loss", "train", END, "0.026"),
    ("linearized", "loss", "test", END, "0.031"),
    ("network", "accuracy", "train", END, "0.87"),
    ("network", "accuracy", "test", END, "0.72"),
    ("linearized", "accuracy", "train", END, "about 0.74"),
    ("linearized", "accuracy", "test", END, "about 0.64"),
)

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
    poster=poster,
)
