"""results/claims.md, and what the README shows of it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ntkrepro.claims.claim import VERDICTS, Claim
from ntkrepro.claims.contracts import contracts
from ntkrepro.figures.save import span
from ntkrepro.report import controls
from ntkrepro.report.outcome import GLANCE, ORDER, Reported, glance, number, sentence, why

SIGNS = dict(zip(VERDICTS, "✓✗?–", strict=True))
COLUMNS = ("claim", "figure", "statement", "measured", "95 % interval", "holds when", "tested at")


def claims_page(scales: Sequence[Reported], results: Path) -> str:
    lines = ["# Claims", "", *opening(scales), ""]
    lines += ["Written by `ntkrepro report` from the records in `runs`; the exceptions come first."]
    lines += ["What a claim says, and why so: [docs/claims.md](../docs/claims.md)."]
    for own in scales:
        for verdict in ORDER:
            found = [claim for claim in own.claims if claim.verdict == verdict]
            if found:
                lines += ["", f"## scale={own.scale}: {verdict} ({len(found)})", ""]
                lines += table(COLUMNS, (cells(own, claim) for claim in found))
    return "\n".join([*lines, *versions(), *controlled(results)]) + "\n"


def opening(scales: Sequence[Reported]) -> list[str]:
    """One sentence, and a table at a glance."""
    return [sentence(scales), "", *table(GLANCE, map(glance, scales))]


def cells(own: Reported, claim: Claim) -> tuple[str, ...]:
    shown = own.claims[claim]
    said = ". ".join(
        filter(None, (f"{claim.statement} ({claim.source})", why(shown, claim, own.scale)))
    )
    return (
        claim.id,
        shown.name,
        said,
        number(claim.value),
        span(claim),
        claim.threshold,
        claim.tested,
    )


def versions() -> Iterator[str]:
    """What was judged otherwise before: old verdicts beside the reason for the new version."""
    changed = [(own, old) for own in contracts().values() for old in own.before]
    if changed:
        yield from ("", "## Contracts that changed", "")
        columns = (
            "claim",
            "version",
            "held when",
            "estimator",
            "verdict then",
            "holds now when",
            "why",
        )
        yield from table(
            columns,
            (
                (
                    own.id,
                    f"{old.version}, to {old.until}",
                    old.holds,
                    old.estimator,
                    "; ".join(f"{scale}: {verdict}" for scale, verdict in old.verdicts),
                    own.criterion.text,
                    old.why,
                )
                for own, old in changed
            ),
        )


def controlled(results: Path) -> Iterator[str]:
    """What every claim says where it is false; nothing before `ntkrepro controls`."""
    found = [o for outcomes in controls.stored(results).values() for o in outcomes]
    if found:
        yield from ("", "## Negative controls", "")
        yield "Small real runs in which a claim is true, others in which it is false; of"
        yield "`ntkrepro controls`."
        yield ""
        rows = ((o.claim, controls.told(o.right), o.says, controls.told(o.wrong)) for o in found)
        yield from table(("claim", "where it is true", "false because", "where it is false"), rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [row(*columns), row(*["---"] * len(columns)), *(row(*cells) for cells in rows)]


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
