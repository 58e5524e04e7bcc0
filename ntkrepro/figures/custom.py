"""Any run of `train`, a network of your own above all: the panes of Figure 4, or a grid's RMSE.

It takes the words that `ntkrepro run` was given. One run: network and linearization side by side,
and what Figure 4 claims, asked of this network at this width. Several: RMSE against width.
"""

import numpy as np
from matplotlib.axes import Axes

from ntkrepro.claims import intervals, trajectories
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.criterion import sign
from ntkrepro.errors import UserError
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records import tables
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["digits"]
    if len(runs) > 1:
        return against_width(runs)
    data, loss = (runs[0].config[key]["name"] for key in ("data", "loss"))
    return panels.dynamics(runs[0], f"{data}, {loss}, {panels.settings(runs[0])}")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    runs = records["digits"]
    if len(runs) > 1:
        return [falls_with_width(runs)]
    own = runs[0]._replace(paper=True)  # the question is about this network, whatever its width
    return [
        trajectories.plateau_is_small(own),
        *trajectories.loss_and_accuracy_agree(own, "4c", "Figure 4"),
        trajectories.weights_follow(own),
    ]


def refuse_mixed(runs: list[Record]) -> None:
    if len({alike(run) for run in runs}) > 1:
        raise UserError("figure custom: several runs may differ in model.width and seed alone")


def alike(run: Record) -> str:
    """What the runs of a grid share; the rate may follow the width."""
    config = {key: value for key, value in run.config.items() if key != "seed"}
    for section, key in (("model", "width"), ("optimizer", "lr")):
        config[section] = {k: v for k, v in config[section].items() if k != key}
    return repr(config)


def against_width(runs: list[Record]) -> panels.Picture:
    """RMSE of test points at the end against width, and on the way, a line per width."""
    model, data = (runs[0].config[key] for key in ("model", "data"))
    network = model.get("factory") or model["architecture"]
    figure, axes = panels.grid(1, 2, f"{network}, {data['name']}, |D|={data['train']}")
    rows = tables.final_rmse(runs)
    line = panels.mean_over_seeds(rows, "width")
    ax, way = axes[0]
    label = f"last step: {panels.exponent(rows, 'width')}"
    ax.plot(line.index, line["mean"], "o-", ms=3, label=label)
    ax.fill_between(line.index, line["low"], line["high"], alpha=0.15, lw=0)
    widths, top = np.array(line.index, float), 1.5 * line["mean"].iloc[0]
    panels.power(ax, widths, top, -1.0, "$1/n$")
    panels.power(ax, widths, top, -0.5, r"$1/\sqrt{n}$")
    ax.lines[-1].set_linestyle(":")
    panels.log_log(ax, "network against its linearization", "width n", "RMSE, test points")
    ax.legend()
    on_the_way(way, runs)
    return figure


def on_the_way(ax: Axes, runs: list[Record]) -> None:
    first = min(run.config["seed"] for run in runs)
    for run in (run for run in runs if run.config["seed"] == first):
        line = tables.series(run, tables.linear_model(run), "rmse", "test")[1:]
        ax.plot(line["time"], line["value"], label=f"n={run.config['model']['width']}")
    panels.over_time(ax, f"on the way, seed {first}", "RMSE, test points")
    ax.set_yscale("log")
    ax.legend()


def falls_with_width(runs: list[Record]) -> Claim:
    """The exponent in width of the final test RMSE, below 0 where the paper's theorem holds."""
    refuse_mixed(runs)
    return Claim(
        "width",
        "The wider the network, the closer its linearization: slope in n of the final test RMSE",
        "Theorem 2.1, Figure 8",
        *intervals.slope(tables.final_rmse(runs), "width"),
        sign(-1),
    )


FIGURE = Figure(
    title="Any run of train: the panes of Figure 4, or a grid's RMSE against width",
    experiments=("digits",),
    draw=draw,
    claims=claims,
)
