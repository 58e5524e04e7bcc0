"""Any run of `train`, a network of your own above all: the panes of Figure 4, or a grid's RMSE.

It takes the words that `ntkrepro run` was given. One run: network and linearization side by side,
and what Figure 4 claims, asked of this network at this width. Several: RMSE against width.
"""

import numpy as np
from matplotlib.axes import Axes

from ntkrepro.claims import exponents, trajectories
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records import tables
from ntkrepro.records.store import Record

LINES = 8  # widths in a pane


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    return panels.dynamics(records["digits"])


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    # asked of this network, whatever its width
    own = [record._replace(paper=True) for record in records["digits"]]
    found = [
        trajectories.plateau_is_small(own),
        *trajectories.loss_and_accuracy_agree(own, "4c"),
        trajectories.weights_follow(own),
    ]
    return [claim._replace(own=True) for claim in found]


def against_width(records: dict[str, list[Record]]) -> panels.Picture:
    """RMSE of test points at the end against width, and on the way, a line per width."""
    runs = records["digits"]
    model, data = (runs[0].config[key] for key in ("model", "data"))
    network = panels.plain(model["factory"] or panels.architecture(runs[0]))
    title = f"{panels.data_set(runs[0])}, {panels.loss(runs[0])}, {network}"
    title = f"{title}, {panels.depth(runs[0])}, |D|={data['train']}"
    figure, axes = panels.grid(1, 2, title, panels.BANDS.format("bars"), legends=2)
    rows = tables.final_rmse(runs)
    ax, way = axes[0]
    line = panels.over_seeds(ax, rows, f"last step  {panels.exponent(rows, 'width')}")
    widths, top = np.array(line.index, float), 1.5 * line["mean"].iloc[0]
    panels.power(ax, widths, top, -1.0)
    panels.power(ax, widths, top, -0.5)
    panels.log_log(ax, "network against its linearization", "width n", "RMSE, test points")
    panels.beside(ax)
    on_the_way(way, runs)
    return figure


def on_the_way(ax: Axes, runs: list[Record]) -> None:
    """Of the first seed, a line for each of at most LINES widths, the ends among them."""
    first = min(run.config["seed"] for run in runs)
    own = {r.config["model"]["width"]: r for r in runs if r.config["seed"] == first}
    chosen = np.linspace(0, len(own) - 1, min(len(own), LINES)).round().astype(int)
    for width, colour in zip(np.sort([*own])[chosen], panels.shades(len(chosen)), strict=True):
        line = tables.series(own[width], tables.linear_model(own[width]), "rmse", "test")[1:]
        ax.plot(line["time"], line["value"], color=colour, label=f"n={width}")
    panels.over_time(ax, f"on the way, seed {first}", "RMSE, test points")
    log(ax, "y")
    panels.beside(ax)


def falls_with_width(records: dict[str, list[Record]]) -> list[Claim]:
    """The exponent in width of the final test RMSE, below 0 where the paper's theorem holds."""
    rows = tables.final_rmse(records["digits"])
    found = judged("width", records=records["digits"], **exponents.measured(rows, "width"))
    return [found._replace(own=True)]


FIGURE = Figure(
    title="Any run of train: the panes of Figure 4, or a grid's RMSE against width",
    experiments={"digits": ()},
    draw=draw,
    claims=claims,
    alt=(
        "Six panes over time on a log axis: outputs, or those of one point, on train and on test; "
        "single weights; loss, accuracy, and the RMSE between network and linearization. The "
        "network is solid, its linearization dashed."
    ),
    needs=panels.DYNAMICS,
    any_run=True,
    several=Figure(
        title="A grid's RMSE against width",
        experiments={"digits": ("model.width", "seed")},
        draw=against_width,
        claims=falls_with_width,
        alt=(
            "Two panes: the final RMSE on test points against width on log axes, beside lines of "
            "slope -1 and -1/2; and over time, a line for each width."
        ),
        follows=("optimizer.lr",),  # the rate may follow the width
        needs=("rmse",),
        only=True,
    ),
)
