"""Panes that several figures share: the network solid, its linearization dashed."""

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ntkrepro.claims import exponents
from ntkrepro.config.identity import as_dict
from ntkrepro.config.schema import Experiment
from ntkrepro.figures.ticks import log
from ntkrepro.files import atomic
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, linear_model, outputs_per_example, series, table

STYLE = Path(__file__).with_name("paper.mplstyle")
FORMULA = r"(?<!\\)\$.*?(?<!\\)\$"
LINES = 5  # examples or weights in a pane
BANDS = "Lines: root mean square over seeds; {}: least to greatest of the seeds"
DEPTHS = {"wrn": "N"}  # architecture -> the paper's symbol of model.depth, where it isn't L
# model -> its name in legends, and the gid of whatever shows it, by which the report hides it
NAMES = {
    "network": "network",
    "linearized": "linearized",
    "ntk_empirical": "linearized",
    "ntk_analytic": "analytic kernel",
}
NETWORK: dict[str, Any] = {"alpha": 0.55, "lw": 2.2, "gid": "network"}
LINEARIZED: dict[str, Any] = {"ls": "--", "lw": 1.2, "gid": "linearized"}
PREDICTED = {
    "linearized": "RMSE: linearized, trained",
    "ntk_empirical": r"RMSE: empirical kernel $\hat\Theta$",
    "ntk_analytic": r"RMSE: analytic kernel $\Theta$",
}
REFERENCES = {-0.5: (r"$1/\sqrt{n}$", "--"), -1.0: ("$1/n$", ":")}
DYNAMICS = ("output", "weight", "loss", "rmse")  # what `dynamics` can't do without
# Paul Tol's "muted", told apart by the colour-blind too, and black
LOGITS = (
    *(("#332288", "o"), ("#88CCEE", "s"), ("#44AA99", "^"), ("#117733", "v"), ("#999933", "D")),
    *(("#DDCC77", "P"), ("#CC6677", "X"), ("#882255", "<"), ("#AA4499", ">"), ("#000000", "*")),
)


def grid(
    rows: int,
    columns: int,
    title: str,
    note: str = "",
    *,
    height: float = 2.7,
    legends: int = 1,
) -> tuple[Picture, np.ndarray]:
    """Figure and its axes [rows, columns] in the shared style; `height` of a row in inches.

    note: what its lines, bands and bars are, for the caption below it. legends: how many columns
    have one beside them.
    """
    mpl.style.use(STYLE)
    size = (3.4 * columns + 1.4 * legends, height * rows)
    figure = Picture(figsize=size)  # without pyplot, whose backend is the caller's own
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(wrapped(figure, title, 12), fontsize=10)
    figure.supxlabel(note)
    return figure, axes


