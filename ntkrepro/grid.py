"""Many configs become records: done ones are skipped, failed ones told and tried again next time.

Several processes may walk one grid: each claims what no other holds, and takes over what a dead
one left, from its checkpoint.
"""

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import jax

from ntkrepro import experiment, locks, records, state, termination
from ntkrepro.config import Experiment
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.packs import packs
from ntkrepro.progress import progress

PACKS = 32  # packs after which compiled programs are freed: thousands exceed the system's maps
POLL = 0.5  # seconds between two looks at what others hold

Tell = Callable[[Experiment, Path | UserError], None]


def run(points: list[Experiment], tell: Tell, since: float) -> None:
    """Compute every point, unless it is done or has failed after `since` (seconds, time.time).

    tell(point, outcome) is called for each that this process computed: its record's path, or why
    it failed. Returns when no point is left to do here or elsewhere.
    """
    names, todo = state.labels(points), packs(points)
    while todo:
        held = []
        for i, pack in enumerate(todo, 1):
            held += [] if attempt(pack, names, tell, since) else [pack]
            if i % PACKS == 0:
                jax.clear_caches()
        if len(held) == len(todo):
            time.sleep(POLL)
        todo = held


def attempt(pack: list[Experiment], names: dict[int, str], tell: Tell, since: float) -> bool:
    """Whether a pack needs no more work; false where another process is at it."""
    if termination.asked():  # while the last record was written
        raise SystemExit(termination.EXIT_CODE)
    if not left(pack, since):
        return True
    records.refuse_unwritable(pack[0])  # one folder for all
    with locks.claimed([records.beside(point, "lock") for point in pack]) as ours:
        if ours and (todo := left(pack, since)):
            again = all(state.failure(point) for point in todo)
            compute(todo if again else pack, todo, names, tell)
    return ours


def left(pack: list[Experiment], since: float) -> list[Experiment]:
    """The points without a record, but for those that failed after `since`."""
    missing = [point for point in pack if not records.path_of(point).is_file()]
    return [p for p in missing if (failure := state.failure(p)) is None or failure.at < since]


def compute(
    pack: list[Experiment], todo: list[Experiment], names: dict[int, str], tell: Tell
) -> None:
    """The records of a pack, or why there is none, told of the points that were to do."""
    name, label = pack[0].name, names[id(pack[0])]
    title = label if label.startswith(name) else f"{name} {label}".strip()
    with progress(title, pack[0].optimizer.steps) as tick:
        outcomes = guarded(pack, len(names) > 1, tick)
    for point, outcome in zip(pack, outcomes, strict=True):
        if isinstance(outcome, UserError):
            if len(names) > 1 or isinstance(outcome, RunFailed):  # else nothing is left behind
                state.fail(point, outcome)
        else:
            state.forget_failure(point)
        if point in todo:
            tell(point, outcome)


def guarded(
    pack: list[Experiment], several: bool, tick: Callable[..., None]
) -> list[Path | UserError]:
    """The outcomes of a pack. What nobody foresaw ends a single run, but not a grid."""
    say = lambda line: print(line, file=sys.stderr)  # noqa: E731
    try:
        return list(experiment.run_pack(pack, say, tick))
    except UserError as error:
        return [error for _ in pack]
    except Exception as error:
        if not several:
            raise
        traceback.print_exc()
        return [RunFailed(f"{type(error).__name__}: {error}") for _ in pack]
