"""What records hold, as tables: one quantity over time, or over the runs of a sweep."""

import json
from typing import Any

import numpy as np
import pandas as pd

from ntkrepro.errors import UserError
from ntkrepro.records.store import Record


def series(record: Record, model: str, quantity: str, split: str = "") -> pd.DataFrame:
    """time, step and value of a scalar quantity, in order."""
    rows = select(record, model, quantity, split)
    return rows[["time", "step", "value"]].reset_index(drop=True)


def select(record: Record, model: str, quantity: str, split: str = "") -> pd.DataFrame:
    """Raises UserError for single outputs, or weights, of a record that was made without them
    (log.examples, log.weights)."""
    rows, log = record.rows, record.config.get("log", {})
    if quantity in ("output", "target") and not log.get("examples", True):
        raise UserError(
            f"log.examples=false: run {record.id} has no single outputs, which this figure shows; "
            "leave it out"
        )
    if quantity in ("weight", "weight_change") and log.get("weights") == 0:
        raise UserError(
            f"log.weights=0: run {record.id} has no weights, which this figure shows; leave it out"
        )
    wanted = (rows["model"] == model) & (rows["quantity"] == quantity) & (rows["split"] == split)
    return rows[wanted]


def table(record: Record, model: str, quantity: str, split: str = "") -> pd.DataFrame:
    """An indexed quantity as [time, index]."""
    return select(record, model, quantity, split).pivot(
        index="time", columns="index", values="value"
    )


def linear_model(record: Record) -> str:
    """The linearization to compare with: trained if it was, else from the empirical kernel."""
    return "linearized" if "linearized" in record.rows["model"].unique() else "ntk_empirical"


def outputs_per_example(record: Record) -> int:
    """k, from the targets of the kept examples."""
    config, targets = record.config, select(record, "data", "target", "test")
    return len(targets) // min(config["log"]["outputs"], config["data"]["test"])


def draws(records: list[Record]) -> list[tuple[str, list[Record]]]:
    """The records of every draw of the data (data.seed), and which it is; "" for the first."""
    seeds = [record.config["data"]["seed"] for record in records]
    return [
        (
            f", data.seed={draw}" if draw > min(seeds) else "",
            [record for record, seed in zip(records, seeds, strict=True) if seed == draw],
        )
        for draw in sorted(set(seeds))
    ]


def first_draw(records: list[Record]) -> list[Record]:
    return draws(records)[0][1]


def collect(records: list[Record], quantity: str) -> pd.DataFrame:
    """Rows of one quantity over a sweep, with each run's width, depth and seed as columns."""
    frames = []
    for record in records:
        rows, model = record.rows, record.config["model"]
        chosen = rows[rows["quantity"] == quantity]
        columns = {key: model[key] for key in ("width", "depth")}
        frames.append(chosen.assign(**columns, seed=record.config["seed"]))
    return pd.concat(frames, ignore_index=True)


def final(records: list[Record], quantity: str) -> pd.DataFrame:
    """The rows of each run's last step."""
    rows = collect(records, quantity)
    return rows[rows["step"] == rows.groupby(["width", "depth", "seed"])["step"].transform("max")]


def final_rmse(records: list[Record]) -> pd.DataFrame:
    """Test RMSE to the linearization at each run's end: width, depth, train (|D|), seed, value."""
    rows = []
    for record in records:
        model, line = record.config["model"], series(record, linear_model(record), "rmse", "test")
        keys = {key: model[key] for key in ("width", "depth")}
        keys |= {"train": record.config["data"]["train"], "seed": record.config["seed"]}
        rows.append(keys | {"value": line["value"].iloc[-1]})
    return pd.DataFrame(rows)


def ended(record: Record, loss: float, step: int) -> bool:
    """Whether training that got to this loss at this last step was at its end, and not cut off."""
    opt = record.config["optimizer"]
    return bool(loss < opt["stop"] or step < opt["steps"])


def endings(records: list[Record]) -> pd.DataFrame:
    """At each run's end: the train loss, whether training had `ended`, at optimizer.stop or
    optimizer.plateau and not for want of steps, and the `size` of the test outputs, their rms."""
    rows = []
    for record in records:
        last = series(record, "network", "loss", "train").iloc[-1]
        done = ended(record, last["value"], last["step"])
        size = series(record, "network", "output_rms", "test")["value"].iloc[-1]
        rows.append({"loss": last["value"], "ended": done, "size": size})
    return pd.DataFrame(rows)


def about(record: Record) -> dict[str, Any]:
    """run (its id), lr and every key of its config, dotted; lists in JSON."""
    found: dict[str, Any] = {"run": record.id, "lr": record.lr}
    for key, value in record.config.items():
        own = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{key}.{name}".rstrip("."): part for name, part in own}
    return {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in found.items()}


def with_configs(configs: list[dict[str, Any]], frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all frames, each with what `about` says of its record as columns."""
    owner = np.repeat(np.arange(len(frames)), list(map(len, frames)))
    table = pd.DataFrame(configs)
    for name in table.select_dtypes(["object", "string"]):
        table[name] = table[name].astype("category")  # a byte or two a row
    rows = pd.concat(frames, ignore_index=True)
    for name in ("model", "quantity", "split"):
        rows[name] = rows[name].astype("category")
    columns = table.iloc[owner].reset_index(drop=True)
    return pd.concat([columns[["run"]], rows, columns.drop(columns="run")], axis=1)
