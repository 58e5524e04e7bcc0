"""The report: one self-contained HTML page for a scale, and every scale's claims as Markdown."""

import re
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ntkrepro.claims.claim import VERDICTS
from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run
from ntkrepro.errors import UserError
from ntkrepro.figures import fits, gather, save
from ntkrepro.figures.catalog import FIGURES, OURS, Reading, figure
from ntkrepro.figures.gather import Gathered
from ntkrepro.figures.save import span
from ntkrepro.files import atomic
from ntkrepro.report import contracts, controls, vector
from ntkrepro.report.markdown import claims_page
from ntkrepro.report.marks import Choice, choices, used
from ntkrepro.report.outcome import (
    GLANCE,
    Reported,
    duration,
    glance,
    number,
    reported,
    sentence,
    why,
)

NAMES = [name for name in FIGURES if name not in OURS]
TEMPLATE = Path(__file__).with_name("page.html.j2")
SCRIPT = Path(__file__).with_name("page.js")
DRAWN = re.compile(r'<svg [^>]*data-of="(\w+)">.*?</svg>', re.DOTALL)
MARKS = {
    "S": "stated in the paper",
    "P": "read off the authors' poster",
    "F": "fitted: chosen because it reproduces the poster",
    "I": "inferred",
    "A": "assumed by us: the paper does not say",
}
CLASSES = ("good", "bad", "even", "open")  # of VERDICTS, in the page


class Section(NamedTuple):
    """What the page shows of a figure besides its claims."""

    picture: Markup  # inline SVG
    poster: list[Reading]  # at the paper's numbers
    settings: list[tuple[Choice, str]]  # with the values in these runs
    provenance: dict[str, list[str]]


def report(overrides: Sequence[str]) -> None:
    """Write the page and the claims, tell what is missing, and print the claims.

    Raises UserError for an override of anything but the scale and the results folder.
    """
    page, own = written(overrides)
    for lack in dict.fromkeys(lack for shown in own.gathered for lack in shown.missing):
        print(f"missing {lack}", file=sys.stderr)
    print(f"{page}, {page.parents[2] / 'claims.md'}")
    show(own)


def written(overrides: Sequence[str]) -> tuple[Path, Reported]:
    """The page, beside it the claims of all scales, and what they tell. Raises as `report` does."""
    refuse_unknown(overrides)
    chosen = compose(overrides).experiment
    folder, scale = Path(chosen.results), chosen.scale.name
    own = reported(scale, gather.gather(NAMES, overrides))
    scales = of_all(own, overrides)
    page = index(folder, scale)
    with atomic(page) as file:
        file.write(html(own, scales, folder, overrides).encode())
    with atomic(folder / "claims.md") as file:
        file.write(claims_page(scales, folder).encode())
    return page, own


def refuse_unknown(overrides: Sequence[str]) -> None:
    """Raises UserError for an override of anything but the scale and the results folder."""
    for word in overrides:
        if not word.startswith(("scale=", "results=")):
            told = "a report takes only scale=... and results=..."
            raise UserError(f"{word}: {told}; of your own runs: ntkrepro report custom WORDS")


def runs(overrides: Sequence[str]) -> list[Run]:
    """Every run that the report shows. Raises UserError as `report` does."""
    refuse_unknown(overrides)
    needed = dict.fromkeys(e for name in NAMES for e in figure(name).experiments)
    return [run for e in needed for run in fits.expand(f"experiment={e}", *overrides)]


def of_all(own: Reported, overrides: Sequence[str]) -> list[Reported]:
    """This scale and the others that one would report, of those that have claims."""
    found = []
    for other in dict.fromkeys(["paper", "laptop", own.scale]):
        words = [*(word for word in overrides if not word.startswith("scale=")), f"scale={other}"]
        here = own if other == own.scale else reported(other, gather.gather(NAMES, words))
        found += [here] if here.claims else []
    return found


def index(folder: Path, scale: str) -> Path:
    return folder / "report" / scale / "index.html"


def pictures(page: Path) -> dict[str, str]:
    """Those of a page that is there, by what they were made of."""
    text = page.read_text() if page.is_file() else ""
    return {found[1]: found[0] for found in DRAWN.finditer(text)}


def section(shown: Gathered, folder: Path, scale: str, drawn: Mapping[str, str]) -> Section:
    """`drawn`: pictures that are there, by what they were made of."""
    png = save.picture(shown, save.path(folder, scale, shown.name)).read_bytes()
    made = png + shown.figure.alt.encode() + Path(vector.__file__).read_bytes()
    own, name = sha256(made).hexdigest()[:16], f"fig{shown.name}"
    svg = drawn.get(own) or vector.inline(save.drawing(shown), name, shown.figure.alt, own)
    readings = shown.figure.poster(shown.records) if scale == "paper" else []
    return Section(Markup(svg), readings, settings(shown), provenance(shown))


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


def html(own: Reported, scales: list[Reported], folder: Path, overrides: Sequence[str]) -> str:
    present = [shown for shown in own.gathered if shown.drawable]
    records, turned = own.records(), controls.stored(folder)
    drawn, script = pictures(index(folder, own.scale)), SCRIPT.read_text()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "span": span, "number": number}
    return environment.from_string(TEMPLATE.read_text()).render(
        own=own,
        sentence=sentence(scales),
        columns=GLANCE,
        glance=[glance(one) for one in scales],
        sections={shown.name: section(shown, folder, own.scale, drawn) for shown in present},
        scale=own.scale,
        others=[
            one.scale
            for one in scales
            if one.scale != own.scale and index(folder, one.scale).is_file()
        ],
        script=Markup(script),
        digest=b64encode(sha256(script.encode()).digest()).decode(),
        records=records,
        commits=sorted({r.provenance.get("commit") or "unknown" for r in records}),
        command=" ".join(["ntkrepro report", *overrides]),
        command_of=lambda experiment, found: gather.command(
            [f"experiment={experiment}", *overrides], len(found)
        ),
        why=lambda shown, claim: why(shown, claim, own.scale),
        rests_on=contracts.rests_on,
        controls_of=lambda claim: turned.get(claim.contract.id, []),
        told=controls.told,
        marks=MARKS,
        verdicts=dict(zip(VERDICTS, CLASSES, strict=True)),
    )


def show(own: Reported) -> None:
    """The claims in the terminal, a line each, and how many hold."""
    rows = [("claim", "measured", "95 % interval", "holds when", "verdict")]
    rows += [(c.id, number(c.value), span(c), c.threshold, c.verdict) for c in own.claims]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip())
    print(", ".join(f"{count} {verdict}" for verdict, count in own.counts().items()))
