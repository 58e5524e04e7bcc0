"""Negative controls: for every claim small real runs in which it is false, and what it says then.

configs/claims/<figure>.yaml holds them. Of each, `runs` are runs in which the claims `of` hold
(none where no small run is like the paper's); `wrong` others, from which `mix` (claims/mixes.py)
takes one side of each. Words may be nested; the word `also` begins another grid. `as`: the
experiments in whose place the figure sees them.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ntkrepro.claims import contracts
from ntkrepro.claims.claim import FAILED, REPRODUCED, Claim
from ntkrepro.claims.mixes import MIXES
from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run
from ntkrepro.figures import catalog, fits, gather
from ntkrepro.files import atomic
from ntkrepro.records.store import Record

FILE = "controls.json"
Numbers = tuple[Any, ...]  # value, low, high, verdict; or none


class Control(NamedTuple):
    """says: why the claims `of` are false."""

    of: tuple[str, ...]
    says: str
    figure: str
    runs: tuple[tuple[str, ...], ...]  # the words of each grid
    wrong: tuple[tuple[str, ...], ...]
    mix: str
    stand_for: tuple[str, ...]


class Outcome(NamedTuple):
    """Of a claim with its control: where it is true, if there are such runs, and where false."""

    contract: str
    claim: str
    says: str
    mix: str
    right: Numbers
    wrong: Numbers

    @property
    def turns(self) -> bool:
        return self.wrong[-1] == FAILED and self.right[-1:] in ((), (REPRODUCED,))


def controls() -> list[Control]:
    return [_control(own) for figure in contracts.figures() for own in contracts.controls(figure)]


def _control(own: dict[str, Any]) -> Control:
    grids = {key: tuple(_grids(own.get(key, []))) for key in ("runs", "wrong")}
    of, stand_for = tuple(own["of"]), tuple(own.get("as", ()))
    return Control(of, own["says"], own["figure"], **grids, mix=own["mix"], stand_for=stand_for)


def _grids(words: list) -> Iterator[tuple[str, ...]]:
    flat = [*_flat(words)]
    while "also" in flat:
        end = flat.index("also")
        yield tuple(flat[:end])
        flat = flat[end + 1 :]
    yield from [tuple(flat)] if flat else []


def _flat(words: list) -> Iterator[str]:
    for word in words:
        yield from [word] if isinstance(word, str) else _flat(word)


def runs(results: str, of: Sequence[Control] = ()) -> list[Run]:
    """All that these controls (none: all) need, in a folder of their own."""
    words = dict.fromkeys(grid for own in of or controls() for grid in (*own.runs, *own.wrong))
    found = {run.id: run for grid in words for run in fits.expand(*grid, _folder(results))}
    return list(found.values())


def _folder(results: str) -> str:
    return f"results={results}/controls"


def outcomes(results: str) -> list[Outcome]:
    """Of every claim with every control of it, from the records of `runs`."""
    return [outcome for own in controls() for outcome in outcome_of(own, results)]


def outcome_of(own: Control, results: str) -> list[Outcome]:
    right, wrong = ([_records(grid, results) for grid in grids] for grids in (own.runs, own.wrong))
    mix = MIXES[own.mix]
    mixed = [mix(*pair) for pair in zip_longest(right, wrong, fillvalue=())]
    holding, found = (claims(own, [r for grid in grids for r in grid]) for grids in (right, mixed))
    return [
        Outcome(b.contract.id, b.id, own.says, own.mix, numbers(a) if a else (), numbers(b))
        for a, b in zip_longest(holding, found)
    ]


def _records(grid: Sequence[str], results: str) -> list[Record]:
    """As if of the paper's numbers."""
    found, lack = gather.load((*grid, _folder(results)))
    assert not lack, lack
    return [record._replace(paper=True) for record in found]


def claims(own: Control, records: list[Record]) -> list[Claim]:
    if not records:
        return []
    figure = catalog.figure(own.figure)
    figure = figure.several or figure
    found = figure.claims(dict.fromkeys(own.stand_for or figure.experiments, records))
    return [claim for claim in found if claim.contract.id in own.of]


def numbers(claim: Claim) -> Numbers:
    return claim.value, *claim.interval, claim.verdict


def write(overrides: Sequence[str]) -> list[Outcome]:
    """Judge all from their records, and keep what they say in results/controls.json."""
    results = results_of(overrides)
    found = outcomes(results)
    text = json.dumps([outcome._asdict() for outcome in found], indent=1, ensure_ascii=False)
    with atomic(Path(results) / FILE) as file:
        file.write(f"{text}\n".encode())
    return found


def results_of(overrides: Sequence[str]) -> str:
    return str(compose(overrides).experiment.results)


def stored(results: Path) -> dict[str, list[Outcome]]:
    """Those of results/controls.json, by the contract that they are of."""
    return _stored(path, path.stat().st_mtime_ns) if (path := results / FILE).is_file() else {}


@cache
def _stored(path: Path, changed: int) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for fields in json.loads(path.read_text(encoding="utf-8")):
        lists = {key: tuple(fields[key]) for key in ("right", "wrong")}
        found.setdefault(fields["contract"], []).append(Outcome(**(fields | lists)))
    return found


def table(found: Sequence[Outcome]) -> list[str]:
    """A line each, for the terminal."""
    signs = {True: "ok  ", False: "FAIL"}
    return [
        f"{signs[o.turns]} {o.claim}: {told(o.right)}; then {told(o.wrong)}. {o.says}"
        for o in found
    ]


def told(numbers: Numbers) -> str:
    if not numbers:
        return "-"
    value, low, high, verdict = numbers
    return f"{value:.3g} ({low:.3g} to {high:.3g}) {verdict}"
