"""What a criterion says in words is what it tests: its words are read by a reader of their own."""

import operator
from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, REPRODUCED, UNCHECKABLE, Claim
from ntkrepro.claims.contracts import contract
from ntkrepro.claims.criterion import above, at_least, at_most, below, both, within
from ntkrepro.claims.intervals import Sample
from tests.claims.common import made

COMPARE = {"<": operator.lt, ">": operator.gt, "≤": operator.le, "≥": operator.ge}
eighths = st.integers(-16, 16).map(lambda i: i / 8)  # sums and digits are exact
sizes = st.integers(0, 16).map(lambda i: i / 8)
bands = st.builds(within, eighths, sizes)
criteria = st.one_of(
    *(st.builds(kind, eighths) for kind in (below, above, at_most, at_least)),
    bands,
    st.builds(both, st.builds(at_most, eighths), bands),
)


def accepted(text, x):
    """By the words alone."""
    holds = True
    for words in (part.split() for part in text.split(" and ")):
        if "±" in words:
            holds &= abs(x - float(words[0])) <= float(words[2])
        else:
            holds &= COMPARE[words[0]](x, float(words[1]))
    return holds


def read(text, low, high):
    """The verdict by the words alone, asked of a grid over the interval that meets every edge."""
    if not all(map(isfinite, (low, high))):
        return UNCHECKABLE
    found = {accepted(text, x) for x in np.arange(low, high + 1 / 32, 1 / 16)}
    return {(True,): REPRODUCED, (False,): FAILED}.get(tuple(found), INCONCLUSIVE)


@settings(max_examples=500, deadline=None)
@example(both(at_most(0), within(1 / 8, 0)), 0.0, 0.0, 1 / 8)  # which nothing meets
@given(criteria, eighths | st.sampled_from([nan, inf, -inf]), sizes | st.just(inf), sizes)
def test_words_and_verdict_agree(criterion, value, down, up):
    low, high = value - down, value + up
    claim = made(value, (low, high), criterion)
    assert claim.threshold == criterion.text
    assert claim.verdict == read(criterion.text, low, high)
    assert claim._replace(checkable=False).verdict == UNCHECKABLE


@pytest.mark.parametrize(
    ("value", "needed"),
    [(1.5, 16), (1.75, 64), (2.0, inf), (2 - 4e-16, inf), (0.25, None), (3.5, None), (2.5, 16)],
)
def test_what_is_inconclusive_tells_how_many_would_decide(value, needed):
    """Four seeds gave an interval of value ± 1; the edge is at 2."""
    interval = value - 1, value + 1
    claim = made(value, interval, at_most(2), sample=Sample(4, "seeds"))
    if needed is None:
        assert claim.verdict != INCONCLUSIVE
        assert claim.missing == ""
    elif needed == inf:
        assert claim.missing == "no number of seeds decides a value on the edge"
    else:
        assert claim.missing == f"about {needed} seeds in place of 4 would decide"
    assert claim._replace(sample=None).missing == ""


def test_the_wider_half_of_an_interval_counts():
    """Either one: the edge at 2 is half of it away."""
    for interval in ((0.5, 1.75), (1.25, 2.5)):
        assert at_most(2).needed(1.5, interval, 4) == 16


@settings(max_examples=500, deadline=None)
@given(criteria, eighths, st.integers(2, 9), sizes.filter(bool))
def test_so_many_would_decide(criterion, value, count, half):
    """An interval of the same value that is narrower as the root of their number."""
    claim = made(value, (value - half, value + half), criterion)
    claim = claim._replace(sample=Sample(count, "seeds"))
    needed = criterion.needed(value, claim.interval, count)
    if claim.verdict == INCONCLUSIVE and isfinite(needed):
        assert needed > count or criterion.strict or needed == count
        narrow = half * (count / (needed + 1)) ** 0.5
        assert claim._replace(interval=(value - narrow, value + narrow)).verdict != INCONCLUSIVE


@pytest.mark.parametrize(
    ("name", "interval", "paper", "own"),
    [
        ("4b", (0.1, 0.2), REPRODUCED, "follows"),
        ("4b", (0.3, 0.4), FAILED, "doesn't follow"),
        ("4b", (0.1, 0.4), INCONCLUSIVE, INCONCLUSIVE),
        ("4b", (np.nan, np.nan), UNCHECKABLE, UNCHECKABLE),
        ("width", (-1.0, -0.5), REPRODUCED, "closes"),
        ("width", (0.5, 1.0), FAILED, "doesn't close"),
    ],
)
def test_own_runs_reproduce_no_paper(name, interval, paper, own):
    """The verdict is the same; its words are theirs."""
    claim = Claim(contract(name), sum(interval) / 2, interval)
    assert (claim.verdict, claim.word) == (paper, paper)
    theirs = claim._replace(own=True)
    assert (theirs.verdict, theirs.word) == (paper, own)
