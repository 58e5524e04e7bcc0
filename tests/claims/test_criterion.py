"""What a criterion says in words is what it tests: its words are read by a reader of their own."""

import operator
from math import inf, isfinite, nan

from hypothesis import given
from hypothesis import strategies as st

from ntkrepro.claims.claim import FAILED, REPRODUCED, UNCHECKABLE, Claim
from ntkrepro.claims.criterion import at_least, at_most, below, both, sign, within

COMPARE = {"<": operator.lt, ">": operator.gt, "≤": operator.le, "≥": operator.ge}
eighths = st.integers(-16, 16).map(lambda i: i / 8)  # sums and digits are exact
sizes = st.integers(0, 16).map(lambda i: i / 8)
bands = st.builds(within, eighths, sizes)
criteria = st.one_of(
    *(st.builds(kind, eighths) for kind in (below, at_most, at_least)),
    bands,
    st.builds(both, st.builds(at_most, eighths), bands),
    st.builds(sign, st.sampled_from([-1, 1])),
)


def read(text, value, interval):
    """The verdict by the words alone."""
    asked, holds = (value,), True
    if text.endswith(" with 95 % confidence"):
        asked = interval
    if not all(map(isfinite, (value, *asked))):
        return UNCHECKABLE
    for words in (part.split() for part in text.split(" and ")):
        if "±" in words:
            target, half = float(words[0]), float(words[2])
            holds &= abs(value - target) <= half
            if interval[1] - interval[0] > 2 * half:
                return UNCHECKABLE
        else:
            holds &= all(COMPARE[words[0]](x, float(words[1])) for x in asked)
    return REPRODUCED if holds else FAILED


@given(criteria, eighths | st.sampled_from([nan, inf, -inf]), sizes | st.just(inf), sizes)
def test_words_and_verdict_agree(criterion, value, down, up):
    claim = Claim("", "", "", value, (value - down, value + up), criterion)
    assert claim.threshold == criterion.text
    assert claim.verdict == read(criterion.text, value, claim.interval)
    assert claim._replace(checkable=False).verdict == UNCHECKABLE
