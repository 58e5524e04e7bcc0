"""Figure S5."""

from matplotlib.axes import Axes

from ntkrepro.claims import trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.trajectories import deviation
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, table

POINTS = 3  # whose logits are shown


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """A row for the narrowest and one for the widest: logits on train and test, their deviation."""
    runs = sorted(records["fc_cifar_xent"], key=lambda r: (r.config["model"]["width"], seed(r)))
    widest = [r for r in runs if r.config["model"]["width"] == runs[-1].config["model"]["width"]]
    rows = [runs[0], widest[0]]
    model, data = (rows[0].config[key] for key in ("model", "data"))
    figure, axes = panels.grid(
        2,
        3,
        f"Figure S5: planes and horses, cross entropy, {model['activation']}, L={model['depth']}, "
        f"|D|={data['train']}",
    )
    for row, record in zip(axes, rows, strict=True):
        name = f"n={record.config['model']['width']}"
        for ax, split in zip(row, ("train", "test"), strict=False):
            logits(ax, record, split, f"{name}, logits of {split} points")
        deviations(row[2], record, name)
    panels.solid_and_dashed(axes[0, 0])
    return figure


def seed(record: Record) -> int:
    return record.config["seed"]


def logits(ax: Axes, record: Record, split: str, title: str) -> None:
    """Both logits of a few points."""
    network, linear = (
        table(record, model, "output", split).iloc[:, : 2 * POINTS]
        for model in ("network", linear_model(record))
    )
    for frame in (network, linear):
        frame.index = (frame.index / record.lr).round().astype(int)
    panels.pairs(ax, network, linear, 2 * POINTS)
    ax.set(title=title, xscale="log", xlabel="step", ylabel="$f_t(x)$")


def deviations(ax: Axes, record: Record, name: str) -> None:
    for i, split in enumerate(("train", "test")):
        line = deviation(record, split)[1:]
        ax.plot(line["step"], line["value"], color=f"C{i}", label=split)
    ax.axhline(0.1, color="0.35", ls=":", lw=1)
    ax.set(title=f"{name}, deviation", xlabel="step", ylabel="RMSE / rms of the logits")
    ax.set(xscale="log", yscale="log", ylim=(1e-5, 3))
    ax.legend()


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return [trajectories.wider_deviates_later(records["fc_cifar_xent"])]


FIGURE = Figure(
    title="Figure S5: logits under cross entropy leave their linearization later in wider networks",
    experiments=("fc_cifar_xent",),
    draw=draw,
    claims=claims,
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
