"""Whether a figure can show the runs that words mean: by their configs, then by their records."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ntkrepro.config import compose
from ntkrepro.config.identity import LABELS, Run, flat
from ntkrepro.config.keys import written
from ntkrepro.config.schema import Program
from ntkrepro.errors import UserError
from ntkrepro.figures.catalog import Figure, figure
from ntkrepro.records.store import Record

SWITCHES = {  # quantity -> the keys that leave it out
    "output": ("log.examples",),
    "weight": ("log.weights",),
    "rmse": ("linearized.space",),
    "ntk_change": ("log.kernel",),
    "nngp_change": ("log.kernel",),
    "ntk_distance": ("log.kernel", "linearized.space"),
    "lambda_min": ("linearized.space",),
    "weight_change": ("log.weights",),
    "parameter_distance": ("log.norms",),
    "ntk_frobenius": ("log.norms",),
    "ntk_largest": ("log.norms",),
    "r2": ("log.fidelity",),
    "r2_moved": ("log.fidelity",),
    "agreement": ("log.fidelity",),
    "accuracy_gap": ("log.fidelity",),
    "parameter_change": ("log.fidelity", "log.weights"),
    "ntk_alignment": ("log.behaviour",),
    "ntk_cka": ("log.behaviour",),
    "ntk_velocity": ("log.behaviour",),
    "ntk_condition": ("log.behaviour",),
    "ntk_effective_rank": ("log.behaviour",),
    "ntk_eigenvalue": ("log.behaviour",),
    "linearizations": ("optimizer.solver",),
}


@cache
def expand(*words: str) -> list[Run]:
    """compose.expand, once for all that ask: composing is the slow part of a report."""
    return compose.expand(words)


def asked(name: str, overrides: Sequence[str]) -> tuple[Figure, dict[str, tuple[str, ...]]]:
    """The figure that these words make, and the words of each of its experiments.

    Raises UserError, naming the key, where it can't show such runs; nothing is read yet.
    """
    own = figure(name)
    if own.given:
        return own.given(overrides)
    named = [word for word in overrides if word.lstrip("+").startswith("experiment=")]
    rest = [word for word in overrides if word not in named]
    chosen = [e for word in named for e in word.partition("=")[2].split(",")]
    if own.any_run:
        words = {e: (*(named or [f"experiment={e}"]), *rest) for e in own.experiments}
    elif set(chosen) <= set(own.experiments):
        words = {e: (f"experiment={e}", *rest) for e in chosen or own.experiments}
    else:
        known = ", ".join(own.experiments)
        raise UserError(f"{named[0]}: figure {name} shows {known}; leave it out, or draw custom")
    if own.several and any(len(expand(*own_words)) > 1 for own_words in words.values()):
        own = own.several
    for experiment in words:
        refuse(name, own, experiment, expand(*words[experiment]))
    return own, words


def refuse(name: str, own: Figure, base: str, runs: list[Run]) -> None:
    """Raises UserError where runs aren't of the program of the experiment `base`, or differ in what
    the figure would show as one."""
    keys = own.experiments[base]
    program = expand(f"experiment={base}", "scale=paper")[0].experiment.program.name
    configs = [flat(run.experiment) for run in runs]
    for config in configs:
        if config["program"] != program:
            raise UserError(
                f"program={config['program']}: figure {name} shows runs of program={program}"
            )
        if config["optimizer.steps"] == 0 and program != Program.kernel_convergence.name:
            raise UserError("optimizer.steps=0: a figure over time needs at least 1 step")
    if wrong := pooled(configs, keys, own.follows):
        values = dict.fromkeys(str(config[wrong]) for config in configs)
        may = f"runs that differ in {', '.join(keys)} alone" if keys else "one run"
        raise UserError(
            f"{wrong}={','.join(list(values)[:4])}: figure {name} shows {may}; choose one value"
        )


# labels but the scale, and how gradient descent is followed, which the pictures say beside it
MAY_DIFFER = LABELS - {"scale"} | {f"optimizer.{key}" for key in ("solver", "tolerance", "floor")}


def pooled(configs: list[dict[str, Any]], keys: tuple[str, ...], follows: tuple[str, ...]) -> str:
    """The first key in which configs differ that the figure would show as one, or ""."""
    first: dict[str, dict[str, Any]] = {}
    for config in configs:
        twin = first.setdefault(repr([config[key] for key in keys]), config)
        for key, value in config.items():
            free = any(f"{key}.".startswith(f"{k}.") for k in (*keys, *follows))
            same = value == twin[key] and (free or value == configs[0][key])
            if not same and key not in MAY_DIFFER:
                return key
    return ""


def refuse_diverged(name: str, own: Figure, record: Record) -> None:
    """Raises UserError for a run with a model that diverged, unless the figure is of those."""
    for row in record.rows[record.rows["quantity"] == "diverged"].itertuples():
        if not own.diverged:
            raise UserError(
                f"optimizer.lr={record.lr:g}: run {record.id} has a {row.model} that diverged "
                f"before step {row.step}, which figure {name} can't show; a smaller one"
            )


def refuse_unfit(name: str, needs: tuple[str, ...], record: Record) -> None:
    """Raises UserError for a run without a quantity that the figure shows, or that diverged."""
    quantities, bad = record.rows["quantity"], ~np.isfinite(record.rows["value"])
    for quantity in needs:
        refuse_absent(name, quantity, record)
        if (diverged := bad & (quantities == quantity)).any():
            step = record.rows["step"][diverged].min()
            raise UserError(
                f"optimizer.lr={record.lr:g}: run {record.id} diverged, its {quantity} isn't "
                f"finite at step {step}; a smaller one"
            )


def refuse_absent(name: str, quantity: str, record: Record) -> None:
    """Raises UserError for a run without it, which names the keys that leave it out."""
    if not (record.rows["quantity"] == quantity).any():
        keys = [key.split(".") for key in SWITCHES.get(quantity, ())]
        given = [f"{part}.{key}={written(record.config[part][key])}" for part, key in keys]
        raise UserError(
            f"{' '.join(given) or quantity}: run {record.id} has no {quantity}, "
            f"which figure {name} shows; leave it out"
        )
