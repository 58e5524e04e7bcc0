"""How far the points of a grid are, from what lies in the results folder; imports no JAX."""

import json
import time
from collections import Counter
from collections.abc import Set
from contextlib import suppress
from typing import NamedTuple

from ntkrepro import locks, records
from ntkrepro.config import Experiment, flat
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.files import atomic


class Failure(NamedTuple):
    """When a run failed last (seconds, time.time), and why."""

    at: float
    why: str


def fail(point: Experiment, error: UserError) -> None:
    """Leave a note beside the record to come, where that can be written."""
    with suppress(RunFailed), atomic(records.beside(point, "failed")) as file:
        file.write(json.dumps(Failure(time.time(), str(error))._asdict()).encode())


def failure(point: Experiment) -> Failure | None:
    try:
        return Failure(**json.loads(records.beside(point, "failed").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def forget_failure(point: Experiment) -> None:
    records.beside(point, "failed").unlink(missing_ok=True)


def tidy(points: list[Experiment]) -> None:
    """Remove what a process left that was killed between a record and its own end."""
    for point in points:
        lock, checkpoint = (records.beside(point, what) for what in ("lock", "checkpoint"))
        if records.path_of(point).is_file() and (lock.exists() or checkpoint.exists()):
            with locks.claimed([lock]) as ours:
                if ours:
                    records.tidy(point)


def of(point: Experiment) -> tuple[str, str]:
    """Done, running, failed or missing; and where and since when, or why."""
    if records.path_of(point).is_file():
        return "done", ""
    if holder := locks.holder(records.beside(point, "lock")):
        return "running", holder
    if failed := failure(point):
        return "failed", failed.why
    cut_off = records.beside(point, "checkpoint").is_file()
    return "missing", "cut off; goes on from its checkpoint" if cut_off else ""


def by_experiment(points: list[Experiment]) -> list[list[Experiment]]:
    """The points of each experiment and scale."""
    groups: dict[tuple[str, str], list[Experiment]] = {}
    for point in points:
        groups.setdefault((point.name, point.scale.name), []).append(point)
    return list(groups.values())


def table(points: list[Experiment]) -> str:
    """One line of counts, and one for each point that is running, failed or cut off."""
    states, names = [of(point) for point in points], labels(points)
    counts = Counter(word for word, _ in states)
    words = [f"{counts[word]} {word}" for word in ("done", "running", "failed", "missing")]
    lines = [f"{points[0].name} ({points[0].scale.name}): {', '.join(words)}"]
    for point, (word, what) in zip(points, states, strict=True):
        if what:
            lines.append(f"  {word}: {names[id(point)] or points[0].name}: {what}")
    return "\n".join(lines)


def labels(points: list[Experiment], without: Set[str] = frozenset({"sweep"})) -> dict[int, str]:
    """Of each point, by id, the keys in which the points of its experiment differ, as KEY=VALUE;
    behind its experiment and scale where those differ too."""
    names, scales = ({key(p) for p in points} for key in (lambda p: p.name, lambda p: p.scale))
    found = {}
    for group in by_experiment(points):
        values = [flat(point) for point in group]
        keys = [k for k in values[0] if k not in without and len({str(v[k]) for v in values}) > 1]
        head = [group[0].name] * (len(names) > 1)
        head += [f"scale={group[0].scale.name}"] * (len(scales) > 1)
        for point, own in zip(group, values, strict=True):
            found[id(point)] = " ".join([*head, *(f"{key}={own[key]}" for key in keys)])
    return found
