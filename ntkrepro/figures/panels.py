"""Panes that several figures share: the network solid, its linearization dashed."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterMathtext, LogLocator
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ntkrepro.claims import intervals
from ntkrepro.config.identity import as_dict
from ntkrepro.config.schema import Experiment
from ntkrepro.files import atomic
from ntkrepro.records.store import Record
from ntkrepro.records.tables import collect, linear_model, outputs_per_example, series, table

STYLE = Path(__file__).with_name("paper.mplstyle")
LINES = 5  # examples or weights in a pane
NAMES = {
    "linearized": "linearized",
    "ntk_empirical": "linearized",
    "ntk_analytic": "analytic kernel",
}


def grid(rows: int, columns: int, title: str, height: float = 2.7) -> tuple[Picture, np.ndarray]:
    """Figure and its axes [rows, columns] in the shared style; `height` of a row in inches."""
    plt.style.use(STYLE)
    size = (3.4 * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    figure.suptitle(title, fontsize=10)
    return figure, axes


def save(figure: Picture, target: Path, runs: str) -> None:
    """<target>.png, which names the runs that it shows, and <target>.pdf.

    Without a date: same records, same bytes. 256 colours make the PNG a quarter as large.
    """
    pixels, about = BytesIO(), PngInfo()
    about.add_text("Runs", runs)
    figure.savefig(pixels, format="png")
    picture = Image.open(pixels).convert("RGB").quantize(method=Image.Quantize.FASTOCTREE)
    with atomic(target.with_name(f"{target.name}.png")) as file:
        picture.save(file, "png", optimize=True, pnginfo=about)
    with atomic(target.with_name(f"{target.name}.pdf")) as file:
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})
    plt.close(figure)


def runs_of(png: Path) -> str | None:
    """The runs that a picture of `save` shows; none where there is no such picture."""
    try:
        with Image.open(png) as picture:
            return picture.info.get("Runs")
    except OSError:
        return None


def over_time(ax: Axes, title: str, ylabel: str) -> None:
    ax.set(title=title, xscale="log", xlabel=r"time $\eta\cdot$step", ylabel=ylabel)


def spread(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """`count` columns whose last values are spread over the range, so that lines are told apart."""
    order = frame.iloc[-1].sort_values().index
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    return frame[chosen]


def pairs(ax: Axes, network: pd.DataFrame, linear: pd.DataFrame, count: int = LINES) -> None:
    """A colour per index, network solid, linearization dashed; from the first step on."""
    for i, column in enumerate(spread(network, count)):
        ax.plot(network.index[1:], network[column][1:], color=f"C{i}", alpha=0.55, lw=2.2)
        ax.plot(linear.index[1:], linear[column][1:], color=f"C{i}", ls="--", lw=1.2)


def solid_and_dashed(ax: Axes) -> None:
    """The legend of `pairs`."""
    handles = [
        Line2D([], [], color="0.3", alpha=0.55, lw=2.2),
        Line2D([], [], color="0.3", ls="--", lw=1.2),
    ]
    ax.legend(handles, ["network", "linearized"], loc="best")


def outputs(ax: Axes, record: Record, split: str) -> None:
    """f_t(x) of a few points of a split."""
    models = ("network", linear_model(record))
    pairs(ax, *(table(record, model, "output", split) for model in models))
    over_time(ax, f"outputs of {split} points", r"$f_t(x)$")


def logits(ax: Axes, record: Record, split: str) -> None:
    """All k outputs of one point of a split, drawn by chance."""
    k = outputs_per_example(record)
    models = ("network", linear_model(record))
    network, linear = (table(record, model, "output", split) for model in models)
    point = int(np.random.default_rng(0).integers(network.shape[1] // k))
    own = list(range(point * k, (point + 1) * k))
    pairs(ax, network[own], linear[own], k)
    what = "logits" if has_classes(record) else "outputs"
    over_time(ax, f"{k} {what} of one {split} point", "$f_t(x)$")


def weights(ax: Axes, record: Record) -> None:
    """omega_t = theta_t - theta_0 of a few hidden weights."""
    models = ("network", linear_model(record))
    pairs(ax, *(table(record, model, "weight") for model in models))
    over_time(ax, "single weights", r"$\omega_t=\theta_t-\theta_0$")


def curves(ax: Axes, record: Record, quantity: str, ylabel: str) -> None:
    """A quantity on train and test points, both models."""
    for i, split in enumerate(("train", "test")):
        for model, style in (
            ("network", {"alpha": 0.55, "lw": 2.2}),
            (linear_model(record), {"ls": "--"}),
        ):
            line = series(record, model, quantity, split)[1:]
            label = f"{split}, {NAMES.get(model, model)}"
            ax.plot(line["time"], line["value"], color=f"C{i}", label=label, **style)
    over_time(ax, ylabel, ylabel)
    ax.legend()


def has_classes(record: Record) -> bool:
    return not series(record, "network", "accuracy", "test").empty


def rmse(ax: Axes, record: Record) -> None:
    """RMSE on test points between the network and what each kernel predicts."""
    present = set(record.rows["model"])
    names = {"linearized": "linearized, trained"}
    names |= {
        "ntk_empirical": r"empirical kernel $\hat\Theta$",
        "ntk_analytic": r"analytic kernel $\Theta$",
    }
    for i, (model, label) in enumerate((m, n) for m, n in names.items() if m in present):
        line = series(record, model, "rmse", "test")[1:]
        (drawn,) = ax.plot(line["time"], line["value"], color=f"C{i}", label=label)
        if model == "linearized":  # the empirical kernel's line may lie on it
            drawn.set(alpha=0.55, lw=3)
    over_time(ax, "RMSE to the network, test points", "RMSE")
    ax.legend()


def dynamics(record: Record, title: str) -> Picture:
    """The six panes of Figures 4, 6 and S2: outputs, outputs, weights; loss, accuracy, RMSE.

    Of more than one output, all those of one point are shown. Real targets have no accuracy.
    """
    figure, axes = grid(2, 3, title)
    top = outputs if outputs_per_example(record) == 1 else logits
    panes: list[Callable[[Axes], None]] = [
        lambda ax: top(ax, record, "train"),
        lambda ax: top(ax, record, "test"),
        lambda ax: weights(ax, record),
        lambda ax: curves(ax, record, "loss", "loss"),
        lambda ax: rmse(ax, record),
    ]
    if has_classes(record):
        panes.insert(4, lambda ax: curves(ax, record, "accuracy", "accuracy"))
    for ax, pane in zip(axes.flat, panes, strict=False):
        pane(ax)
    axes[1, 2].set_visible(has_classes(record))
    axes[1, 0].set_yscale("log")
    solid_and_dashed(axes[0, 2])
    return figure


def settings(record: Record) -> str:
    """Network, data and optimizer in one line, for a title."""
    model, data, opt = (record.config[key] for key in ("model", "data", "optimizer"))
    network, variances = f"{model['activation']}, L={model['depth']}, n={model['width']}", ""
    if model.get("factory"):
        network = ", ".join([model["factory"], *own_keys(model)])
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


def power(ax: Axes, x: np.ndarray, anchor: float, exponent: float, label: str) -> None:
    """A dashed reference line through (x[0], anchor)."""
    ax.plot(x, anchor * (x / x[0]) ** exponent, color="0.35", ls="--", lw=1, label=label)


def exponent(rows: pd.DataFrame, x: str) -> str:
    """n^slope of a power law through the rows' values."""
    slope = intervals.slope(rows, x).value
    return "" if np.isnan(slope) else f"$n^{{{slope:.2f}}}$"


