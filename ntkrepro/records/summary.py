"""A finished run in a few lines, from its record."""

from typing import Any

import numpy as np
import pandas as pd

from ntkrepro.records.store import Record

MODELS = ("network", "linearized", "ntk_empirical", "ntk_analytic")


def summary(record: Record) -> str:
    """What a run found, by its program."""
    return SUMMARIES[record.config.get("program", "train")](record)


def kernel_convergence(record: Record) -> str:
    """Relative errors of both kernels at the largest number of samples."""
    last = record.rows[record.rows["index"] == record.rows["index"].max()]
    errors = (f"{row.quantity} {row.value:.4g}" for row in last.itertuples())
    return f"{', '.join(errors)} at M = {last['index'].iloc[0]}"


def train(record: Record) -> str:
    """Final loss, accuracy and RMSE against the network of every model, lr over critical, leaps.

    Real targets have no accuracy.
    """
    away = record.rows["quantity"] == "diverged"
    rows, ends = record.rows[~away], record.rows[away]
    last = rows[(rows["step"] == rows["step"].max()) & (rows["index"] == 0)]
    shown = {"loss": "loss", "accuracy": "accuracy", "rmse": "RMSE to network"}
    if not (last["quantity"] == "accuracy").any():
        del shown["accuracy"]  # of targets that are no classes
    lines = [
        f"{'':14}" + "".join(f"{name:>22}" for name in shown.values()),
        f"{'':14}" + f"{'train / test':>22}" * len(shown),
    ]
    models = [name for name in MODELS if name in set(last["model"])]
    for model in models:
        cells = [pair(last, model, quantity) for quantity in shown]
        lines.append(f"{model:14}" + "".join(f"{cell:>22}" for cell in cells))
    lines += filter(None, (fidelity(last, model) for model in models))
    lines += [f"{row.model} diverged before step {row.step}" for row in ends.itertuples()]
    return "\n".join([*lines, *rates(record), *effort(record)])


FIDELITY = {"r2": "R²", "r2_moved": "of how outputs moved", "agreement": "same class"}


def fidelity(last: pd.DataFrame, model: str) -> str:
    """How well a linearization stands for the network at the end, where log.fidelity tells it."""
    told = {words: pair(last, model, quantity) for quantity, words in FIDELITY.items()}
    found = [f"{words} {cell}" for words, cell in told.items() if cell != "- / -"]
    return f"{model}: {', '.join(found)}" if found else ""


def solver(config: dict[str, Any]) -> str:
    """How a network was trained, where not step by step; older records say nothing of it."""
    optimizer = config.get("optimizer", {})
    leaps = optimizer.get("solver") == "leaps" and optimizer["train"] == "all"
    return f"by leaps, tolerance {optimizer['tolerance']:g}" if leaps else ""


def effort(record: Record) -> list[str]:
    """What networks by leaps took, in place of how many steps each."""
    rows, how = record.rows, solver(record.config)
    last = rows[(rows["step"] == rows["step"].max()) & (rows["model"] == "network")]
    points, gradients = (
        last["value"][last["quantity"] == q].sum() for q in ("linearizations", "gradients")
    )
    if not points:  # by steps, or an ensemble's older record
        return [how] if how else []
    samples = record.config.get("samples", 1)
    many = f"{samples} x " if samples > 1 else ""
    worth = f"{points:.0f} linearizations, worth {gradients:.4g} gradients"
    return [f"{how}: {worth} ({many}{rows['step'].max()} steps)"]


def rates(record: Record) -> list[str]:
    """The learning rate over the critical one of each kernel; of the network's, without its name.

    Older records have the network's alone.
    """
    rows, lr, lines = record.rows, record.lr, []
    for model, of in (("network", ""), ("ntk_analytic", " of ntk_analytic"), ("nngp", " of nngp")):
        critical = value(rows, model, "lr_critical", "train")
        if critical is not None:
            rate = f"{lr / critical:.3g} x critical{of} ({critical:.4g})"
            lines.append(f"learning rate {lr:g} = {rate}")
    return lines


def pair(rows: pd.DataFrame, model: str, quantity: str) -> str:
    numbers = [value(rows, model, quantity, split) for split in ("train", "test")]
    return " / ".join("-" if number is None else f"{number:.4g}" for number in numbers)


def value(rows: pd.DataFrame, model: str, quantity: str, split: str) -> float | None:
    hit = rows[(rows["model"] == model) & (rows["quantity"] == quantity) & (rows["split"] == split)]
    return None if hit.empty else float(hit["value"].iloc[-1])


def ensemble(record: Record) -> str:
    """Mean and standard deviation at the path's ends at the last step."""
    rows = record.rows[record.rows["step"] == record.rows["step"].max()]
    at = record.rows[record.rows["quantity"] == "alpha"]["value"].to_numpy()
    outputs = rows[(rows["model"] == "network") & (rows["quantity"] == "output")]
    networks = outputs["value"].to_numpy().reshape(-1, len(at))
    lines = [f"{'':16}" + "".join(f"{f'alpha = {at[i]:g}':>22}" for i in (0, -1))]
    found, models = {}, ("network", "ntk_analytic", "nngp", "nngp_posterior")
    if len(networks):
        spread = networks.std(0, ddof=1) if len(networks) > 1 else np.full(len(at), np.nan)
        found["network"] = (networks.mean(0), spread)
    for model in models[len(found) :]:
        own = rows[rows["model"] == model]
        found[model] = tuple(own[own["quantity"] == q]["value"].to_numpy() for q in ("mean", "std"))
    for model, (mean, std) in found.items():
        cells = (f"{mean[i]:.4g}{f' ± {std[i]:.3g}' * bool(np.isfinite(std[i]))}" for i in (0, -1))
        lines.append(f"{model:16}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join([*lines, *rates(record), *effort(record)])


SUMMARIES = {
    "train": train,
    "kernel_convergence": kernel_convergence,
    "ensemble": ensemble,
    "drawn_ensemble": ensemble,
}
