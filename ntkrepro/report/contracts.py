"""The contracts of claims as Markdown: docs/claims.md."""

from collections.abc import Iterator

from ntkrepro.claims.contracts import Contract, contracts, figures
from ntkrepro.figures.catalog import figure
from ntkrepro.report.controls import Control, controls
from ntkrepro.report.marks import MARK, choices

HEAD = """# Claims

Written by `python scripts/write_docs.py` from `configs/claims/*.yaml`: what each claim says, how
it is measured and when it holds, fixed before its number is seen. What came out:
[results/claims.md](../results/claims.md).

**Verdict.** The whole 95 % interval decides: inside of what is accepted `reproduced`, outside of
it `not reproduced`, else `inconclusive`, with how many networks, seeds or test points would
decide. `not checkable at this scale`: a deviation that shrinks with width, below the paper's
width; a final value of training that hadn't ended; or no number. A threshold or an estimator that
changes is a new version; the old verdict stands beside the new one in the results.

**Control.** For each claim real runs in which it is false must be `not reproduced`, and others in
which it is true `reproduced`, where small runs can be: `ntkrepro controls` computes and judges
them.

**A claim of your own** is an entry in `configs/claims/FIGURE.yaml` with these fields,
`judged("ID", estimate, records)` in the figure's `claims`, and a control.
"""


def page() -> str:
    lines = [HEAD]
    for name in figures():
        lines += [f"## Figure {name}", ""]
        for own in contracts().values():
            if own.figure == name:
                lines += [*section(own), ""]
    return "\n".join(lines)


def section(own: Contract) -> Iterator[str]:
    yield f"### {own.id}"
    yield ""
    yield f"> {own.paper} ({own.source})"
    yield ""
    fields = {
        "measured": own.measures,
        "over": own.over,
        "assumes": own.assumes,
        "estimator": own.estimator,
        "holds when": f"{own.criterion.text}: {own.because}",
        "rests on": rests_on(own),
        "scale": {"any": "any", "paper": "the paper's numbers"}[own.scale],
        "control": "; ".join(control.says.rstrip(".") for control in controls_of(own)),
        "fixed": f"{own.fixed}, version {own.version}",
    }
    yield from (f"- **{name}**: {text}" for name, text in fields.items() if text)


def controls_of(own: Contract) -> list[Control]:
    return [control for control in controls() if own.id in control.of]


def rests_on(own: Contract) -> str:
    """The settings that the paper leaves open, with their marks; fitted ones are said first."""
    marked = {key: sorted(marks - {"S"}) for key, marks in marks_of(own).items()}
    told = [f"`{key}` ({', '.join(marks)})" for key, marks in marked.items()]
    fitted = [f"`{key}`" for key, marks in marked.items() if "F" in marks]
    first = f"on the fitted {', '.join(fitted)}; " if fitted else ""
    return first + ", ".join(told)


def marks_of(own: Contract) -> dict[str, set[str]]:
    """The marks of every key that a claim rests on, in the experiments of its figure."""
    found: dict[str, set[str]] = {key: set() for key in own.rests_on}
    for experiment in figure(own.figure).experiments:
        for choice in choices(experiment):
            if choice.key in found:
                found[choice.key] |= set(MARK.findall(choice.note))
    return found