def log_log(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    ax.set(title=title, xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.xaxis.set_major_locator(LogLocator(base=2, numticks=8))
    ax.xaxis.set_major_formatter(LogFormatterMathtext(base=2))
    ax.minorticks_off()


def mean_over_seeds(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    """Root mean square, least and greatest `value` of the seeds at every x."""
    groups = rows.groupby(x)["value"]
    rms = groups.apply(lambda v: float(np.sqrt((v**2).mean())))
    return pd.DataFrame({"mean": rms, "low": groups.min(), "high": groups.max()})


def kernel_error(ax: Axes, records: list[Record], kernel: str, depth: int) -> None:
    """Relative error of the mean of M random networks' kernels against width, a line per M."""
    rows = collect(records, f"{kernel}_error")
    rows = rows[rows["depth"] == depth]
    counts = sorted(rows["index"].unique())
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(counts)))
    for m, colour in zip(counts, colours, strict=True):
        line = mean_over_seeds(rows[rows["index"] == m], "width")
        ax.plot(line.index, line["mean"], "o-", ms=3, color=colour, label=f"M={m}")
        ax.fill_between(line.index, line["low"], line["high"], color=colour, alpha=0.15, lw=0)
    widths = np.array(sorted(rows["width"].unique()), float)
    top = float(rows[rows["index"] == counts[0]].groupby("width")["value"].mean().iloc[0])
    power(ax, widths, 1.4 * top, -0.5, r"$1/\sqrt{n}$")
    name = {"nngp": r"\mathcal{K}", "ntk": r"\Theta"}[kernel]
    ylabel = rf"$\|\hat{{{name}}}-{name}\|_F\,/\,\|{name}\|_F$"
    log_log(ax, rf"${name}$, L={depth}", "width n", ylabel)


def shared_legend(figure: Picture, ax: Axes) -> None:
    """One legend for panes that share their lines, to the right of them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
