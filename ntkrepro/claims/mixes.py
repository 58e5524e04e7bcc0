"""Records in which a claim is false, from real ones: one side of each comes from another run."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ntkrepro.records.store import Record
from ntkrepro.records.tables import linear_model, select, series, table

Grid = Sequence[Record]


def other_runs(right: Grid, wrong: Grid) -> Grid:
    """The others in their place."""
    return wrong


def other_rows(right: Grid, wrong: Grid) -> Grid:
    """Each run with the rows of the other run in its place."""
    return [own._replace(rows=other.rows) for own, other in zip(right, wrong, strict=True)]


def other_linearizations(right: Grid, wrong: Grid) -> Grid:
    """Each network beside the linearizations of the other run in its place."""
    return [beside(*pair) for pair in zip(right, wrong, strict=True)]


def beside(network: Record, other: Record) -> Record:
    """At the network's steps and times, with the RMSE on test points between the two."""
    ours = network.rows["model"].isin(["network", "data"])
    theirs = ~other.rows["model"].isin(["network", "data"])
    theirs &= other.rows["step"].isin(network.rows["step"])
    rows = pd.concat([network.rows[ours], other.rows[theirs]], ignore_index=True)
    mixed = network._replace(rows=rows.assign(time=rows["step"] * network.lr))
    model = linear_model(mixed)
    outputs = [table(mixed, name, "output", "test") for name in (model, "network")]
    errors = np.sqrt(((outputs[0] - outputs[1]) ** 2).mean(axis=1).to_numpy())
    return with_values(mixed, model, "rmse", "test", errors)


def other_processes(right: Grid, wrong: Grid) -> Grid:
    """Each ensemble with the Gaussian processes of the other run in its place."""
    return [of_ensemble(*pair) for pair in zip(right, wrong, strict=True)]


def other_networks(right: Grid, wrong: Grid) -> Grid:
    """Each ensemble's processes with the networks of the other run in its place."""
    pairs = zip(right, wrong, strict=True)
    return [own._replace(rows=of_ensemble(other, own).rows) for own, other in pairs]


def of_ensemble(networks: Record, processes: Record) -> Record:
    """All of the one but the moments of its processes, and these of the other."""
    parts = [
        run.rows[
            (run.rows["quantity"].isin(["mean", "std"]) & (run.rows["model"] != "network")) == of
        ]
        for run, of in ((networks, False), (processes, True))
    ]
    return networks._replace(rows=pd.concat(parts, ignore_index=True))


def other_quantity(quantity: str, right: Grid, wrong: Grid) -> Grid:
    """Each network with a quantity of its kernel from the other one."""
    place = ("network", quantity, "train")
    pairs = zip(right, wrong, strict=True)
    return [with_values(own, *place, series(other, *place)["value"]) for own, other in pairs]


def next_weights(right: Grid, wrong: Grid) -> Grid:
    """Each of the wrong runs with what the linearization of the next seed does to its weights."""
    by: dict[Any, list[Record]] = {}
    for run in wrong:
        model, data = run.config["model"], run.config["data"]["train"]
        by.setdefault((*(model[k] for k in ("activation", "depth", "width")), data), []).append(run)
    pairs = [pair for runs in by.values() for pair in zip(runs, runs[1:] + runs[:1], strict=True)]
    place = (linear_model(wrong[0]), "weight", "")
    return [
        with_values(run, *place, np.resize(last, len(select(run, *place))))
        for run, other in pairs
        for last in [table(other, *place).to_numpy()[-1]]
    ]


def opposite_width(right: Grid, wrong: Grid) -> Grid:
    """Each run with the rows of the one of its seed at the opposite width of the grid."""
    widths = sorted({run.config["model"]["width"] for run in right})
    by = {(run.config["model"]["width"], run.config["seed"]): run for run in right}
    opposite = dict(zip(widths, widths[::-1], strict=True))
    return [run._replace(rows=by[opposite[n], seed].rows) for (n, seed), run in by.items()]


def opposite_index(right: Grid, wrong: Grid) -> Grid:
    """Each run with the values of every index at the opposite one."""

    def turned(rows: pd.DataFrame) -> pd.DataFrame:
        own = np.unique(rows["index"])
        return rows.assign(index=rows["index"].map(dict(zip(own, own[::-1], strict=True))))

    return [run._replace(rows=turned(run.rows)) for run in right]


def exchanged_kernels(right: Grid, wrong: Grid) -> Grid:
    """Each run with the outputs that one kernel predicts as if they were of the other."""
    names = ("ntk_empirical", "ntk_analytic")

    def turned(run: Record) -> Record:
        outputs = [select(run, name, "output", "test")["value"] for name in names]
        for name, values in zip(names, outputs[::-1], strict=True):
            run = with_values(run, name, "output", "test", values)
        return run

    return [turned(run) for run in right]


MIXES: dict[str, Callable[[Grid, Grid], Grid]] = {
    "other runs": other_runs,
    "other rows": other_rows,
    "other linearizations": other_linearizations,
    "other processes": other_processes,
    "other networks": other_networks,
    "other kernel change": partial(other_quantity, "ntk_distance"),
    "other critical rate": partial(other_quantity, "lr_critical"),
    "exchanged kernels": exchanged_kernels,
    "weights of the next seed": next_weights,
    "opposite width": opposite_width,
    "opposite index": opposite_index,
}


def with_values(record: Record, model: str, quantity: str, split: str, values: ArrayLike) -> Record:
    """The record with other values of a quantity, in its order."""
    rows = record.rows.copy()
    place = select(record, model, quantity, split).index
    rows.loc[place, "value"] = np.ravel(values).astype(float)
    return record._replace(rows=rows)
