"""Write what the documentation takes from configs and records: verdicts, contracts, open numbers,
keys.

  python scripts/write_docs.py [--check]

--check writes nothing and exits with 1 where a page is not what this would write.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from ntkrepro.claims.claim import VERDICTS
from ntkrepro.config.catalog import experiments
from ntkrepro.config.keys import KEYS, told
from ntkrepro.figures.gather import gather
from ntkrepro.report import contracts, page
from ntkrepro.report.marks import choices

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- verdicts: python scripts/write_docs.py -->", "<!-- end of verdicts -->"
SIGNS = dict(zip(VERDICTS, "✓✗?–", strict=True))


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
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join([BEGIN, *verdicts(), END])
    docs = {"open-numbers.md": open_numbers(), "keys.md": all_keys(), "claims.md": contracts.page()}
    return {readme: f"{before}{table}{after}"} | {ROOT / "docs" / n: t for n, t in docs.items()}


def verdicts() -> Iterator[str]:
    """A line for each claim: measured value and verdict at both scales."""
    words = [f"results={ROOT / 'results'}"]
    gathered = gather(page.NAMES, [*words, "scale=laptop"])
    tables = page.tables(gathered, "laptop", words)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for scale, checked in tables.items():
        for claim, figure in checked.items():
            line = found.setdefault((claim.id, figure.name), {"": claim.statement})
            line[scale] = f"{SIGNS[claim.verdict]} {claim.value:.3g} ({claim.threshold})"
    yield ""
    yield "| claim | figure | statement | laptop scale | paper scale |"
    yield "| --- | --- | --- | --- | --- |"
    for (name, where), line in sorted(found.items(), key=lambda item: place(item[0])):
        yield page.row(name, where, line[""], line.get("laptop", ""), line.get("paper", ""))
    yield ""
    yield "✓ reproduced: the whole 95 % interval lies inside what the claim allows (in brackets);"
    yield "✗ not reproduced: outside of it; ? inconclusive: an edge lies within the interval;"
    yield "– not checkable at this scale."
    yield ""


def place(names: tuple[str, str]) -> int:
    """Order of the figures."""
    return page.NAMES.index(names[1])


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
            lines += [page.row(f"`{c.key}`", c.value, c.note) for c in rows]
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
    lines += [page.row(f"`{n}`", f"`{k.default}`", told(k), k.comment) for n, k in KEYS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
