"""Figure F2: how many linearizations training needs, against width.

Gradient descent linearizes at each of its T steps; were the network its linearization, one would
do. A run by leaps (training/leaps.py) is in between. Counted are all tangents that it takes: one of
a literal step, two of a leap (where it starts, and halfway, which tells its error), and one more of
each leap that was refused. Outputs may be off by 1 % of the initial residual's rms
(optimizer.floor=1): of the deviation itself, which falls with width too, the count hardly falls.
Only the last step is logged, for no leap goes past a logged one.

The fewest, dashed, is measured, by a run of which no error is refused. It isn't one: a leap takes
two, and leaps grow from a single step. A count near it is therefore bounded by the solver, not by
the network; that it falls is the network's.
"""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes

from ntkrepro.claims import linearizations
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record
from ntkrepro.records.tables import final_rmse


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    first, lines = records["linearizations"][0], linearizations.networks(records["linearizations"])
    data, steps = first.config["data"]["train"], first.config["optimizer"]["steps"]
    what = f"{panels.data_set(first)}, {panels.loss(first)}, |D|={data}, {steps} steps"
    title, note = f"Figure F2: training by leaps, {what}", panels.BANDS.format("bars")
    figure, axes = panels.grid(1, 2, title, note, height=3.3, legends=2)
    left, right = axes[0]
    for least in sorted({linearizations.fewest(runs) for runs in lines.values()}):
        left.axhline(least, color="0.35", ls="--", lw=1, label=f"the fewest: {least:g}")
    against_width(left, lines, linearizations.counts)
    panels.log_log(left, "linearizations", "width n", "count")
    against_width(right, lines, final_rmse)
    panels.log_log(right, "final RMSE to the first of them, test points", "width n", "RMSE")
    for ax in (left, right):
        panels.beside(ax)
    return figure


def against_width(
    ax: Axes, lines: dict[str, list[Record]], table: Callable[[list[Record]], pd.DataFrame]
) -> None:
    """A line for each network, its fitted exponent in the legend; bars: range over seeds."""
    for name, runs in lines.items():
        rows = table(linearizations.closest(runs))
        label = f"{name}, {panels.depth(runs[0])}  {panels.exponent(rows, 'width')}"
        panels.over_seeds(ax, rows, label)


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return linearizations.claims(records["linearizations"])


FIGURE = Figure(
    title=(
        "Figure F2, not in the paper: how many linearizations training needs, against width, at a "
        "fixed tolerance of the outputs"
    ),
    experiments={
        "linearizations": ("model.activation", "optimizer.tolerance", "model.width", "seed")
    },
    draw=draw,
    claims=claims,
    follows=("model.depth", "optimizer"),
    needs=("linearizations", "rmse"),
    only=True,
    paper=(
        "As the width goes to infinity, a network trained by gradient descent is its linearization "
        "at the start (Theorem 2.1): one linearization is all that training needs."
    ),
    alt=(
        "Two log-log panes against width, a line each for a ReLU and for a tanh network: the "
        "number of linearizations falls towards the dashed fewest that the solver can do with, and "
        "the final RMSE to the linearization at the start falls too."
    ),
)
