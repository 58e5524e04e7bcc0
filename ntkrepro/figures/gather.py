"""Figures with the records that they need, and what to run for those that are missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from ntkrepro.claims.claim import Claim
from ntkrepro.config import compose
from ntkrepro.config.identity import Run
from ntkrepro.errors import UserError
from ntkrepro.figures.catalog import Figure, figure
from ntkrepro.records import store
from ntkrepro.records.store import Record


@dataclass(frozen=True)
class Gathered:
    """A figure, the records of those experiments of which no run is missing, and the commands that
    make what lacks.
    """

    name: str
    figure: Figure
    records: dict[str, list[Record]]
    missing: list[str]

    @property
    def drawable(self) -> bool:
        return bool(self.records) and (not self.missing or self.figure.panes)

    @cached_property
    def claims(self) -> list[Claim]:
        """Those that its records allow to check."""
        return self.figure.claims(self.records) if self.drawable else []

    def runs(self) -> dict[str, Record]:
        """The records by their ids, in order."""
        return {record.id: record for found in self.records.values() for record in found}


def gather(names: Sequence[str], overrides: Sequence[str]) -> list[Gathered]:
    """The figures with all records that they need, and what is missing of them.

    Raises UserError for an unknown figure.
    """
    figures = {name: figure(name) for name in names}
    needed = dict.fromkeys(e for own in figures.values() for e in own.experiments)
    loaded = {e: load([f"experiment={e}", *overrides]) for e in needed}
    found = []
    for name, own in figures.items():
        records = {e: loaded[e][0] for e in own.experiments if not loaded[e][1]}
        missing = [loaded[e][1] for e in own.experiments if loaded[e][1]]
        found.append(Gathered(name, own, records, missing))
    return found


def load(words: Sequence[str]) -> tuple[list[Record], str]:
    """The records of every point of an experiment, and what to run for those that are missing."""
    runs = expand(*words)
    name = runs[0].experiment.name
    over_time = (r for r in runs if r.experiment.program.name != "kernel_convergence")
    if any(run.experiment.optimizer.steps == 0 for run in over_time):
        raise UserError("optimizer.steps=0: a figure over time needs at least 1 step")
    read = [record for run in runs if (record := store.read(run.path))]
    lack = len(runs) - len(read)
    mend = f"{lack} of {len(runs)} runs of {name}: {command(words, len(runs))}" if lack else ""
    paper = paper_runs(words[0]) if read else set()
    return [record._replace(paper=record.id in paper) for record in read], mend


@cache
def expand(*words: str) -> list[Run]:
    """compose.expand, once for all that ask: composing is the slow part of a report."""
    return compose.expand(words)


def paper_runs(experiment: str) -> set[str]:
    """Ids of the runs at the paper's numbers."""
    return {run.id for run in expand(experiment, "scale=paper")}


def command(words: Sequence[str], runs: int) -> str:
    """What computes so many runs."""
    return " ".join(["ntkrepro run", *(["-m"] if runs > 1 else []), *words])
