"""Where a training run stands, in one file beside its record to come.

A run that was cut off goes on from there, with the bits of a run that wasn't: where train.run
pauses changes none.
"""

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ntkrepro import signals
from ntkrepro.files import atomic

SHARE = 0.05  # of the time that saving may take

Seen = dict[str, np.ndarray]  # what the run has observed so far
Keep = Callable[[int, Any], None]  # keep(step, states)


def keeper(path: Path, seconds: float, name: str, seen: Callable[[], Seen]) -> Keep:
    """keep(step, states): saves when `seconds` have passed, and before the end that SIGTERM asks.

    Raises SystemExit (143) after the latter, RunFailed where the disk refuses.
    """
    last, cost = time.monotonic(), 0.0

    def keep(step: int, states: Any) -> None:
        nonlocal last, cost
        began = time.monotonic()
        if signals.asked() or began - last >= max(seconds, cost / SHARE):
            save(path, name, step, states, seen())
            last = time.monotonic()
            cost = last - began
        if signals.asked():
            raise SystemExit(signals.EXIT_CODE)

    return keep


def save(path: Path, name: str, step: int, states: Any, seen: Seen) -> None:
    leaves = enumerate(jax.tree.leaves(states))
    arrays: dict[str, Any] = {f"state/{i}": np.asarray(leaf) for i, leaf in leaves}
    arrays |= {f"seen/{key}": value for key, value in seen.items()}
    with atomic(path) as file:
        np.savez(file, **arrays, name=name, step=step)


def load(path: Path, name: str, fresh: Any) -> tuple[int, Any, Seen]:
    """(step, states, seen) of the run called `name`: of its checkpoint, else its start, with the
    `fresh` states.

    Another run's file or a damaged one counts as none: the run starts over.
    """
    try:
        with np.load(path) as file:
            if str(file["name"]) != name:
                return 0, fresh, {}
            places, shape = jax.tree.flatten(fresh)
            leaves = [
                jax.device_put(file[f"state/{i}"], place.sharding) for i, place in enumerate(places)
            ]
            seen = {k.partition("/")[2]: file[k] for k in file.files if k.startswith("seen/")}
            return int(file["step"]), jax.tree.unflatten(shape, leaves), seen
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return 0, fresh, {}
