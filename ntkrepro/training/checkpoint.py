"""Where a training run stands, in one sealed file.

A run that was cut off goes on from there, with the bits of a run that wasn't: where train.run
pauses changes none.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ntkrepro import signals
from ntkrepro.errors import warn
from ntkrepro.files import is_whole, kept

SHARE = 0.05  # of the time that saving may take

Seen = dict[str, np.ndarray]  # what the run has observed so far
Keep = Callable[[int, Any], None]  # keep(step, states)


def keeper(path: Path, seconds: float, name: str, seen: Callable[[], Seen]) -> Keep:
    """keep(step, states): saves when `seconds` have passed, and before the end that a signal asks.

    Raises Stopped after the latter.
    """
    last, cost = time.monotonic(), 0.0

    def keep(step: int, states: Any) -> None:
        nonlocal last, cost
        began, saved = time.monotonic(), False
        if signals.asked() or began - last >= max(seconds, cost / SHARE):
            saved = save(path, name, step, states, seen())
            last = time.monotonic()
            cost = last - began
        if signals.asked():
            state = f" and the checkpoint at step {step}" if saved else ""
            raise signals.Stopped(f"finished records{state} are kept")

    return keep


def save(path: Path, name: str, step: int, states: Any, seen: Seen) -> bool:
    """Whether it could: where the disk refuses, the run goes on without, and says so once."""
    leaves = enumerate(jax.tree.leaves(states))
    arrays: dict[str, Any] = {f"state/{i}": np.asarray(leaf) for i, leaf in leaves}
    arrays |= {f"seen/{key}": value for key, value in seen.items()}
    write = partial(np.savez, **arrays, name=name, step=step)
    return kept(path, write, "training goes on, but starts over if it is cut off")


def load(path: Path, name: str, fresh: Any) -> tuple[int, Any, Seen]:
    """(step, states, seen) of the run called `name`: of its checkpoint, else its start, with the
    `fresh` states.

    Another run's file counts as none; so does a damaged one, which is told.
    """
    try:
        if is_whole(path):
            return _load(path, name, fresh)
        why = "it is damaged"
    except FileNotFoundError:
        return 0, fresh, {}
    except OSError as error:
        why = f"{error.strerror}"
    except (KeyError, ValueError):
        why = "it is another version's"
    warn(f"{path}: {why}; the run starts over")
    return 0, fresh, {}


def _load(path: Path, name: str, fresh: Any) -> tuple[int, Any, Seen]:
    """Raises KeyError or ValueError where a model or optimizer has other arrays than its file."""
    with np.load(path) as file:
        if str(file["name"]) != name:
            return 0, fresh, {}
        places, shape = jax.tree.flatten(fresh)
        leaves = [_placed(file[f"state/{i}"], place) for i, place in enumerate(places)]
        seen = {k.partition("/")[2]: file[k] for k in file.files if k.startswith("seen/")}
        return int(file["step"]), jax.tree.unflatten(shape, leaves), seen


def _placed(leaf: np.ndarray, place: jax.Array) -> jax.Array:
    if (leaf.shape, leaf.dtype) != (place.shape, place.dtype):
        raise ValueError(f"{leaf.shape} {leaf.dtype} for {place.shape} {place.dtype}")
    return jax.device_put(leaf, place.sharding)
