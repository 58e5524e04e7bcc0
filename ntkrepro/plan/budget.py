"""Which experiments of many fit a time, by `plan`: the cheapest first, each with all its runs."""

import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntkrepro.config.identity import Run
from ntkrepro.errors import UserError
from ntkrepro.plan.measure import free
from ntkrepro.plan.plan import Group, alike, plan
from ntkrepro.plan.table import duration
from ntkrepro.programs.memory import gib

UNITS = {"s": 1, "min": 60, "h": 3600}


class Share(NamedTuple):
    """The runs of an experiment that are missing, what they take, in seconds, and, of those that
    don't fit, why."""

    name: str
    runs: list[Run]
    seconds: float
    why: str = ""

    def __str__(self) -> str:
        runs = f"{self.name}: {len(self.runs)} run{'s' * (len(self.runs) > 1)}"
        return f"{runs}, {self.why or f'about {duration(self.seconds)}'}"


def seconds_of(text: str) -> float:
    """'8h', '90min' or '300s' as seconds. Raises UserError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|min|h)", text)
    if not found or not float(found[1]):
        raise UserError(f"budget={text}: must be a time above 0, such as 8h, 90min or 300s")
    return float(found[1]) * UNITS[found[2]]


def choose(runs: Sequence[Run], seconds: float) -> Iterator[Share]:
    """Of each experiment: whether its runs are among those that take `seconds` together; what
    planning takes is of that time too.

    The cheapest come first. What fits has no `why`.
    """
    began, left = time.perf_counter(), seconds
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(run.experiment.name, []).append(run)
    shares = sorted((cost(own, seconds) for own in by.values()), key=lambda share: share.seconds)
    left -= time.perf_counter() - began
    for share in shares:
        fits = not share.why and share.seconds <= left
        left -= share.seconds if fits else 0
        late = f"about {duration(share.seconds)}, more than is left"
        yield share if fits or share.why else share._replace(why=late)


def cost(runs: list[Run], most: float) -> Share:
    """Of an experiment, the largest runs first: planned, which takes a compilation for each, until
    one can't be run, or they don't fit into time or memory."""
    name, seconds = runs[0].experiment.name, 0.0
    for some in sorted(alike(runs), key=size, reverse=True):
        try:
            own = Group(name, some, plan(some[0]))
        except UserError as refused:  # no data, say
            return Share(name, runs, seconds, str(refused))
        seconds += own.seconds
        if own.plan.bytes > (unused := free()):
            lack = f"needs {gib(own.plan.bytes)} of memory, and {gib(unused)} are free"
            return Share(name, runs, seconds, lack)
        if seconds > most:
            return Share(name, runs, seconds, f"more than {duration(seconds)}")
    return Share(name, runs, seconds)


def size(runs: list[Run]) -> float:
    """What a run's FLOPs grow with."""
    experiment = runs[0].experiment
    model, count = experiment.model, experiment.data.train * max(experiment.optimizer.steps, 1)
    return len(runs) * model.width**2 * model.depth * count
