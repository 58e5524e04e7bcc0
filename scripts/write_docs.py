"""Write what the documentation takes from configs and records: verdicts, contracts, open numbers,
keys.

  python scripts/write_docs.py [--check]

--check writes nothing and exits with 1 where a page is not what this would write.
"""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, VERDICTS, Claim
from ntkrepro.claims.contracts import Contract
from ntkrepro.claims.contracts import figures as claiming
from ntkrepro.config.catalog import experiments
from ntkrepro.config.keys import KEYS, told
from ntkrepro.figures import fits, save
from ntkrepro.figures.catalog import figure
from ntkrepro.figures.gather import Gathered, gather
from ntkrepro.report import contracts, outcome, page
from ntkrepro.report.markdown import SIGNS, opening, row, table
from ntkrepro.report.marks import choices

ROOT = Path(__file__).parents[1]
RESULTS = f"results={ROOT / 'results'}"
SCALES, ODD = ("paper", "laptop"), (FAILED, INCONCLUSIVE)
SHOWN = "4"  # the README's first picture
ACROSS = 3  # pictures beside each other


def main() -> None:
    stale = {path: text for path, text in pages().items() if read(path) != text}
    if "--check" in sys.argv:
        sys.exit("\n".join(f"{path.name} is stale: scripts/write_docs.py" for path in stale) or 0)
    for path, text in stale.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def pages() -> dict[Path, str]:
    scales, found = reported(), {}
    for name, parts in PARTS.items():
        text = (ROOT / name).read_text()
        for part, written in parts.items():
            begin, end = f"<!-- {part}: python scripts/write_docs.py -->", f"<!-- end of {part} -->"
            before, _, rest = text.partition(begin)
            lines = [begin, "", *written(scales), "", end]
            text = before + "\n".join(lines) + rest.partition(end)[2]
        found[ROOT / name] = text
    docs = {"open-numbers.md": open_numbers(), "keys.md": all_keys(), "claims.md": contracts.page()}
    return found | {ROOT / "docs" / n: t for n, t in docs.items()}


def reported() -> list[outcome.Reported]:
    """Both scales of this checkout's results."""
    words = [RESULTS, "scale=laptop"]
    return page.of_all(outcome.reported("laptop", gather(page.NAMES, words)), words)


def answer(scales: list[outcome.Reported]) -> list[str]:
    """How close the network of the first picture is, and how that depends on width."""
    paper = at_the_papers_numbers(scales)
    found = {claim.id: claim for claim in paper.claims}
    width = shown(paper, SHOWN).records["fc_cifar"][0].config["model"]["width"]

    def of(name: str, form: str) -> str:
        return f"{form.format(found[name].value)} {SIGNS[found[name].verdict]}"

    return [
        f"**The wider, the closer.** At the paper's width of {width}, outputs stay within "
        f"{of('4b', '{:.0%}')} of their size and test accuracy within "
        f"{of('4c accuracy', '{:.1f}')} points, single weights within {of('4d', '{:.0%}')}; "
        f"the outputs' distance falls with the width as n^{of('8e tanh L=1', '{:.2f}')} for tanh, "
        f"as the paper says, and n^{of('8e relu L=1', '{:.2f}')} for ReLU "
        "([why](docs/relu-exponent.md))."
    ]


def terminal(scales: list[outcome.Reported]) -> list[str]:
    """What `ntkrepro figures` prints of the first picture."""
    own, to = at_the_papers_numbers(scales), save.path("results", "paper", SHOWN)
    with redirect_stdout(StringIO()) as printed:
        print(f"$ ntkrepro figures {SHOWN} scale=paper\nfigure {SHOWN}: {to}.png, {to}.pdf")
        save.show(shown(own, SHOWN).claims)
    return ["```console", *printed.getvalue().splitlines(), "```"]


def gallery(scales: list[outcome.Reported]) -> list[str]:
    """Every figure at the paper's numbers, or else at the laptop's, with its verdicts."""
    cells = []
    for name in page.NAMES:
        own = next(own for own in scales if shown(own, name).drawable)
        png = f"{save.path('results', own.scale, name)}.png"
        head, _, line = figure(name).title.partition(": ")
        told = verdicts(shown(own, name).claims, alone=()) or "no claims of its own"
        at = "" if own.scale == SCALES[0] else f" ({own.scale} scale)"
        section = f"#figure-{name.lower()}" if name in claiming() else ""
        says = f"[**{head}**](docs/claims.md{section}) {line}"
        picture = f'[<img src="{png}" width="270" alt="{head}">]({png})'
        cells.append(f"{picture}<br>{says}<br>[{told}](results/claims.md){at}")
    rows = [cells[i : i + ACROSS] for i in range(0, len(cells), ACROSS)]
    return table([""] * ACROSS, ([*own, *[""] * (ACROSS - len(own))] for own in rows))


