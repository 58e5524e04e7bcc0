"""What came out: in a sentence, at a glance, and the claims with the exceptions first."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from ntkrepro.claims.claim import (
    FAILED,
    INCONCLUSIVE,
    REPRODUCED,
    UNCHECKABLE,
    VERDICTS,
    Claim,
)
from ntkrepro.figures import gather
from ntkrepro.figures.gather import Gathered
from ntkrepro.records.store import Record

REASONS = Path(gather.__file__).with_name("reasons.yaml")
ORDER = (FAILED, INCONCLUSIVE, UNCHECKABLE, REPRODUCED)
GLANCE = ("scale", "figures", "runs", "hardware", "computing", *VERDICTS)
SCALES = {"paper": "At the paper's numbers", "laptop": "at laptop scale", "smoke": "at smoke scale"}
Checked = dict[Claim, Gathered]  # each claim, and the first figure that checks it


class Reported(NamedTuple):
    """A scale, its figures, and their claims, of which those that two figures check stand once."""

    scale: str
    gathered: list[Gathered]
    claims: Checked

    def records(self) -> list[Record]:
        drawn = (shown for shown in self.gathered if shown.drawable)
        return list({key: r for shown in drawn for key, r in shown.runs().items()}.values())

    def counts(self) -> dict[str, int]:
        found = Counter(claim.verdict for claim in self.claims)
        return {verdict: found[verdict] for verdict in VERDICTS}


def reported(scale: str, gathered: list[Gathered]) -> Reported:
    """The claims with the exceptions first, else in the order of the figures."""
    found: Checked = {}
    for shown in gathered:
        for claim in shown.claims:
            found.setdefault(claim, shown)
    in_order = sorted(found, key=lambda claim: ORDER.index(claim.verdict))
    return Reported(scale, gathered, {claim: found[claim] for claim in in_order})


def sentence(scales: Sequence[Reported]) -> str:
    """One, of all scales that have claims."""
    told = "; ".join(outcome(own) for own in scales)
    return f"{told[:1].upper()}{told[1:]}." if told else "Nothing was checked yet."


def outcome(own: Reported) -> str:
    counts = own.counts()
    decided = counts[REPRODUCED] + counts[FAILED]
    wrong = dict.fromkeys(claim.contract.id for claim in own.claims if claim.verdict == FAILED)
    names = f" (not {', '.join(wrong)})" if wrong else ""
    undecided = f", {counts[INCONCLUSIVE]} undecided" if counts[INCONCLUSIVE] else ""
    where = SCALES.get(own.scale, f"at scale={own.scale}")
    return (
        f"{where} {counts[REPRODUCED]} of {decided} decided claims are reproduced{names}{undecided}"
    )


def glance(own: Reported) -> tuple[str, ...]:
    """A row under GLANCE."""
    records = own.records()
    figures = " ".join(shown.name for shown in own.gathered if shown.drawable)
    hardware = {
        f"{a.get('devices', 1)} × {a.get('device')}" for a in (r.provenance for r in records)
    }
    counts = (str(count) for count in own.counts().values())
    return own.scale, figures, str(len(records)), ", ".join(hardware), duration(records), *counts


def duration(records: Sequence[Record]) -> str:
    """Their computing time in words."""
    total = sum(record.provenance.get("seconds", {}).get("all", 0) for record in records)
    return f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} min"


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


def number(value: float) -> str:
    return f"{value:.4g}"
