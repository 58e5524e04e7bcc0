"""How the tangent kernel behaves in training, against width: of runs with log.behaviour.

It takes the words that `ntkrepro run` was given, a grid in model.width and seed. Not in the paper.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import intervals
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record

SHOWN = 5  # eigenvalues


class Pane(NamedTuple):
    """A quantity that is one number at a time, and between which bounds it can be; `log`: its means
    are of logarithms."""

    quantity: str
    title: str
    label: str
    bounds: tuple[float, float] = intervals.ALL
    log: bool = False


UNIT, RANK = (0.0, 1.0), (1.0, np.inf)
PANES = (
    Pane(
        "ntk_alignment", "alignment with the targets", r"$y^T\Theta_ty\,/\,|\Theta_t||y|^2$", UNIT
    ),
    Pane("ntk_cka", "CKA with the kernel at the start", r"CKA$(\Theta_t,\Theta_0)$", UNIT),
    Pane("ntk_velocity", "velocity", r"$(1-\cos)\,/\,\Delta\ln t$", log=True),
    Pane("ntk_effective_rank", "effective rank", r"$\exp(-\sum p\,\ln p)$", RANK),
    Pane("ntk_condition", "condition", r"$\lambda_{max}/\lambda_{min}$", log=True),
)


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["kernel_behaviour"]
    widths = sorted({run.config["model"]["width"] for run in runs})
    by_width = {n: [run for run in runs if run.config["model"]["width"] == n] for n in widths}
    there = [pane for pane in PANES if has(runs, pane.quantity)]
    title = f"Tangent kernel in training: {panels.data_set(runs[0])}, {panels.loss(runs[0])}"
    network = runs[0].config["model"]["factory"] or panels.architecture(runs[0])
    title = f"{title}, {panels.plain(network)}, {panels.depth(runs[0])}"
    note = "Lines: mean over seeds, of logarithms where the axis is one; bands: its 95 % interval"
    figure, axes = panels.panes(len(there) + 1, title, note)
    for ax, pane in zip(axes, there, strict=False):
        for width, colour in zip(widths, panels.shades(len(widths)), strict=True):
            rows = [of(run, pane.quantity) for run in by_width[width]]
            line(ax, pd.concat(rows), pane, colour, f"n={width}")
        panels.over_time(ax, pane.title, pane.label)
        log(ax, *("y" * pane.log))
    spectrum(axes[-1], by_width[widths[0]])
    panels.beside(axes[min(len(axes), panels.columns(len(axes))) - 1], axes[0].get_lines())
    return figure


def of(run: Record, quantity: str, index: int = 0) -> pd.DataFrame:
    """time, step and value, from the first step on."""
    rows = run.rows[run.rows["step"] > 0]
    rows = rows[(rows["quantity"] == quantity) & (rows["index"] == index)]
    return rows[["time", "step", "value"]]


def has(runs: list[Record], quantity: str) -> bool:
    """Whether every run has it at two steps: a smallest eigenvalue may be within rounding."""
    return all(len(of(run, quantity)) > 1 for run in runs)


def line(ax: Axes, rows: pd.DataFrame, pane: Pane, colour: object, label: str) -> None:
    """The mean over seeds at every step, at the mean of their times, and its interval as a band."""
    there = rows.groupby("step")
    values = [np.log(v) if pane.log else v.to_numpy() for _, v in there["value"]]
    each = [intervals.over_networks(v, bounds=pane.bounds) for v in values]
    found = np.array([(e.value, *e.interval) for e in each]).T
    middle, low, high = np.exp(found) if pane.log else found
    time = there["time"].mean()
    ax.plot(time, middle, color=colour, label=label)
    if np.isfinite(low).any():  # of several seeds
        ax.fill_between(time, low, high, color=colour, alpha=0.2, lw=0)


def spectrum(ax: Axes, runs: list[Record]) -> None:
    """The largest eigenvalues of one width, a line each."""
    kept = runs[0].rows["index"][runs[0].rows["quantity"] == "ntk_eigenvalue"].max() + 1
    pane = Pane("ntk_eigenvalue", "largest eigenvalues", r"$\lambda_i$", log=True)
    count = min(SHOWN, kept)
    for i, colour in zip(range(count), panels.shades(count), strict=True):
        line(ax, pd.concat([of(run, pane.quantity, i) for run in runs]), pane, colour, f"{i + 1}")
    panels.over_time(ax, f"{pane.title}, n={runs[0].config['model']['width']}", pane.label)
    log(ax, "y")


FIGURE = Figure(
    title="How the tangent kernel behaves in training, against width; not in the paper",
    experiments={"kernel_behaviour": ("model.width", "seed")},
    draw=draw,
    needs=("ntk_alignment", "ntk_cka", "ntk_effective_rank", "ntk_eigenvalue"),
    wants=("ntk_velocity", "ntk_condition"),
    only=True,
    any_run=True,
)
