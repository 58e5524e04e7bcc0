"""The report: one self-contained HTML page for a scale, and every scale's claims as Markdown."""

import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from ruamel.yaml import YAML

from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, VERDICTS, Claim
from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run
from ntkrepro.errors import UserError
from ntkrepro.figures import fits, gather, save
from ntkrepro.figures.catalog import FIGURES, OURS, figure
from ntkrepro.figures.gather import Gathered
from ntkrepro.figures.save import span
from ntkrepro.files import atomic
from ntkrepro.records.store import Record
from ntkrepro.report.marks import Choice, choices, used

NAMES = [name for name in FIGURES if name not in OURS]
TEMPLATE = Path(__file__).with_name("page.html.j2")
REASONS = Path(gather.__file__).with_name("reasons.yaml")
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

    picture: str  # a data URI
    settings: list[tuple[Choice, str]]  # with the values in these runs
    provenance: dict[str, list[str]]


def report(overrides: Sequence[str]) -> None:
    """Write the page and the claims, tell what is missing, and print the claims.

    Raises UserError for an override of anything but the scale and the results folder.
    """
    refuse_unknown(overrides)
    chosen = compose(overrides).experiment
    folder, scale = Path(chosen.results), chosen.scale.name
    gathered = gather.gather(NAMES, overrides)
    page = folder / "report" / scale / "index.html"
    with atomic(page) as file:
        file.write(html(gathered, folder, scale, overrides).encode())
    with atomic(folder / "claims.md") as file:
        file.write(markdown(tables(gathered, scale, overrides)).encode())
    for lack in dict.fromkeys(lack for shown in gathered for lack in shown.missing):
        print(f"missing {lack}", file=sys.stderr)
    print(f"{page}, {folder / 'claims.md'}")
    show(table(gathered))


def refuse_unknown(overrides: Sequence[str]) -> None:
    """Raises UserError for an override of anything but the scale and the results folder."""
    for word in overrides:
        if not word.startswith(("scale=", "results=")):
            raise UserError(f"{word}: a report takes only scale=... and results=...")


def runs(overrides: Sequence[str]) -> list[Run]:
    """Every run that the report shows. Raises UserError as `report` does."""
    refuse_unknown(overrides)
    needed = dict.fromkeys(e for name in NAMES for e in figure(name).experiments)
    return [run for e in needed for run in fits.expand(f"experiment={e}", *overrides)]


def table(gathered: list[Gathered]) -> Checked:
    """All claims; what two figures check on the same records stands once."""
    found: Checked = {}
    for shown in gathered:
        for claim in shown.claims:
            found.setdefault(claim, shown)
    return found


def tables(gathered: list[Gathered], scale: str, overrides: Sequence[str]) -> dict[str, Checked]:
    """The claims of these figures, and of those at the other scales that one would report."""
    found = {}
    for other in dict.fromkeys(["paper", "laptop", scale]):
        words = [*(word for word in overrides if not word.startswith("scale=")), f"scale={other}"]
        found[other] = table(gathered if other == scale else gather.gather(NAMES, words))
    return {other: claims for other, claims in found.items() if claims}


def section(shown: Gathered, folder: Path, scale: str) -> Section:
    png = save.picture(shown, save.path(folder, scale, shown.name)).read_bytes()
    uri = f"data:image/png;base64,{b64encode(png).decode()}"
    return Section(uri, settings(shown), provenance(shown))


def settings(shown: Gathered) -> list[tuple[Choice, str]]:
    """What the paper leaves open, and what this scale changes, each with the runs' own values."""
    rows = []
    for experiment, found in shown.records.items():
        configs = [record.config for record in found]
        pairs = [(choice, used(configs, choice.key)) for choice in choices(experiment)]
        rows += [(choice, here) for choice, here in pairs if choice.open() or here != choice.value]
    return rows


def provenance(shown: Gathered) -> dict[str, list[str]]:
    """Where, when and with what the runs were computed: every value that occurs."""
    found: dict[str, dict[str, None]] = {}
    for about in (record.provenance for record in shown.runs().values()):
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
    present = [shown for shown in gathered if shown.drawable]
    records = {key: record for shown in present for key, record in shown.runs().items()}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "span": span, "number": number}
    return environment.from_string(TEMPLATE.read_text()).render(
        gathered=gathered,
        sections={shown.name: section(shown, folder, scale) for shown in present},
        claims=table(gathered),
        counts=counts(table(gathered)),
        scale=scale,
        records=list(records.values()),
        commits=sorted({r.provenance.get("commit") or "unknown" for r in records.values()}),
        command=" ".join(["ntkrepro report", *overrides]),
        command_of=lambda experiment, found: gather.command(
            [f"experiment={experiment}", *overrides], len(found)
        ),
        why=lambda shown, claim: why(shown, claim, scale),
        marks=MARKS,
        verdicts=dict(zip(VERDICTS, ("good", "bad", "even", "open"), strict=True)),
    )


def why(shown: Gathered, claim: Claim, scale: str) -> str:
    """Why a claim isn't reproduced, as far as that is known, or why its interval meets an edge."""
    unknown = {FAILED: "The reason is not known."}.get(claim.verdict, "")
    known = reasons().get(scale, {}).get(shown.name, {}).get(claim.id, unknown)
    missing = claim.missing[:1].upper() + claim.missing[1:]
    told = {FAILED: known, INCONCLUSIVE: ". ".join(filter(None, (missing, known)))}
    return told.get(claim.verdict, "")


@cache
def reasons() -> dict[str, dict[str, dict[str, str]]]:
    """Scale -> figure -> claim -> why it isn't reproduced, or is inconclusive."""
    return YAML(typ="safe").load(REASONS)


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
        for c, shown in claims.items():
            verdict = ". ".join(filter(None, (c.verdict, why(shown, c, scale))))
            lines.append(
                row(
                    c.id,
                    shown.name,
                    f"{c.statement} ({c.source})",
                    number(c.value),
                    span(c),
                    c.threshold,
                    verdict,
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
