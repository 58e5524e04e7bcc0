"""How far the runs of a grid are, from what lies in the results folder; imports no JAX."""

import json
import shutil
from collections import Counter
from collections.abc import Set
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from ntkrepro.config.identity import Run, flat
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.files import atomic
from ntkrepro.records import store
from ntkrepro.sweep import locks

BEGINNINGS = ("checkpoint", "blocks")  # what a run keeps of its own beside its record to come
KINDS = {kind.exit_code: kind for kind in (UserError, RunFailed)}


class Failure(NamedTuple):
    """Why a run failed last, with the exit code of that; `nonce`: no other failure has it."""

    why: str
    code: int
    nonce: str

    def error(self) -> UserError:
        return KINDS[self.code](self.why)


def fail(run: Run, error: UserError) -> None:
    """Leave a note beside the record to come, where that can be written."""
    about = {"why": str(error), "code": error.exit_code, "nonce": uuid4().hex}
    about["at"] = datetime.now(UTC).isoformat(timespec="seconds")  # for who opens the file
    with suppress(RunFailed), atomic(run.beside("failed")) as file:
        file.write(json.dumps(about).encode())


def failure(run: Run) -> Failure | None:
    """The note that `fail` left; one that says something else is none."""
    try:
        note = json.loads(run.beside("failed").read_text())
        found = Failure(*(note[key] for key in Failure._fields))
        known = [type(value) for value in found] == [str, int, str] and found.code in KINDS
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return found if known else None


def forget_failure(run: Run) -> None:
    run.beside("failed").unlink(missing_ok=True)


def forget_beginnings(runs: list[Run]) -> None:
    """Remove what cut-off runs would go on from, where no process is at them."""
    for run in runs:
        left = [path for path in map(run.beside, BEGINNINGS) if path.exists()]
        with locks.claimed([run.beside("lock")] if left else []) as ours:
            for path in left if ours else []:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def tidy(runs: list[Run]) -> None:
    """Remove what a process left that was killed between a record and its own end."""
    for run in runs:
        lock, checkpoint = (run.beside(what) for what in ("lock", "checkpoint"))
        if run.path.is_file() and (lock.exists() or checkpoint.exists()):
            with locks.claimed([lock]) as ours:
                if ours:
                    store.tidy(run)


def of(run: Run) -> tuple[str, str]:
    """Done, running, failed or missing; and where and since when, or why."""
    if store.is_done(run.path):
        return "done", ""
    if holder := locks.holder(run.beside("lock")):
        return "running", holder
    if failed := failure(run):
        return "failed", failed.why
    cut_off = run.beside("checkpoint").is_file()
    return "missing", "cut off; goes on from its checkpoint" if cut_off else ""


def by_experiment(runs: list[Run]) -> list[list[Run]]:
    """The runs of each experiment and scale."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.experiment.name, run.experiment.scale.name), []).append(run)
    return list(groups.values())


def table(runs: list[Run]) -> str:
    """One line of counts, and one for each run that is running, failed or cut off."""
    states, names, first = [of(run) for run in runs], labels(runs), runs[0].experiment
    counts = Counter(word for word, _ in states)
    words = [f"{counts[word]} {word}" for word in ("done", "running", "failed", "missing")]
    lines = [f"{first.name} ({first.scale.name}): {', '.join(words)}"]
    for run, (word, what) in zip(runs, states, strict=True):
        if what:
            lines.append(f"  {word}: {names[run.id] or first.name}: {what}")
    return "\n".join(lines)


def labels(runs: list[Run], without: Set[str] = frozenset({"sweep"})) -> dict[str, str]:
    """Of each run, by id, the keys in which the runs of its experiment differ, as KEY=VALUE; behind
    its experiment and scale where those differ too."""
    groups, found = by_experiment(runs), {}
    names, scales = (
        {getattr(group[0].experiment, key) for group in groups} for key in ("name", "scale")
    )
    for group in groups:
        first = group[0].experiment
        values = [flat(run.experiment) for run in group]
        keys = [k for k in values[0] if k not in without and len({str(v[k]) for v in values}) > 1]
        head = [first.name] * (len(names) > 1)
        head += [f"scale={first.scale.name}"] * (len(scales) > 1)
        for run, own in zip(group, values, strict=True):
            found[run.id] = " ".join([*head, *(f"{key}={own[key]}" for key in keys)])
    return found
