"""Write what the documentation takes from configs and records: verdicts, contracts, open numbers,
keys.

  python scripts/write_docs.py [--check]

--check writes nothing and exits with 1 where a page is not what this would write.
"""

import sys
from pathlib import Path

from ntkrepro.claims.claim import FAILED, INCONCLUSIVE
from ntkrepro.config.catalog import experiments
from ntkrepro.config.keys import KEYS, told
from ntkrepro.figures.gather import gather
from ntkrepro.report import contracts, outcome, page
from ntkrepro.report.markdown import SIGNS, opening, row, table
from ntkrepro.report.marks import choices

ROOT = Path(__file__).parents[1]


def main() -> None:
    stale = [path for path, text in pages().items() if read(path) != text]
    if "--check" in sys.argv:
        sys.exit("\n".join(f"{path.name} is stale: scripts/write_docs.py" for path in stale) or 0)
    for path in stale:
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(ROOT)}")


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def pages() -> dict[Path, str]:
    readme = ROOT / "README.md"
    text, scales = readme.read_text(), reported()
    for name, lines in (("outcome", opening(scales)), ("exceptions", exceptions(scales))):
        begin, end = f"<!-- {name}: python scripts/write_docs.py -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = before + "\n".join([begin, "", *lines, "", end]) + rest.partition(end)[2]
    docs = {"open-numbers.md": open_numbers(), "keys.md": all_keys(), "claims.md": contracts.page()}
    return {readme: text} | {ROOT / "docs" / n: t for n, t in docs.items()}


def reported() -> list[outcome.Reported]:
    """Both scales of this checkout's results."""
    words = [f"results={ROOT / 'results'}", "scale=laptop"]
    return page.of_all(outcome.reported("laptop", gather(page.NAMES, words)), words)


def exceptions(scales: list[outcome.Reported]) -> list[str]:
    """A line for each claim that isn't reproduced at some scale, and its numbers at both."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    odd: set[tuple[str, str]] = set()
    for own in scales:
        for claim, shown in own.claims.items():
            key = claim.id, shown.name
            odd |= {key} if claim.verdict in (FAILED, INCONCLUSIVE) else set()
            line = found.setdefault(key, {"": claim.contract.measures})
            line[own.scale] = f"{SIGNS[claim.verdict]} {claim.value:.3g} ({claim.threshold})"
    names = ("paper", "laptop")
    rows = (
        (*key, line[""], *(line.get(scale, "") for scale in names))
        for key, line in sorted(found.items(), key=lambda item: page.NAMES.index(item[0][1]))
        if key in odd
    )
    return table(("claim", "figure", "statement", *(f"{name} scale" for name in names)), rows)


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
