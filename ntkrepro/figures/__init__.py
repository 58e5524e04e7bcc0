"""Figures from records: no training, no JAX. One module a figure, with three parts:

EXPERIMENTS whose records it needs, draw(records) -> Figure and claims(records) -> [Claim], where
`records` has a list by experiment: one record, or one for each point of its sweep.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkrepro.errors import UserError

if TYPE_CHECKING:
    from ntkrepro.claims import Claim
    from ntkrepro.records import Record

FIGURES = {  # name -> module
    "digits": "digits",
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


def draw(names: Sequence[str], overrides: Sequence[str]) -> None:
    """Draw the named figures (none: all) and print their claims.

    Overrides choose the scale, or an exploration, whose files then carry its run id. Raises
    UserError for an unknown figure, and for missing records with the commands that make them.
    """
    missing: list[str] = []
    for name in names or FIGURES:
        if name not in FIGURES:
            raise UserError(f"figure {name}: no such figure; one of {', '.join(FIGURES)}")
        missing += [command for command in draw_one(name, overrides) if command not in missing]
    if missing:
        raise UserError("missing " + "\n  and ".join(missing))


def draw_one(name: str, overrides: Sequence[str]) -> list[str]:
    """Draw one figure; returns what it lacks, with the commands that make it."""
    module = import_module(f"ntkrepro.figures.{FIGURES[name]}")
    found, missing = {}, []
    for experiment in module.EXPERIMENTS:
        words = [f"experiment={experiment}", *overrides]
        found[experiment], lack = load(words)
        missing += [lack] if lack else []
    if not missing:
        save(module, found, name, target(name, [f"experiment={experiment}", *overrides], overrides))
    return missing


def load(words: Sequence[str]) -> "tuple[list[Record], str]":
    """The records of every point of an experiment, and what to run for those that are missing."""
    from ntkrepro import config, records

    points = config.expand(words)
    if any(p.optimizer.steps == 0 and p.program.name != "kernel_convergence" for p in points):
        raise UserError("optimizer.steps=0: a figure over time needs at least 1 step")
    unscaled = [word for word in words if not word.startswith("scale=")]
    paper = {config.run_id(point) for point in config.expand([*unscaled[:1], "scale=paper"])}
    read = [records.read(records.path_of(point)) for point in points]
    found = [
        record._replace(paper=config.run_id(point) in paper)
        for record, point in zip(read, points, strict=True)
        if record
    ]
    if len(found) == len(points):
        return found, ""
    sweep = ["-m"] if len(points) > 1 else []
    command = " ".join(["ntkrepro run", *sweep, *words])
    lack = len(points) - len(found)
    return found, f"{lack} of {len(points)} runs of {points[0].name}: {command}"


def target(name: str, words: Sequence[str], overrides: Sequence[str]) -> Path:
    """results/figures/<scale>/fig<name>, with the run id where more than the scale was chosen."""
    from ntkrepro import config

    chosen = config.compose(words)
    explores = any(not word.startswith(("scale=", "results=", "data.dir=")) for word in overrides)
    suffix = f"-{config.run_id(chosen)}" if explores else ""
    stem = f"fig{name}" if name[-1].isdigit() else name
    return Path(chosen.results) / "figures" / chosen.scale.name / f"{stem}{suffix}"


def save(module: Any, found: "dict[str, list[Record]]", name: str, target: Path) -> None:
    """Write PNG, PDF and the claims as Markdown; print the claims."""
    from ntkrepro.figures import panels
    from ntkrepro.files import atomic

    checked = module.claims(found)
    panels.save(module.draw(found), target)
    with atomic(target.with_name(f"{target.name}.md")) as file:
        file.write(markdown(name, checked).encode())
    print(f"figure {name}: {target}.png, {target}.pdf")
    show(checked)


def markdown(name: str, checked: "list[Claim]") -> str:
    """The claims as a table."""
    lines = [
        f"# Figure {name}",
        "",
        "| claim | statement | measured | 95 % interval | holds when | verdict |",
    ]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for c in checked:
        cells = (
            c.id,
            f"{c.statement} ({c.source})",
            f"{c.value:.4g}",
            span(c),
            c.threshold,
            c.verdict,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
