"""Figures with the records that they need, and what to run for those that are missing."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import chain
from typing import Any

import pandas as pd

from ntkrepro.claims.claim import Claim
from ntkrepro.config import catalog
from ntkrepro.config.identity import Run, as_dict, run_id
from ntkrepro.config.schema import Experiment, Solver
from ntkrepro.figures import fits
from ntkrepro.figures.catalog import Figure
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
    scale: str

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

    def about(self) -> dict[str, str]:
        """What a picture tells of itself: the runs that it shows, and a digest of their rows, of
        those that it asks for: others may be there where they were gathered for more figures."""
        rows, only = sha256(), kept([self.figure])
        for record in self.runs().values():
            own = of(record.rows, only)
            rows.update(pd.util.hash_pandas_object(own, index=False).to_numpy())
        return {"Runs": " ".join(self.runs()), "Rows": rows.hexdigest()}


def gather(names: Sequence[str], overrides: Sequence[str]) -> list[Gathered]:
    """The figures with all records that they need, and what is missing of them.

    Raises UserError for an unknown figure, and for runs that one can't show.
    """
    asked = {name: fits.asked(name, overrides) for name in names}
    askers: dict[tuple[str, ...], list[Figure]] = {}
    for own, words in asked.values():
        for experiment in words.values():
            askers.setdefault(experiment, []).append(own)
    loaded = {words: load(words, kept(owns)) for words, owns in askers.items()}
    found = []
    for name, (own, words) in asked.items():
        records = {e: loaded[w][0] for e, w in words.items() if not loaded[w][1]}
        missing = [loaded[w][1] for w in words.values() if loaded[w][1]]
        for base, record in ((e, record) for e, shown in records.items() for record in shown):
            fits.refuse_diverged(name, own, record)
            fits.refuse_unfit(name, (*own.needs, *own.also.get(base, ())), record)
        scale = fits.expand(*next(iter(words.values())))[0].experiment.scale.name
        found.append(Gathered(name, own, records, missing, scale))
    return found


def kept(figures: Sequence[Figure]) -> set[str]:
    """The quantities that these figures ask for; none where one of them may ask for any."""
    wanted = {q for own in figures for q in (*own.needs, *chain(*own.also.values()), *own.wants)}
    return wanted if all(own.only for own in figures) else set()


def of(rows: pd.DataFrame, only: Collection[str]) -> pd.DataFrame:
    """Those of some quantities (none: all), and where a model diverged."""
    return rows[rows["quantity"].isin([*only, "diverged"])] if only else rows


def load(words: Sequence[str], only: Collection[str] = ()) -> tuple[list[Record], str]:
    """The records of every point of an experiment, and what to run for those that are missing.

    only: the quantities whose rows are kept (none: all), so that thousands fit in memory.
    """
    runs, read = fits.expand(*words), []
    for run in runs:
        if record := store.read(run.path):
            read.append(record._replace(rows=of(record.rows, only), config=whole(record.config)))
    lack, name = len(runs) - len(read), runs[0].experiment.name
    mend = f"{lack} of {len(runs)} runs of {name}: {command(words, len(runs))}" if lack else ""
    paper = paper_runs(words[0], runs) if read else set()
    return [record._replace(paper=record.id in paper) for record in read], mend


def whole(config: dict[str, Any]) -> dict[str, Any]:
    """A record's config with the defaults of keys that came after it was made."""
    default = as_dict(Experiment())
    parts = {key: default[key] | part for key, part in config.items() if isinstance(part, dict)}
    return default | config | parts


def paper_runs(experiment: str, runs: list[Run]) -> set[str]:
    """Ids of those at the paper's numbers, by steps or by leaps of the usual tolerance."""
    paper = {by_steps(run) for run in fits.expand(experiment, "scale=paper")}
    return {run.id for run in runs if by_steps(run) in paper}


def by_steps(run: Run) -> str:
    """The id of the same numbers by steps."""
    optimizer = replace(run.experiment.optimizer, solver=Solver.steps)
    return run_id(replace(run.experiment, optimizer=optimizer))


def command(words: Sequence[str], runs: int) -> str:
    """What computes so many runs."""
    options = [*(["-m"] if runs > 1 else []), *catalog.options()]
    return shlex.join(["ntkrepro", "run", *options, *words])