def sentence(scales: list[outcome.Reported]) -> list[str]:
    return [outcome.sentence(scales)]


def shown(own: outcome.Reported, name: str) -> Gathered:
    return next(one for one in own.gathered if one.name == name)


def at_the_papers_numbers(scales: list[outcome.Reported]) -> outcome.Reported:
    return next(own for own in scales if own.scale == "paper")


def exceptions(scales: list[outcome.Reported]) -> list[str]:
    """A line for each contract of which a claim isn't reproduced at some scale."""
    found: dict[Contract, dict[str, list[Claim]]] = {}
    for own in scales:
        for claim in own.claims:
            found.setdefault(claim.contract, {}).setdefault(own.scale, []).append(claim)
    rows = (
        (
            contract.id,
            contract.figure,
            f"{contract.measures} ({contract.criterion.text})",
            *(verdicts(by.get(scale, [])) for scale in SCALES),
        )
        for contract, by in sorted(found.items(), key=lambda item: page.NAMES.index(item[0].figure))
        if any(claim.verdict in ODD for claims in by.values() for claim in claims)
    )
    return table(("claim", "figure", "statement", *(f"{name} scale" for name in SCALES)), rows)


def times(scales: list[outcome.Reported]) -> list[str]:
    """What the runs of each experiment at the paper's numbers took, and how many are there."""
    paper = at_the_papers_numbers(scales)
    seconds: dict[str, float] = {}
    for record in paper.records():
        name, took = record.config["name"], record.provenance["seconds"]["all"]
        seconds[name] = seconds.get(name, 0) + took
    rows = []
    for name in experiments():
        if drawn := [own for own in page.NAMES if name in figure(own).experiments]:
            # words as `reported` has them, which are expanded already
            runs = fits.expand(f"experiment={name}", RESULTS, "scale=paper")
            there = sum(run.path.exists() for run in runs)
            command = f"`ntkrepro run -m experiment={name} scale=paper`"
            told = f"{seconds[name] / 60:.0f}" if name in seconds else "–"
            rows.append((" ".join(drawn), command, f"{there} of {len(runs)}", told))
    return table(("figures", "command", "runs that are there", "minutes that they took"), rows)


def verdicts(claims: list[Claim], alone: Sequence[str] = ODD) -> str:
    """Those of the verdicts `alone` with their numbers, the others by their count."""
    told = []
    for verdict in VERDICTS:
        own = [claim for claim in claims if claim.verdict == verdict]
        by_name = verdict in alone or (alone and len(claims) == 1)
        names = ", ".join(f"{claim.at} {claim.value:.3g}".strip() for claim in own)
        told += [f"{SIGNS[verdict]} {names if by_name else f'× {len(own)}'}"] if own else []
    return "; ".join(told)


def open_numbers() -> str:
    """Every number that the paper leaves open, from the marks in configs/experiment."""
    lines = [
        "# Numbers that the paper leaves open",
        "",
        "Written by `python scripts/write_docs.py` from the marks in `configs/experiment/*.yaml`, "
        "at the paper's scale; those of the laptop are in `configs/experiment/<name>/laptop.yaml`.",
        "",
        *(f"- **{mark}** {words}" for mark, words in page.MARKS.items()),
    ]
    for name in experiments():
        rows = [choice for choice in choices(name) if choice.open()]
        if rows:
            lines += ["", f"## {name}", "", "| key | value | mark |", "| --- | --- | --- |"]
            lines += [row(f"`{c.key}`", c.value, c.note) for c in rows]
    return "\n".join(lines) + "\n"


def all_keys() -> str:
    """Every key of a config, from the fields of schema.py, their bounds and comments."""
    lines = [
        "# Keys",
        "",
        "Written by `python scripts/write_docs.py` from `ntkrepro/config/schema.py`; "
        "`ntkrepro run --help` shows the same. Defaults are the schema's; those of an experiment: "
        "`ntkrepro run experiment=NAME --cfg job`.",
        "",
        "| key | default | values | what |",
        "| --- | --- | --- | --- |",
    ]
    lines += [row(f"`{n}`", f"`{k.default}`", told(k), k.comment) for n, k in KEYS.items()]
    return "\n".join(lines) + "\n"


PARTS = {  # of a page's text, what each takes from records
    "README.md": {
        "answer": answer,
        "terminal": terminal,
        "sentence": sentence,
        "gallery": gallery,
        "times": times,
    },
    "docs/claims-found.md": {"outcome": opening, "exceptions": exceptions},
}

if __name__ == "__main__":
    main()
