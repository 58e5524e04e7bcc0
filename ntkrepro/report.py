"""The report: one self-contained HTML page for a scale, and every scale's claims as Markdown."""

import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined

from ntkrepro import config, figures
from ntkrepro.choices import Choice, choices, used
from ntkrepro.claims import FAILED, REPRODUCED, UNCHECKABLE, Claim
from ntkrepro.config import Experiment
from ntkrepro.errors import UserError
from ntkrepro.figures import FIGURES, OURS, Gathered, span
from ntkrepro.files import atomic
from ntkrepro.records import Record

NAMES = [name for name in FIGURES if name not in OURS]
TEMPLATE = Path(__file__).with_name("report.html.j2")
VERDICTS = (REPRODUCED, FAILED, UNCHECKABLE)
HEAD = ("claim", "figure", "statement", "measured", "95 % interval", "holds when", "verdict")
MARKS = {
    "S": "stated in the paper",
    "P": "read off the authors' poster",
    "F": "fitted: chosen because it reproduces the poster",
    "I": "inferred",
    "A": "assumed by us: the paper does not say",
}
Checked = dict[Claim, Gathered]  # each claim, and the first figure that checks it


class Section(NamedTuple):
    """What the page shows of a figure besides its claims."""

    figure: Gathered
    picture: str  # a data URI
    settings: list[tuple[Choice, str]]  # with the values in these runs
    provenance: dict[str, list[str]]


def report(overrides: Sequence[str]) -> None:
    """Write the page and the claims, tell what is missing, and print the claims.

    Raises UserError for an override of anything but the scale and the results folder.
    """
    refuse_unknown(overrides)
    chosen = config.compose(overrides)
    folder, scale = Path(chosen.results), chosen.scale.name
    gathered = figures.gather(NAMES, overrides)
    page = folder / "report" / scale / "index.html"
    with atomic(page) as file:
        file.write(html(gathered, folder, scale, overrides).encode())
    with atomic(folder / "claims.md") as file:
        file.write(markdown(tables(gathered, scale, overrides)).encode())
    for lack in dict.fromkeys(lack for figure in gathered for lack in figure.missing):
        print(f"missing {lack}", file=sys.stderr)
    print(f"{page}, {folder / 'claims.md'}")
    show(table(gathered))


def refuse_unknown(overrides: Sequence[str]) -> None:
    """Raises UserError for an override of anything but the scale and the results folder."""
    for word in overrides:
        if not word.startswith(("scale=", "results=")):
            raise UserError(f"{word}: a report takes only scale=... and results=...")


def points(overrides: Sequence[str]) -> list[Experiment]:
    """Every run that the report shows. Raises UserError as `report` does."""
    refuse_unknown(overrides)
    needed = dict.fromkeys(e for name in NAMES for e in figures.module(name).EXPERIMENTS)
    return [point for e in needed for point in figures.expand(f"experiment={e}", *overrides)]


def table(gathered: list[Gathered]) -> Checked:
    """All claims; what two figures check on the same records stands once."""
    found: Checked = {}
    for figure in gathered:
        for claim in figure.claims:
            found.setdefault(claim, figure)
    return found


def tables(gathered: list[Gathered], scale: str, overrides: Sequence[str]) -> dict[str, Checked]:
    """The claims of these figures, and of those at the other scales that one would report."""
    found = {}
    for other in dict.fromkeys(["paper", "laptop", scale]):
        words = [*(word for word in overrides if not word.startswith("scale=")), f"scale={other}"]
        found[other] = table(gathered if other == scale else figures.gather(NAMES, words))
    return {other: claims for other, claims in found.items() if claims}


def section(figure: Gathered, folder: Path, scale: str) -> Section:
    png = figures.picture(figure, figures.path(folder, scale, figure.name)).read_bytes()
    uri = f"data:image/png;base64,{b64encode(png).decode()}"
    return Section(figure, uri, settings(figure), provenance(figure))


