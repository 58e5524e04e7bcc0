"""Figures from records: no training, no JAX. One module a figure, with three parts:

EXPERIMENTS the records it needs, draw(records) -> Figure, claims(records) -> [Claim].
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkrepro.errors import UserError

if TYPE_CHECKING:
    from ntkrepro.claims import Claim
    from ntkrepro.config import Experiment
    from ntkrepro.records import Record

FIGURES = {"digits": "digits", "4": "fig4", "S2": "figS2"}  # name -> module


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
        commands = "\n  ".join(missing)
        raise UserError(f"{len(missing)} records are missing; make them with\n  {commands}")


def draw_one(name: str, overrides: Sequence[str]) -> list[str]:
    """Draw one figure; returns the commands of the runs it lacks."""
    from ntkrepro import config, records

    module = import_module(f"ntkrepro.figures.{FIGURES[name]}")
    chosen = {e: config.compose([f"experiment={e}", *overrides]) for e in module.EXPERIMENTS}
    found = {e: records.read(records.path_of(experiment)) for e, experiment in chosen.items()}
    missing = [e for e, record in found.items() if record is None]
    if missing:
        return [" ".join(["ntkrepro run", f"experiment={e}", *overrides]) for e in missing]
    target = files(name, list(chosen.values()), overrides)
    save(module, {e: record for e, record in found.items() if record}, name, target)
    return []


def files(name: str, chosen: "list[Experiment]", overrides: Sequence[str]) -> Path:
    """results/figures/<scale>/fig<name>, with the run id where more than the scale was chosen."""
    from ntkrepro import config

    explores = any(not word.startswith(("scale=", "results=", "data.dir=")) for word in overrides)
    suffix = f"-{config.run_id(chosen[0])}" if explores else ""
    folder = Path(chosen[0].results) / "figures" / chosen[0].scale.name
    return folder / f"{'fig' if name[-1].isdigit() else ''}{name}{suffix}"


def save(module: Any, found: "dict[str, Record]", name: str, target: Path) -> None:
    """Write PNG, PDF and the claims as Markdown; print the claims."""
    from ntkrepro.figures import panels

    figure = module.draw(found)
    panels.save(figure, target)
    checked = module.claims(found)
    target.with_name(target.name + ".md").write_text(markdown(name, checked))
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
    """The claims in the terminal."""
    from rich.console import Console
    from rich.table import Column, Table

    if not checked:
        return
    heads = ("claim", "measured", "95 % interval", "holds when", "verdict")
    grid = Table(*(Column(head, no_wrap=True) for head in heads), "statement")
    colour = {"reproduced": "green", "not reproduced": "red"}
    for c in checked:
        word = f"[{colour.get(c.verdict, 'yellow')}]{c.verdict}[/]"
        cells = (c.id, f"{c.value:.4g}", span(c), c.threshold, word)
        grid.add_row(*cells, f"{c.statement} ({c.source})")
    console = Console()
    console.print(grid, width=max(console.width, 120))
