"""Figure F3: the suprema of Theorem 2.1 over whole runs, against width."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import theorem
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.scaling import SATURATED
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record

REFERENCES = {"a": (-0.5,), "b": (-0.5, -1.0), "c": (-0.5, -1.0), "d": ()}


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["theorem"]
    first = runs[0]
    lines = {name: theorem.table(own) for name, own in theorem.networks(runs).items()}
    data, fraction = first.config["data"]["train"], first.config["optimizer"]["lr_over_critical"]
    what = f"{panels.data_set(first)}, {panels.loss(first)}, |D|={data}"
    what += rf", $\eta={fraction:g}\,\eta_c$" if fraction else ""
    title = f"Figure F3: the largest values of Theorem 2.1 over a run, {what}"
    hollow = f"hollow: RMSE above {SATURATED:.0%} of the outputs' rms, and in no exponent"
    note = f"{panels.BANDS.format('bars')}; {hollow}"
    figure, axes = panels.grid(2, 2, title, note, height=3.0, legends=2)
    for ax, bound in zip(axes.flat, theorem.BOUNDS, strict=True):
        against_width(ax, lines, bound)
    return figure


def against_width(ax: Axes, lines: dict[str, pd.DataFrame], bound: theorem.Bound) -> None:
    """A line for each network, its fitted exponent in the legend; bars: range over seeds."""
    for i, (name, own) in enumerate(lines.items()):
        panels.line_in_width(ax, own.assign(value=own[bound.letter]), name, f"C{i}")
    rows = pd.concat(lines.values())
    widths = np.array(sorted(rows["width"].unique()), float)
    top = float(rows[rows["width"] == widths[0]][bound.letter].max())
    for exponent in REFERENCES[bound.letter]:
        panels.power(ax, widths, 1.5 * top, exponent)
    panels.log_log(ax, bound.tex, "width n", "over the run")
    panels.beside(ax)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return theorem.claims(records["theorem"])


FIGURE = Figure(
    title=(
        "Figure F3, not in the paper: what Theorem 2.1 bounds, its largest values over whole runs, "
        "against width"
    ),
    experiments={"theorem": ("model.activation", "model.depth", "model.width", "seed")},
    draw=draw,
    claims=claims,
    needs=("parameter_distance", "ntk_frobenius", "rmse", "loss", "output_rms", "kernel_rate"),
    only=True,
    paper=(
        "Below the critical learning rate, at all times at once, the change of the parameters over "
        "√n, that of the empirical Θ̂, and the distance of the outputs from those of the "
        "linearization are O(n^-1/2) (Theorem 2.1; Eq. 17 and 19), as long as the integral of the "
        "gradient's norm over time stays bounded (Eq. 18)."
    ),
    alt=(
        "Four log-log panes against width, a line each for ReLU and tanh networks of one and three "
        "hidden layers: the largest change of the parameters over √n falls as the dashed 1/√n; the "
        "largest change of the tangent kernel and the largest distance from the linearization fall "
        "faster, tanh's as the dotted 1/n; the integral of the gradient's norm stays level."
    ),
)