def panes(
    count: int, title: str, note: str = "", *, height: float = 2.7, legends: int = 1
) -> tuple[Picture, list[Axes]]:
    """`grid` of so many panes: up to three beside each other, four as two by two."""
    across = columns(count)
    wide = min(legends, across)
    figure, axes = grid(-(-count // across), across, title, note, height=height, legends=wide)
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, list(axes.flat[:count])


def columns(count: int) -> int:
    """Of so many panes."""
    return 2 if count == 4 else min(count, 3)


def caption(figure: Picture, asked: str) -> None:
    """What was asked, and the note of `grid`, in small letters below the panes."""
    text = ". ".join(filter(None, (plain(asked), figure.get_supxlabel())))
    figure.supxlabel(wrapped(figure, text, 14), fontsize=8, x=0.01, ha="left")


def plain(text: str) -> str:
    """A user's words, none of which is read as mathematics."""
    return text.replace("$", r"\$")


def wrapped(figure: Picture, text: str, per_inch: int) -> str:
    """In lines as wide as the figure; a formula counts as one letter, and is never broken."""
    formulas = iter(re.findall(FORMULA, text))
    width = int(per_inch * figure.get_figwidth())
    lines = wrap(re.sub(FORMULA, "\0", text), width, break_on_hyphens=False)
    return re.sub("\0", lambda _: next(formulas), "\n".join(lines))


def save(figure: Picture, target: Path, about: dict[str, str]) -> None:
    """<target>.png, which says what it is `about`, and <target>.pdf.

    Without a date: same records, same bytes. 256 colours make the PNG a quarter as large.
    """
    pixels, told = BytesIO(), PngInfo()
    for key, value in about.items():
        told.add_text(key, value)
    figure.savefig(pixels, format="png")
    picture = Image.open(pixels).convert("RGB").quantize(method=Image.Quantize.FASTOCTREE)
    with atomic(target.with_name(f"{target.name}.png")) as file:
        picture.save(file, "png", optimize=True, pnginfo=told)
    with atomic(target.with_name(f"{target.name}.pdf")) as file:
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def about(png: Path) -> dict[str, str]:
    """What a picture of `save` says of itself; nothing where there is no such picture."""
    try:
        with Image.open(png) as picture:
            return {key: picture.info[key] for key in ("Runs", "Rows") if key in picture.info}
    except OSError:
        return {}


def over_time(ax: Axes, title: str, ylabel: str) -> None:
    ax.set(title=title, xlabel=r"time $\eta\cdot$step", ylabel=ylabel)
    log(ax, "x")


def spread(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """`count` columns whose last values are spread over the range, so that lines are told apart."""
    order = frame.iloc[-1].sort_values().index
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    return frame[chosen]


def pairs(ax: Axes, network: pd.DataFrame, linear: pd.DataFrame, count: int = LINES) -> None:
    """A colour per index, network solid, linearization dashed; from the first step on."""
    for i, column in enumerate(spread(network, count)):
        ax.plot(network.index[1:], network[column][1:], color=f"C{i}", **NETWORK)
        ax.plot(linear.index[1:], linear[column][1:], color=f"C{i}", **LINEARIZED)


def beside(ax: Axes, handles: Sequence[Artist] = (), *, title: str = "") -> None:
    """A legend to the right of a pane, where no line is: of its labelled lines, or of handles."""
    ax.legend(
        handles=handles or ax.get_legend_handles_labels()[0],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
    )


def solid_and_dashed() -> list[Artist]:
    """The legend of `pairs`."""
    return [
        Line2D([], [], color="0.3", alpha=0.55, lw=2.2, label="network"),
        Line2D([], [], color="0.3", ls="--", lw=1.2, label="linearized"),
    ]


def outputs(ax: Axes, record: Record, split: str) -> None:
    """f_t(x) of a few points of a split."""
    models = ("network", linear_model(record))
    pairs(ax, *(table(record, model, "output", split) for model in models))
    over_time(ax, f"outputs of {split} points", r"$f_t(x)$")


def shown_logits(record: Record) -> list[tuple[int, str, str]]:
    """Index, colour and marker of the outputs of a point that are told apart: at most ten."""
    k = outputs_per_example(record)
    chosen = np.linspace(0, k - 1, min(k, len(LOGITS))).round().astype(int)
    return [(int(j), *style) for j, style in zip(chosen, LOGITS, strict=False)]


def logits(ax: Axes, record: Record, split: str) -> None:
    """The outputs of one point of a split, drawn by chance."""
    k, shown = outputs_per_example(record), shown_logits(record)
    models = ("network", linear_model(record))
    network, linear = (table(record, model, "output", split).iloc[1:] for model in models)
    point = int(np.random.default_rng(0).integers(network.shape[1] // k))
    for i, (j, colour, marker) in enumerate(shown):
        own, often = point * k + j, (i % 4, 4)
        at: dict[str, Any] = {"marker": marker, "ms": 3.5, "markevery": often}
        ax.plot(network[own], color=colour, **NETWORK)
        ax.plot(network[own], color=colour, ls="", gid="network", **at)
        ax.plot(linear[own], color=colour, **LINEARIZED)
    over_time(ax, f"{len(shown)} {outputs_word(record)} of one {split} point", "$f_t(x)$")


def outputs_word(record: Record) -> str:
    """What a network's outputs are called under its loss."""
    return {"xent": "logits"}.get(record.config["loss"]["name"], "outputs")


def logits_legend(record: Record) -> list[Artist]:
    classes = record.config["data"]["classes"] or range(outputs_per_example(record))
    word = outputs_word(record).rstrip("s")
    return [
        Line2D([], [], color=colour, marker=marker, ms=3.5, label=plain(f"{word} {classes[j]}"))
        for j, colour, marker in shown_logits(record)
    ]


def weights(ax: Axes, record: Record) -> None:
    """omega_t = theta_t - theta_0 of a few hidden weights."""
    models = ("network", linear_model(record))
    pairs(ax, *(table(record, model, "weight") for model in models))
    over_time(ax, "single weights", r"$\omega_t=\theta_t-\theta_0$")


def curves(ax: Axes, record: Record, quantity: str) -> None:
    """A quantity on train and test points, both models."""
    for i, split in enumerate(("train", "test")):
        for model, style in (
            ("network", {"alpha": 0.55, "lw": 2.2}),
            (linear_model(record), {"ls": "--"}),
        ):
            line = series(record, model, quantity, split)[1:]
            name = NAMES.get(model, model)
            shown: dict[str, Any] = {"label": f"{split}, {name}", "gid": name, **style}
            ax.plot(line["time"], line["value"], color=f"C{i}", **shown)
    over_time(ax, quantity, quantity)


def of_several(records: Sequence[Record]) -> list[str]:
    """Which of the networks a picture shows, for its caption; nothing of one."""
    first, count = records[0].config["seed"], len(records)
    told = f"The network of seed {first}, of {count}; bands: least to greatest RMSE of all"
    return [told] if count > 1 else []


def rmse(ax: Axes, records: Sequence[Record]) -> None:
    """RMSE on test points between the first network and what each kernel predicts; its range over
    all of them."""
    present = set(records[0].rows["model"])
    for i, (model, label) in enumerate(PREDICTED.items()):
        if model in present:
            lines = [series(record, model, "rmse", "test")[1:] for record in records]
            time, values = lines[0]["time"], np.stack([line["value"] for line in lines])
            own: dict[str, Any] = {"color": f"C{2 + i}", "gid": NAMES[model]}
            (drawn,) = ax.plot(time, values[0], label=label, **own)
            if len(records) > 1:
                band = values.min(0), values.max(0)
                ax.fill_between(time, *band, alpha=0.2, lw=0, **own)
            if model == "linearized":  # the empirical kernel's line may lie on it
                drawn.set(alpha=0.55, lw=3)
    over_time(ax, "RMSE to the network, test points", "RMSE")


def dynamics(records: Sequence[Record], name: str = "") -> Picture:
    """The six panes of Figures 4, 6 and S2: outputs, outputs, weights; loss, accuracy, RMSE.

    Of the first network, and of all the range of the RMSE. Of more than one output, all those of
    one point are shown. There is no accuracy of regression.
    """
    record = records[0]
    title = ", ".join([f"{name}{data_set(record)}", loss(record), settings(record)])
    note = "A colour for each example and for each weight, spread over the range at the end"
    single = outputs_per_example(record) == 1
    note = note if single else "A colour for each output and each weight"
    figure, axes = grid(2, 3, title, ". ".join([note, *of_several(records)]))
    for ax, split in zip(axes[0], ("train", "test"), strict=False):
        (outputs if single else logits)(ax, record, split)
    weights(axes[0, 2], record)
    beside(axes[0, 2], [*solid_and_dashed(), *([] if single else logits_legend(record))])
    curves(axes[1, 0], record, "loss")
    log(axes[1, 0], "y")
    if (record.rows["quantity"] == "accuracy").any():
        curves(axes[1, 1], record, "accuracy")
    else:
        axes[1, 1].remove()
    rmse(axes[1, 2], records)
    lines = [line for ax in axes[1, ::2] for line in ax.get_legend_handles_labels()[0]]
    beside(axes[1, 2], lines)
    return figure


def initial_kernels(record: Record) -> str:
    """What Figures 1 and S3 show, for a title."""
    model, data = (record.config[key] for key in ("model", "data"))
    network = f"{architecture(record)} {model['activation']} networks"
    return f"kernels of random {network} on {data['train']} {data['name']} inputs"


def data_set(record: Record) -> str:
    """The data set and, where they were chosen, its classes, for a title."""
    name, classes = (record.config["data"][key] for key in ("name", "classes"))
    chosen = " and ".join(classes) if len(classes) < 4 else f"{len(classes)} classes"
    return plain(f"{chosen} of {name}" if classes else name)


def loss(record: Record) -> str:
    """In words, for a title."""
    name = record.config["loss"]["name"]
    return {"mse": "MSE", "xent": "cross entropy"}.get(name, name)


def architecture(record: Record) -> str:
    """In words, for a title."""
    name = record.config["model"]["architecture"]
    known = {"fc": "fully connected", "cnn": "convolutional", "wrn": "wide residual"}
    return known.get(name, name)


def depth(record: Record, value: int | None = None) -> str:
    """L=3, or, of a wide residual network, N=3; `value` in place of the record's own."""
    model = record.config["model"]
    return f"{DEPTHS.get(model['architecture'], 'L')}={value or model['depth']}"


def settings(record: Record) -> str:
    """Network, data and optimizer in one line, for a title."""
    model, data, opt = (record.config[key] for key in ("model", "data", "optimizer"))
    network = f"{architecture(record)}, {model['activation']}, {depth(record)}, n={model['width']}"
    variances = ""
    if model.get("factory"):
        network = ", ".join([plain(model["factory"]), *own_keys(model)])
    else:
        biases = f"$\\sigma_b^2$={model['b_var']:g}" if model["b_var"] else "no biases"
        variances = f", $\\sigma_w^2$={model['w_var']:g}, {biases}"
    momentum = f", $\\beta$={opt['momentum']:g}" if opt["momentum"] else ""
    batch = f", batch {opt['batch']}" if opt["batch"] else ""
    rate = f"$\\eta$={record.lr:.3g}"
    return f"{network}, |D|={data['train']}, {rate}{momentum}{batch}{variances}"


def own_keys(model: dict[str, Any]) -> list[str]:
    """Of a user's own network, the keys away from their defaults: those that it takes."""
    default = as_dict(Experiment())["model"]
    keys = ("width", "depth", "activation", "w_var", "b_var")
    return [f"{key}={model[key]}" for key in keys if model[key] != default[key]]


def power(ax: Axes, x: np.ndarray, anchor: float, exponent: float) -> None:
    """A reference line through (x[0], anchor), of its own dash."""
    label, dash = REFERENCES[exponent]
    ax.plot(x, anchor * (x / x[0]) ** exponent, color="0.35", ls=dash, lw=1, label=label)


def exponent(rows: pd.DataFrame, x: str) -> str:
    """n^slope, as claims have it, of a power law through the rows' values."""
    slope = exponents.slope(rows, x).value
    return "" if np.isnan(slope) else f"$n^{{{slope:.2f}}}$"


def log_log(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    log(ax, "x", base=2)
    log(ax, "y")


def mean_over_seeds(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    """Root mean square, least and greatest `value` of the seeds at every x."""
    groups = rows.groupby(x)["value"]
    rms = groups.apply(lambda v: float(np.sqrt((v**2).mean())))
    return pd.DataFrame({"mean": rms, "low": groups.min(), "high": groups.max()})


def over_seeds(ax: Axes, rows: pd.DataFrame, label: str, **style: Any) -> pd.DataFrame:
    """`mean_over_seeds` against width, with bars from the least to the greatest; returns it."""
    line = mean_over_seeds(rows, "width")
    bars = np.abs(line[["low", "high"]].to_numpy() - line[["mean"]].to_numpy()).T
    ax.errorbar(line.index, line["mean"], bars, fmt="o-", ms=3, capsize=2, label=label, **style)
    return line


def line_in_width(ax: Axes, rows: pd.DataFrame, name: str, colour: Any) -> None:
    """`over_seeds` with the fitted exponent in the legend; points whose runs are all `saturated`,
    which are in no exponent, are hollow."""
    label = f"{name}  {exponent(rows[~rows['saturated']], 'width')}"
    line = over_seeds(ax, rows, label, color=colour)
    hollow = line["mean"][rows.groupby("width")["saturated"].all()]
    ax.plot(hollow.index, hollow, "o", ms=3, color=colour, mfc="white", zorder=3)


def shades(count: int) -> np.ndarray:
    """So many colours from dark to light, for what has an order."""
    return mpl.colormaps["viridis"](np.linspace(0, 0.9, count))


def kernel_error(ax: Axes, records: list[Record], kernel: str, layers: int) -> None:
    """Relative error of the mean of M random networks' kernels against width, a line per M."""
    rows = collect(records, f"{kernel}_error")
    rows = rows[rows["depth"] == layers]
    counts = sorted(rows["index"].unique())
    for m, colour in zip(counts, shades(len(counts)), strict=True):
        line = mean_over_seeds(rows[rows["index"] == m], "width")
        ax.plot(line.index, line["mean"], "o-", ms=3, color=colour, label=f"M={m}")
        ax.fill_between(line.index, line["low"], line["high"], color=colour, alpha=0.15, lw=0)
    widths = np.array(sorted(rows["width"].unique()), float)
    top = float(rows[rows["index"] == counts[0]].groupby("width")["value"].mean().iloc[0])
    power(ax, widths, 1.4 * top, -0.5)
    name = {"nngp": r"\mathcal{K}", "ntk": r"\Theta"}[kernel]
    ylabel = rf"$\|\hat{{{name}}}-{name}\|_F\,/\,\|{name}\|_F$"
    log_log(ax, rf"${name}$, {depth(records[0], layers)}", "width n", ylabel)
