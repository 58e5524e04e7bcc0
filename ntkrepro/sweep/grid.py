"""Many runs become records: done ones are skipped, failed ones told and tried again next time.

Several processes may walk one grid: each claims what no other holds, and takes over what a dead
one left, from its checkpoint.
"""

import sys
import time
import traceback
from collections.abc import Callable, Sequence

import jax

from ntkrepro import signals
from ntkrepro.config.identity import Run
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs.run import Outcome, compute_pack
from ntkrepro.progress import Tick, progress
from ntkrepro.records import store
from ntkrepro.sweep import locks, status
from ntkrepro.sweep.packs import packs

PACKS = 32  # packs after which compiled programs are freed: thousands exceed the system's maps
POLL = 0.5  # seconds between two looks at what others hold

Tell = Callable[[Run, Outcome], None]


def compute_missing(
    runs: list[Run], tell: Tell, since: float, command: Sequence[str] | None = None
) -> None:
    """Compute every run, unless it is done or has failed after `since` (seconds, time.time).

    tell(run, outcome) is called for each that this process computed; `command` goes into their
    provenance. Returns when no run is left to do here or elsewhere.
    """
    grid, todo = Grid(status.labels(runs), tell, since, command), packs(runs)
    while todo:
        held = []
        for i, pack in enumerate(todo, 1):
            held += [] if grid.attempt(pack) else [pack]
            if i % PACKS == 0:
                jax.clear_caches()
        if len(held) == len(todo):
            time.sleep(POLL)
        todo = held


class Grid:
    """What all packs share: a label of each run by its id, and the arguments of compute_missing."""

    def __init__(
        self, labels: dict[str, str], tell: Tell, since: float, command: Sequence[str] | None
    ) -> None:
        self.labels, self.tell, self.since, self.command = labels, tell, since, command

    def attempt(self, pack: list[Run]) -> bool:
        """Whether a pack needs no more work; false where another process is at it."""
        if signals.asked():  # while the last record was written
            raise SystemExit(signals.EXIT_CODE)
        if not self.left(pack):
            return True
        store.refuse_unwritable(pack[0])  # one folder for all
        with locks.claimed([run.beside("lock") for run in pack]) as ours:
            if ours and (todo := self.left(pack)):
                again = all(status.failure(run) for run in todo)
                self.compute(todo if again else pack, todo)
        return ours

    def left(self, pack: list[Run]) -> list[Run]:
        """The runs without a record, but for those that failed after `since`."""
        missing = [run for run in pack if not run.path.is_file()]
        failures = [status.failure(run) for run in missing]
        pairs = zip(missing, failures, strict=True)
        return [run for run, failure in pairs if failure is None or failure.at < self.since]

    def compute(self, pack: list[Run], todo: list[Run]) -> None:
        """The records of a pack, or why there is none, told of the runs that were to do."""
        first, label = pack[0].experiment, self.labels[pack[0].id]
        title = label if label.startswith(first.name) else f"{first.name} {label}".strip()
        with progress(title, first.optimizer.steps) as tick:
            outcomes = self.guarded(pack, tick)
        asked = {run.id for run in todo}
        for run, outcome in zip(pack, outcomes, strict=True):
            if not isinstance(outcome, UserError):
                status.forget_failure(run)
            elif self.several() or isinstance(outcome, RunFailed):  # else nothing is left behind
                status.fail(run, outcome)
            if run.id in asked:
                self.tell(run, outcome)

    def guarded(self, pack: list[Run], tick: Tick) -> list[Outcome]:
        """The outcomes of a pack. What nobody foresaw ends a single run, but not a grid."""
        try:
            return compute_pack(pack, say, tick, self.command)
        except UserError as error:
            return [error for _ in pack]
        except Exception as error:
            if not self.several():
                raise
            traceback.print_exc()
            return [RunFailed(f"{type(error).__name__}: {error}") for _ in pack]

    def several(self) -> bool:
        return len(self.labels) > 1


def say(line: str) -> None:
    print(line, file=sys.stderr)