def settings(figure: Gathered) -> list[tuple[Choice, str]]:
    """What the paper leaves open, and what this scale changes, each with the runs' own values."""
    rows = []
    for experiment, found in figure.records.items():
        configs = [record.config for record in found]
        pairs = [(choice, used(configs, choice.key)) for choice in choices(experiment)]
        rows += [(choice, here) for choice, here in pairs if choice.open() or here != choice.value]
    return rows


def provenance(figure: Gathered) -> dict[str, list[str]]:
    """Where, when and with what the runs were computed: every value that occurs."""
    runs = figure.runs().values()
    found: dict[str, dict[str, None]] = {}
    for about in (record.provenance for record in runs):
        versions = " ".join(f"{name} {v}" for name, v in about.get("versions", {}).items())
        device = f"{about.get('devices', 1)} × {about.get('device')} on {about.get('machine')}"
        facts = {
            "device": device,
            "commit": about.get("commit"),
            "date": about.get("started", "")[:10],
            "versions": f"Python {about.get('python')} {versions}",
            "matrix products": f"{about.get('matmul_precision')} precision",
        }
        for term, fact in facts.items():
            found.setdefault(term, {})[fact or "unknown"] = None
    return {term: list(facts) for term, facts in found.items()}


def seconds(records: Sequence[Record]) -> float:
    return sum(record.provenance.get("seconds", {}).get("all", 0) for record in records)


def duration(records: Sequence[Record]) -> str:
    """Their computing time in words."""
    total = seconds(records)
    return f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} min"


def html(gathered: list[Gathered], folder: Path, scale: str, overrides: Sequence[str]) -> str:
    present = [figure for figure in gathered if figure.drawable]
    runs = {key: record for figure in present for key, record in figure.runs().items()}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "span": span, "number": number}
    return environment.from_string(TEMPLATE.read_text()).render(
        gathered=gathered,
        sections={figure.name: section(figure, folder, scale) for figure in present},
        claims=table(gathered),
        counts=counts(table(gathered)),
        scale=scale,
        runs=list(runs.values()),
        commits=sorted({r.provenance.get("commit") or "unknown" for r in runs.values()}),
        command=" ".join(["ntkrepro report", *overrides]),
        command_of=lambda experiment, found: figures.command(
            [f"experiment={experiment}", *overrides], len(found)
        ),
        why=lambda figure, claim: why(figure, claim, scale),
        marks=MARKS,
        verdicts=dict(zip(VERDICTS, ("good", "bad", "open"), strict=True)),
    )


def why(figure: Gathered, claim: Claim, scale: str) -> str:
    """The known reason why a claim isn't reproduced."""
    return getattr(figure.module, "WHY", {}).get((scale, claim.id), "The reason is not known.")


def counts(claims: Checked) -> dict[str, int]:
    found = Counter(claim.verdict for claim in claims)
    return {verdict: found[verdict] for verdict in VERDICTS}


def number(value: float) -> str:
    return f"{value:.4g}"


def markdown(tables: dict[str, Checked]) -> str:
    """A table per scale."""
    lines = ["# Claims", "", "Written by `ntkrepro report` from the records in `runs`."]
    for scale, claims in tables.items():
        lines += ["", f"## scale={scale}: {told(claims)}", ""]
        lines += [row(*HEAD), row(*["---"] * len(HEAD))]
        for c, figure in claims.items():
            reason = f". {why(figure, c, scale)}" if c.verdict == FAILED else ""
            lines.append(
                row(
                    c.id,
                    figure.name,
                    f"{c.statement} ({c.source})",
                    number(c.value),
                    span(c),
                    c.threshold,
                    c.verdict + reason,
                )
            )
    return "\n".join(lines) + "\n"


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def told(claims: Checked) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts(claims).items())


def show(claims: Checked) -> None:
    """The claims in the terminal, a line each, and how many hold."""
    rows = [("claim", "measured", "95 % interval", "holds when", "verdict")]
    rows += [(c.id, number(c.value), span(c), c.threshold, c.verdict) for c in claims]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip())
    print(told(claims))
