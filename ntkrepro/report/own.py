"""A page of a user's own runs: one figure of those that words name, and what its claims say."""

import shlex
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ntkrepro.claims.claim import VERDICTS
from ntkrepro.config.identity import LABELS, as_dict
from ntkrepro.config.keys import KEYS
from ntkrepro.config.schema import Experiment
from ntkrepro.errors import UserError
from ntkrepro.figures import gather, save
from ntkrepro.figures.catalog import BY_WORDS
from ntkrepro.figures.gather import Gathered
from ntkrepro.figures.save import span
from ntkrepro.files import atomic
from ntkrepro.report import contracts, controls, marks, page
from ntkrepro.report.outcome import duration, number

BODY = Path(__file__).with_name("own.html.j2")


def report(names: Sequence[str], words: Sequence[str]) -> None:
    """Write results/report/<figure>-<id>/index.html, and print its claims.

    Raises UserError for another figure than those of words, and as `ntkrepro figures` does.
    """
    if len(names) != 1 or names[0] not in BY_WORDS:
        raise UserError(
            f"report {' '.join(names)}: must be {' or '.join(BY_WORDS)}, with the words of your "
            "runs; without a name it is of the paper's figures"
        )
    (shown,) = gather.gather(names, words)
    if shown.missing:
        raise UserError("missing " + "\n  and ".join(shown.missing))
    picture = save.picture(shown, save.target(shown.name, words), words)
    to = picture.parents[2] / "report" / picture.stem / "index.html"
    with atomic(to) as file:
        file.write(html(shown, picture, words).encode())
    print(to)
    save.show(shown.claims)
    save.tell(shown)


def html(shown: Gathered, picture: Path, words: Sequence[str]) -> str:
    """Under the head and with the macros of the report's page."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "span": span, "number": number}
    head = page.TEMPLATE.read_text().partition("<body>")[0]
    turned = controls.stored(picture.parents[2])
    return environment.from_string(head + BODY.read_text()).render(
        shown=shown,
        scale=shown.scale,
        digest="",  # of no script
        records=list(shown.runs().values()),
        picture=f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}",
        sentence=sentence(shown),
        says=shown.figure.says(shown.records),
        settings=settings(shown),
        provenance=page.provenance(shown),
        command=shlex.join(["ntkrepro", "report", shown.name, *words]),
        rests_on=contracts.rests_on,
        controls_of=lambda claim: turned.get(claim.contract.id, []),
        told=controls.told,
        verdicts=dict(zip(VERDICTS, page.CLASSES, strict=True)),
    )


def sentence(shown: Gathered) -> str:
    """How many claims got which verdict; nothing where there is none."""
    counts = Counter(claim.word for claim in shown.claims)
    told = ", ".join(f"{word} {count}" for word, count in counts.items())
    noun = "claim" if len(shown.claims) == 1 else "claims"
    return f"Of {len(shown.claims)} {noun} on wide networks: {told}." if counts else ""


def settings(shown: Gathered) -> list[tuple[str, str, str]]:
    """The keys away from their defaults: name, default, and the values in these runs."""
    default, configs = as_dict(Experiment()), [r.config for r in shown.runs().values()]
    names = (name for name in KEYS if name not in LABELS)
    rows = ((name, marks.used([default], name), marks.used(configs, name)) for name in names)
    return [row for row in rows if row[1] != row[2]]
