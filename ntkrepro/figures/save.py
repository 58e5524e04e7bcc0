"""Figures as files, and their claims in the terminal."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from ntkrepro.claims.claim import FAILED, REPRODUCED, Claim
from ntkrepro.config.identity import grid_id
from ntkrepro.errors import UserError
from ntkrepro.figures import fits, panels
from ntkrepro.figures.catalog import BY_WORDS, FIGURES
from ntkrepro.figures.gather import Gathered, gather
from ntkrepro.files import atomic
from ntkrepro.records.store import Record
from ntkrepro.records.summary import solver

COLOURS = {REPRODUCED: "green", FAILED: "red"}


def draw(names: Sequence[str], overrides: Sequence[str]) -> None:
    """Draw the named figures (none: all but those of the user's own runs) and print their claims.

    Overrides choose the scale, or an exploration, whose files then carry its run id. Raises
    UserError for an unknown figure, for runs that one can't show, before anything is written, and
    for missing records with the commands that make them.
    """
    names = names or [name for name in FIGURES if name not in BY_WORDS]
    for name in names:
        fits.asked(name, overrides)
    missing: dict[str, None] = {}
    drawn = []
    for name in names:
        (shown,) = gather([name], overrides)
        missing |= dict.fromkeys(shown.missing)
        if shown.drawable:
            drawn.append((shown, drawing(shown, overrides), table(shown)))
    for shown, picture, rows in drawn:
        to = target(shown.name, overrides)
        put(picture, rows, to, shown.about())
        print(f"figure {shown.name}: {', '.join(map(str, files(shown, to)))}")
        show(shown.claims)
        tell(shown)
    if missing:
        raise UserError("missing " + "\n  and ".join(missing))


def table(shown: Gathered) -> pd.DataFrame | None:
    """The rows that a figure shows, of one that has a CSV of them."""
    return shown.figure.table(shown.records) if shown.figure.table else None


def files(shown: Gathered, to: Path) -> list[Path]:
    """PNG and PDF, and the CSV of a figure that has one."""
    kinds = ("png", "pdf", *(["csv"] if shown.figure.table else []))
    return [to.with_name(f"{to.name}.{kind}") for kind in kinds]


def put(drawn: panels.Picture, rows: pd.DataFrame | None, to: Path, about: dict[str, str]) -> None:
    """Write `files`."""
    panels.save(drawn, to, about)
    if rows is not None:
        with atomic(to.with_name(f"{to.name}.csv")) as file:
            rows.to_csv(file, index=False)


def tell(shown: Gathered) -> None:
    """What a figure says besides its claims."""
    for line in shown.figure.says(shown.records):
        print(f"  {line}")


def target(name: str, overrides: Sequence[str]) -> Path:
    """results/figures/<scale>/fig<name>, with the runs' id where more than the scale was chosen."""
    own, words = fits.asked(name, overrides)
    runs = fits.expand(*next(iter(words.values())))
    plain = path(runs[0].experiment.results, runs[0].experiment.scale.name, name)
    plain = plain.with_name(own.stem or plain.name)
    return plain.with_name(f"{plain.name}-{grid_id(runs)}") if explored(overrides) else plain


def explored(overrides: Sequence[str]) -> list[str]:
    """The words that choose more than the scale and where things are."""
    return [word for word in overrides if key(word) not in ("scale", "results", "data.dir")]


def key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def path(results: str | Path, scale: str, name: str) -> Path:
    """A figure's files without their extension."""
    stem = f"fig{name}" if name[-1].isdigit() else name
    return Path(results) / "figures" / scale / stem


def drawing(shown: Gathered, overrides: Sequence[str] = ()) -> panels.Picture:
    """The figure, with what was asked below it: the scale, and the words of an exploration; and
    which of its networks were not trained step by step."""
    picture = shown.figure.draw(shown.records)
    words = [word for word in explored(overrides) if key(word) != "data.path"]
    asked = " ".join([f"scale={shown.scale}", *words])
    panels.caption(picture, ". ".join([asked, *solvers(list(shown.runs().values()))]))
    return picture


def solvers(records: list[Record]) -> list[str]:
    """How the records' networks were trained, for a caption; nothing of step by step."""
    found = Counter(solver(record.config) for record in records)
    share = {how: f"{count} of {len(records)} runs " for how, count in found.items()}
    whole = len(found) == 1
    return [how.capitalize() if whole else share[how] + how for how in sorted(found) if how]


def save(shown: Gathered, to: Path, overrides: Sequence[str] = ()) -> None:
    """Write its `files`."""
    put(drawing(shown, overrides), table(shown), to, shown.about())


def picture(shown: Gathered, to: Path, overrides: Sequence[str] = ()) -> Path:
    """The figure's PNG; drawn unless the one that is there shows these very rows.

    `draw` always draws: after a change of how a figure looks, `ntkrepro figures` comes first.
    """
    png, *others = files(shown, to)
    if panels.about(png) != shown.about() or not all(file.is_file() for file in others):
        save(shown, to, overrides)
    return png


def span(claim: Claim) -> str:
    return f"{claim.interval[0]:.3g} to {claim.interval[1]:.3g}"


def show(claims: list[Claim]) -> None:
    """The claims in the terminal, two lines each."""
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    for c in claims:
        word = f"[{COLOURS.get(c.verdict, 'yellow')}]{c.word}[/]"
        value = f"{c.value:.4g} ({span(c)}), holds when {escape(c.threshold)}"
        value += f"; {c.missing}" if c.missing else ""
        console.print(f"  {escape(c.id)}: {word}; {value}")
        console.print(f"     {escape(c.statement)} ({escape(c.source)})", style="dim")
