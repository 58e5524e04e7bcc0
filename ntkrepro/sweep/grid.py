"""Many runs become records: done ones are skipped, failed ones told and tried again next time.

Several processes may walk one grid: each claims what no other holds, and takes over what a dead
one left, from its checkpoint.
"""

import sys
import time
import traceback
from collections.abc import Callable
from itertools import chain

import jax

from ntkrepro import signals
from ntkrepro.config.identity import Run
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs.run import Outcome, compute_pack
from ntkrepro.progress import Tick, progress
from ntkrepro.records import store
from ntkrepro.sweep import locks, status
from ntkrepro.sweep.attempt import Attempt
from ntkrepro.sweep.packs import packs

PACKS = 32  # packs after which compiled programs are freed: thousands exceed the system's maps
POLL = 0.5  # seconds between two looks at what others hold
PATIENCE = 3  # such looks before a process tells whom it waits for

Tell = Callable[[Run, Outcome], None]


def compute_missing(runs: list[Run], tell: Tell, attempt: Attempt) -> None:
    """Compute every run, unless it is done or has failed in this attempt.

    tell(run, outcome) is called for each that this process computed. Returns when no run is left to
    do here or elsewhere.
    """
    todo = packs(runs)
    grid, polls = Grid(todo, tell, attempt), 0
    while todo:
        held = []
        for i, pack in enumerate(todo, 1):
            held += [] if grid.attempt(pack) else [pack]
            if i % PACKS == 0:
                jax.clear_caches()
        polls = polls + 1 if len(held) == len(todo) else 0
        if polls > PATIENCE:
            grid.tell_holders(held)
        if polls:
            time.sleep(POLL)
        todo = held


class Grid:
    """What all packs share: labels of runs by their id, whom this process waits for, and the
    arguments of compute_missing."""

    def __init__(self, todo: list[list[Run]], tell: Tell, attempt: Attempt) -> None:
        self.labels = status.labels(list(chain(*todo)))
        self.tell, self.about = tell, attempt
        self.holders: set[str] = set()
        self.places = {run.id: i for i, run in enumerate(chain(*todo), 1)}

    def attempt(self, pack: list[Run]) -> bool:
        """Whether a pack needs no more work; false where another process is at it."""
        if signals.asked():  # while the last record was written
            raise signals.Stopped
        if not self.left(pack):
            return True
        store.refuse_unwritable(pack[0])  # one folder for all
        with locks.claimed([run.beside("lock") for run in pack]) as ours:
            if ours and (todo := self.left(pack)):
                again = all(status.failure(run) for run in todo)
                self.compute(todo if again else pack, todo)
        return ours

    def left(self, pack: list[Run]) -> list[Run]:
        """The runs without a record, but for those that failed in this attempt."""
        about = self.about
        return [run for run in pack if not (about.is_done(run) or about.failure(run))]

    def tell_holders(self, held: list[list[Run]]) -> None:
        """Once of each process that holds what this one waits for."""
        before, self.holders = self.holders, set()
        for pack in held:
            found = (locks.holder(run.beside("lock")) for run in pack)
            holder = next(filter(None, found), "")
            who = holder.partition(" since ")[0]
            if who and who not in before | self.holders:
                say(f"waiting for {holder}, which computes {self.title(pack)}")
            self.holders |= {who}

    def title(self, pack: list[Run]) -> str:
        """The first run's name, and of several runs which these are."""
        name, label = pack[0].experiment.name, self.labels[pack[0].id]
        title = label if label.startswith(name) else f"{name} {label}".strip()
        first, last = (self.places[run.id] for run in (pack[0], pack[-1]))
        which = f"{first}" if first == last else f"{first} to {last}"
        return f"{title}, {which} of {len(self.places)}" if len(self.places) > 1 else title

    def compute(self, pack: list[Run], todo: list[Run]) -> None:
        """The records of a pack, or why there is none, told of the runs that were to do."""
        asked = {run.id for run in todo}
        with progress(self.title(pack), pack[0].experiment.optimizer.steps) as tick:
            outcomes = self.guarded(pack, asked, tick)
        for run, outcome in zip(pack, outcomes, strict=True):
            if run.id not in asked:
                continue
            if not isinstance(outcome, UserError):
                status.forget_failure(run)
            elif self.about.shared or isinstance(outcome, RunFailed):  # else nothing is left behind
                status.fail(run, outcome)
            self.tell(run, outcome)

    def guarded(self, pack: list[Run], asked: set[str], tick: Tick) -> list[Outcome]:
        """The outcomes of a pack. What nobody foresaw ends a single run, but not a grid."""
        try:
            return compute_pack(pack, say, tick, self.about.words, asked)
        except UserError as error:
            return [error for _ in pack]
        except Exception as error:
            if not self.about.shared:
                raise
            traceback.print_exc()
            return [RunFailed(f"{type(error).__name__}: {error}") for _ in pack]


def say(line: str) -> None:
    print(line, file=sys.stderr)
