"""Figures from records: no training, no JAX. One module a figure, with

EXPERIMENTS whose records it needs, draw(records) -> Figure and claims(records) -> [Claim], where
`records` has a list by experiment: one record, or one for each point of its sweep. For the report,
PAPER says what the paper says of it, ALT what there is to be seen, POSTER what the authors' poster
reads at the paper's scale, and WHY, by scale and claim, why a claim isn't reproduced. PARTS: each
experiment has its own pane and claims, so that any one of them is enough to draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkrepro.errors import UserError

if TYPE_CHECKING:
    from ntkrepro.claims import Claim
    from ntkrepro.config import Experiment
    from ntkrepro.records import Record

FIGURES = {  # name -> module
    "digits": "digits",
    "custom": "custom",
    "1": "fig1",
    "2": "fig2",
    "3": "fig3",
    "4": "fig4",
    "5": "fig5",
    "6": "fig6",
    "7": "fig7",
    "8": "fig8",
    "S1": "figS1",
    "S2": "figS2",
    "S3": "figS3",
    "S4": "figS4",
    "S5": "figS5",
    "F1": "figF1",
}
OURS = ("digits", "custom")  # not the paper's


@dataclass(frozen=True)
class Gathered:
    """A figure's module, its records, and the commands that make what lacks.

    `records` has the experiments of which no run is missing.
    """

    name: str
    module: Any
    records: "dict[str, list[Record]]"
    missing: list[str]

    @property
    def drawable(self) -> bool:
        return bool(self.records) and (not self.missing or getattr(self.module, "PARTS", False))

    @cached_property
    def claims(self) -> "list[Claim]":
        """Those that its records allow to check."""
        return self.module.claims(self.records) if self.drawable else []

    def runs(self) -> "dict[str, Record]":
        """The records by their ids, in order."""
        return {record.id: record for found in self.records.values() for record in found}


def draw(names: Sequence[str], overrides: Sequence[str]) -> None:
    """Draw the named figures (none: all but `custom`, the user's own) and print their claims.

    Overrides choose the scale, or an exploration, whose files then carry its run id. Raises
    UserError for an unknown figure, and for missing records with the commands that make them.
    """
    missing: list[str] = []
    for name in names or [name for name in FIGURES if name != "custom"]:
        if name not in FIGURES:
            raise UserError(f"figure {name}: no such figure; one of {', '.join(FIGURES)}")
        (figure,) = gather([name], overrides)
        missing += [command for command in figure.missing if command not in missing]
        if not figure.drawable:
            continue
        to = target(name, overrides)
        save(figure, to)
        print(f"figure {name}: {to}.png, {to}.pdf")
        show(figure.claims)
    if missing:
        raise UserError("missing " + "\n  and ".join(missing))


def gather(names: Sequence[str], overrides: Sequence[str]) -> list[Gathered]:
    """The figures with all records that they need, and what is missing of them."""
    modules = {name: module(name) for name in names}
    needed = dict.fromkeys(e for own in modules.values() for e in own.EXPERIMENTS)
    loaded = {e: load([f"experiment={e}", *overrides]) for e in needed}
    figures = []
    for name, own in modules.items():
        records = {e: loaded[e][0] for e in own.EXPERIMENTS if not loaded[e][1]}
        missing = [loaded[e][1] for e in own.EXPERIMENTS if loaded[e][1]]
        figures.append(Gathered(name, own, records, missing))
    return figures


def module(name: str) -> Any:
    """The figure's own."""
    return import_module(f"ntkrepro.figures.{FIGURES[name]}")


def load(words: Sequence[str]) -> "tuple[list[Record], str]":
    """The records of every point of an experiment, and what to run for those that are missing."""
    from ntkrepro import records

    points = expand(*words)
    if any(p.optimizer.steps == 0 and p.program.name != "kernel_convergence" for p in points):
        raise UserError("optimizer.steps=0: a figure over time needs at least 1 step")
    read = [record for point in points if (record := records.read(records.path_of(point)))]
    lack = len(points) - len(read)
    runs = f"{lack} of {len(points)} runs of {points[0].name}: {command(words, len(points))}"
    paper = paper_runs(words[0]) if read else set()
    return [record._replace(paper=record.id in paper) for record in read], runs if lack else ""


@cache
def expand(*words: str) -> "list[Experiment]":
    """config.expand, once for all that ask: composing is the slow part of a report."""
    from ntkrepro import config

    return config.expand(words)


def paper_runs(experiment: str) -> set[str]:
    """Ids of the runs at the paper's numbers."""
    from ntkrepro import config

    return {config.run_id(point) for point in expand(experiment, "scale=paper")}


def command(words: Sequence[str], runs: int) -> str:
    """What computes so many runs."""
    return " ".join(["ntkrepro run", *(["-m"] if runs > 1 else []), *words])


def target(name: str, overrides: Sequence[str]) -> Path:
    """results/figures/<scale>/fig<name>, with the runs' id where more than the scale was chosen."""
    from ntkrepro import config

    experiment = module(name).EXPERIMENTS[0]
    points = config.expand([f"experiment={experiment}", *overrides])
    explores = any(not word.startswith(("scale=", "results=", "data.dir=")) for word in overrides)
    plain = path(points[0].results, points[0].scale.name, name)
    return plain.with_name(f"{plain.name}-{config.grid_id(points)}") if explores else plain


def path(results: str | Path, scale: str, name: str) -> Path:
    """A figure's files without their extension."""
    stem = f"fig{name}" if name[-1].isdigit() else name
    return Path(results) / "figures" / scale / stem


def save(figure: Gathered, target: Path) -> None:
    """Write PNG and PDF."""
    from ntkrepro.figures import panels

    panels.save(figure.module.draw(figure.records), target, " ".join(figure.runs()))


def picture(figure: Gathered, target: Path) -> Path:
    """The figure's PNG; drawn unless the one that is there shows these very runs.

    `draw` always draws: after a change of how a figure looks, `ntkrepro figures` comes first.
    """
    from ntkrepro.figures import panels

    png = target.with_name(f"{target.name}.png")
    if panels.runs_of(png) != " ".join(figure.runs()):
        save(figure, target)
    return png


def span(claim: "Claim") -> str:
    return f"{claim.interval[0]:.3g} to {claim.interval[1]:.3g}"


def show(checked: "list[Claim]") -> None:
    """The claims in the terminal, two lines each."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    colour = {"reproduced": "green", "not reproduced": "red"}
    for c in checked:
        word = f"[{colour.get(c.verdict, 'yellow')}]{c.verdict}[/]"
        console.print(f"  {c.id}: {word}; {c.value:.4g} ({span(c)}), holds when {c.threshold}")
        console.print(f"     {c.statement} ({c.source})", style="dim")
