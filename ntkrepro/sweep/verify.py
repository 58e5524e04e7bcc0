"""Whether stored records are what this code computes: some are computed again, and compared."""

import random
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from ntkrepro import signals
from ntkrepro.config.identity import Run
from ntkrepro.errors import UserError
from ntkrepro.programs.run import compute_pack
from ntkrepro.progress import progress
from ntkrepro.records import agree, store
from ntkrepro.records.store import Record
from ntkrepro.sweep.packs import packs
from ntkrepro.sweep.status import labels


class Checked(NamedTuple):
    """A record that was computed again: how long that took, what was found, whether it agrees."""

    run: Run
    seconds: float
    found: str
    agrees: bool


class Stored(NamedTuple):
    run: Run
    record: Record

    @property
    def seconds(self) -> float:
        """That its pack took."""
        about = self.record.provenance
        return about["seconds"]["all"] * about.get("pack", 1)


def choose(runs: list[Run], count: int, seed: int, minutes: float) -> list[Stored]:
    """So many of those that have a record, by lot, as fit into the time together by what they took;
    the cheapest first."""
    chosen: list[Stored] = []
    left = 60 * minutes
    for run in random.Random(seed).sample(runs, len(runs)):
        if len(chosen) == count:
            break
        if (record := store.read(run.path)) and (one := Stored(run, record)).seconds <= left:
            chosen.append(one)
            left -= one.seconds
    return sorted(chosen, key=lambda one: one.seconds)


def verify(
    runs: list[Run], elsewhere: Sequence[Run], chosen: list[Stored], command: Sequence[str]
) -> list[Checked]:
    """Each by the program that computes its whole pack. `elsewhere`: the same runs, with a results
    folder that may be written to."""
    signals.install()
    whole = {run.id: pack for pack in packs(list(elsewhere)) for run in pack}
    names, found = labels(runs), []
    for run, record in chosen:
        pack, began = whole[run.id], time.perf_counter()
        with progress(names[run.id], run.experiment.optimizer.steps) as tick:
            outcomes = compute_pack(pack, lambda line: None, tick, command, {run.id})
        outcome = outcomes[[own.id for own in pack].index(run.id)]
        if isinstance(outcome, UserError):
            found.append(Checked(run, time.perf_counter() - began, str(outcome), False))
            continue
        again = store.read(outcome)
        assert again is not None, "written just now"
        found.append(Checked(run, time.perf_counter() - began, *compare(record, again)))
    return found


def compare(record: Record, again: Record) -> tuple[str, bool]:
    """In words, and whether they agree: bit for bit where the same software computed both."""
    apart = agree.apart(record, again)
    if apart.same:
        return "the same bits", True
    far = f"{apart.share:.2g} of the largest {apart.what}" if apart.what != "rows" else "other rows"
    if agree.same_software(record, again):
        return f"{far} apart, of the same software", False
    if agree.within_rounding(record, apart):
        return f"{far} apart: other rounding, of other software", True
    return f"{far} apart, more than other software's rounding", False


def table(runs: list[Run], found: list[Checked]) -> Table:
    names, shown = labels(runs), Table(box=None, pad_edge=False)
    for head in ("record", "which", "computed in", "against what is stored"):
        shown.add_column(head, overflow="fold")
    for run, seconds, what, agrees in found:
        sign = "✓" if agrees else "✗"
        shown.add_row(run.id, names[run.id], f"{seconds:.3g} s", f"{sign} {what}")
    return shown


def folder() -> tempfile.TemporaryDirectory:
    """Where records are computed again."""
    return tempfile.TemporaryDirectory(prefix="ntkrepro-verify-", ignore_cleanup_errors=True)
