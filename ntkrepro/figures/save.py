"""Figures as files, and their claims in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ntkrepro.claims.claim import FAILED, REPRODUCED, Claim
from ntkrepro.config.identity import grid_id
from ntkrepro.errors import UserError
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import FIGURES, figure
from ntkrepro.figures.gather import Gathered, expand, gather

COLOURS = {REPRODUCED: "green", FAILED: "red"}


def draw(names: Sequence[str], overrides: Sequence[str]) -> None:
    """Draw the named figures (none: all but `custom`, the user's own) and print their claims.

    Overrides choose the scale, or an exploration, whose files then carry its run id. Raises
    UserError for an unknown figure, and for missing records with the commands that make them.
    """
    missing: dict[str, None] = {}
    for name in names or [name for name in FIGURES if name != "custom"]:
        (shown,) = gather([name], overrides)
        missing |= dict.fromkeys(shown.missing)
        if shown.drawable:
            to = target(name, overrides)
            save(shown, to)
            print(f"figure {name}: {to}.png, {to}.pdf")
            show(shown.claims)
    if missing:
        raise UserError("missing " + "\n  and ".join(missing))


def target(name: str, overrides: Sequence[str]) -> Path:
    """results/figures/<scale>/fig<name>, with the runs' id where more than the scale was chosen."""
    runs = expand(f"experiment={figure(name).experiments[0]}", *overrides)
    explores = any(not word.startswith(("scale=", "results=", "data.dir=")) for word in overrides)
    plain = path(runs[0].experiment.results, runs[0].experiment.scale.name, name)
    return plain.with_name(f"{plain.name}-{grid_id(runs)}") if explores else plain


def path(results: str | Path, scale: str, name: str) -> Path:
    """A figure's files without their extension."""
    stem = f"fig{name}" if name[-1].isdigit() else name
    return Path(results) / "figures" / scale / stem


def save(shown: Gathered, to: Path) -> None:
    """Write PNG and PDF."""
    panels.save(shown.figure.draw(shown.records), to, " ".join(shown.runs()))


def picture(shown: Gathered, to: Path) -> Path:
    """The figure's PNG; drawn unless the one that is there shows these very runs.

    `draw` always draws: after a change of how a figure looks, `ntkrepro figures` comes first.
    """
    png = to.with_name(f"{to.name}.png")
    if panels.runs_of(png) != " ".join(shown.runs()):
        save(shown, to)
    return png


def span(claim: Claim) -> str:
    return f"{claim.interval[0]:.3g} to {claim.interval[1]:.3g}"


def show(claims: list[Claim]) -> None:
    """The claims in the terminal, two lines each."""
    console = Console(highlight=False, soft_wrap=True)
    for c in claims:
        word = f"[{COLOURS.get(c.verdict, 'yellow')}]{c.verdict}[/]"
        console.print(f"  {c.id}: {word}; {c.value:.4g} ({span(c)}), holds when {c.threshold}")
        console.print(f"     {c.statement} ({c.source})", style="dim")
