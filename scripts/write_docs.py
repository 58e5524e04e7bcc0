"""Write what the documentation takes from configs and records: verdicts, contracts, open numbers,
keys.

  python scripts/write_docs.py [--check]

--check writes nothing and exits with 1 where a page is not what this would write.
"""

import sys
from pathlib import Path

from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, VERDICTS, Claim
from ntkrepro.claims.contracts import Contract
from ntkrepro.config.catalog import experiments
from ntkrepro.config.keys import KEYS, told
from ntkrepro.figures import fits
from ntkrepro.figures.catalog import figure
from ntkrepro.figures.gather import gather
from ntkrepro.report import contracts, outcome, page
from ntkrepro.report.markdown import SIGNS, opening, row, table
from ntkrepro.report.marks import choices

ROOT = Path(__file__).parents[1]
RESULTS = f"results={ROOT / 'results'}"
SCALES, ODD = ("paper", "laptop"), (FAILED, INCONCLUSIVE)


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
    readme = ROOT / "README.md"
    text, scales = readme.read_text(), reported()
    parts = (("outcome", opening), ("exceptions", exceptions), ("times", times))
    for name, lines in ((name, written(scales)) for name, written in parts):
        begin, end = f"<!-- {name}: python scripts/write_docs.py -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = before + "\n".join([begin, "", *lines, "", end]) + rest.partition(end)[2]
    docs = {"open-numbers.md": open_numbers(), "keys.md": all_keys(), "claims.md": contracts.page()}
    return {readme: text} | {ROOT / "docs" / n: t for n, t in docs.items()}


def reported() -> list[outcome.Reported]:
    """Both scales of this checkout's results."""
    words = [RESULTS, "scale=laptop"]
    return page.of_all(outcome.reported("laptop", gather(page.NAMES, words)), words)


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
    (paper,) = (own for own in scales if own.scale == "paper")
    seconds: dict[str, float] = {}
    for record in paper.records():
        name, took = record.config["name"], record.provenance["seconds"]["all"]
        seconds[name] = seconds.get(name, 0) + took
    rows = []
    for name in experiments():
        if shown := [own for own in page.NAMES if name in figure(own).experiments]:
            # words as `reported` has them, which are expanded already
            runs = fits.expand(f"experiment={name}", RESULTS, "scale=paper")
            there = sum(run.path.exists() for run in runs)
            command = f"`ntkrepro run -m experiment={name} scale=paper`"
            told = f"{seconds[name] / 60:.0f}" if name in seconds else "–"
            rows.append((" ".join(shown), command, f"{there} of {len(runs)}", told))
    return table(("figures", "command", "runs that are there", "minutes that they took"), rows)


def verdicts(claims: list[Claim]) -> str:
    """Those that aren't reproduced with their numbers, the others by their count."""
    told = []
    for verdict in VERDICTS:
        own = [claim for claim in claims if claim.verdict == verdict]
        alone = verdict in ODD or len(claims) == 1
        names = ", ".join(f"{claim.at} {claim.value:.3g}".strip() for claim in own)
        told += [f"{SIGNS[verdict]} {names if alone else f'× {len(own)}'}"] if own else []
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


if __name__ == "__main__":
    main()
