"""Figure S5."""

from matplotlib.axes import Axes

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.trajectories import deviation
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, outputs_per_example, series, table

POINTS = 3  # whose logits are shown


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """A row for the narrowest and one for the widest: logits on train and test, their deviation."""
    runs = sorted(records["fc_cifar_xent"], key=lambda r: (r.config["model"]["width"], seed(r)))
    widest = [r for r in runs if r.config["model"]["width"] == runs[-1].config["model"]["width"]]
    rows = [runs[0], widest[0]]
    model, data = (rows[0].config[key] for key in ("model", "data"))
    network = f"{model['activation']}, {panels.depth(rows[0])}, |D|={data['train']}"
    figure, axes = panels.grid(
        2,
        3,
        f"Figure S5: {panels.data_set(rows[0])}, {panels.loss(rows[0])}, {network}",
        f"A colour for each {panels.outputs_word(rows[0]).rstrip('s')} of {POINTS} points",
    )
    for row, record in zip(axes, rows, strict=True):
        name = f"n={record.config['model']['width']}"
        for ax, split in zip(row, ("train", "test"), strict=False):
            logits(ax, record, split, f"{name}, {panels.outputs_word(record)} of {split} points")
        deviations(row[2], record, name)
    lines = axes[0, 2].get_legend_handles_labels()[0]
    panels.beside(axes[0, 2], [*panels.solid_and_dashed(), *lines])
    return figure


def seed(record: Record) -> int:
    return record.config["seed"]


def logits(ax: Axes, record: Record, split: str, title: str) -> None:
    """All outputs of a few points."""
    count = POINTS * outputs_per_example(record)
    network, linear = (
        table(record, model, "output", split).iloc[:, :count]
        for model in ("network", linear_model(record))
    )
    steps = series(record, "network", "loss", split)["step"]
    panels.pairs(ax, network.set_index(steps), linear.set_index(steps), count)
    ax.set(title=title, xlabel="step", ylabel="$f_t(x)$")
    log(ax, "x")


def deviations(ax: Axes, record: Record, name: str) -> None:
    for i, split in enumerate(("train", "test")):
        line = deviation(record, split)[1:]
        ax.plot(line["step"], line["value"], color=f"C{i}", label=split)
    ax.axhline(0.1, color="0.35", ls=":", lw=1, label="10 %")
    ylabel = f"RMSE / rms of the {panels.outputs_word(record)}"
    ax.set(title=f"{name}, deviation", xlabel="step", ylabel=ylabel)
    log(ax, "x", "y")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return [trajectories.wider_deviates_later(records["fc_cifar_xent"])]


FIGURE = Figure(
    title="Figure S5: logits under cross entropy leave their linearization later in wider networks",
    experiments={"fc_cifar_xent": ("model.width", "seed")},
    draw=draw,
    claims=claims,
    follows=("log",),
    needs=("rmse", "output_rms"),
    paper=(
        "Logits under cross entropy diverge at late times. If they deviate from the linearization "
        "early, as in narrow networks, the deviation at late times can be large; wider networks "
        "deviate later (caption of Figure S5)."
    ),
    alt=(
        "Six panes against the step on a log axis, the narrowest network above and the widest "
        "below: logits of train points and of test points, network solid and linearization dashed, "
        "and the relative deviation of the two, which passes the dotted line at 10 % later in the "
        "wide network."
    ),
)
