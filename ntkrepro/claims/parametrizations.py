"""What SM E says of the NTK and the standard parametrization, from records."""

import numpy as np
import pandas as pd

from ntkrepro.claims import intervals
from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Estimate, Sample
from ntkrepro.records.store import Record
from ntkrepro.records.tables import series, table

LEARNED = 0.9  # train accuracy


def alike(records: list[Record]) -> list[Record]:
    """The runs at one rate for all layers, in single precision: those of Figure S1."""
    return [r for r in records if r.config["precision"] == "float32"]


def exact(records: list[Record]) -> list[Record]:
    """The runs of S1b."""
    return [r for r in records if r.config["precision"] == "float64"]


def final_values(records: list[Record], quantity: str, split: str = "test") -> pd.DataFrame:
    """Last value of a quantity: columns choice, parametrization, seed, value."""
    rows = []
    for record in alike(records):
        data, model, loss = (record.config[key] for key in ("data", "model", "loss"))
        rows.append(
            {
                "choice": f"{data['name']} {model['activation']} {loss['name']}",
                "parametrization": model["parametrization"],
                "seed": record.config["seed"],
                "value": series(record, "network", quantity, split)["value"].iloc[-1],
            }
        )
    return pd.DataFrame(rows)


def claims(records: list[Record]) -> list[Claim]:
    """S1a of the runs in single precision and S1b of the others, where there are any."""
    found = [perform_alike(records)] if alike(records) else []
    return [*found, *([train_alike(records)] if exact(records) else [])]


def perform_alike(records: list[Record]) -> Claim:
    """S1a: mean over the choices of the difference of the seeds' mean test accuracy, in points.

    The interval is Student's over the choices. No verdict where neither network of a choice has
    learned its train points.
    """
    train = final_values(records, "accuracy", "train").groupby(["choice", "parametrization"])
    learned = float(train["value"].mean().groupby("choice").max().min())
    wide = final_values(records, "accuracy").pivot_table(
        index="choice", columns="parametrization", values="value"
    )
    gaps = 100 * (wide["ntk"] - wide["standard"]).to_numpy()
    found = f"train accuracy of the better one, at the end: {learned:.3g} or more"
    difference, choices = intervals.mean(gaps), Sample(len(gaps), "choices")
    able = learned >= LEARNED
    return judged("S1a", difference, alike(records), found=found, checkable=able, sample=choices)


def train_alike(records: list[Record]) -> Claim:
    """S1b: largest difference of the test outputs at any step over the largest output, float64."""
    by = {
        r.config["model"]["parametrization"]: table(r, "network", "output", "test")
        for r in exact(records)
    }
    value = float("nan")
    if len(by) == 2:
        outputs = [frame.to_numpy() for frame in by.values()]
        value = float(np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max())
    return judged("S1b", Estimate(value, (value, value)), exact(records), checkable=len(by) == 2)
