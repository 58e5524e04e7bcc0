"""What contracts say: of figures, experiments and keys that there are, and of every fitted one."""

import pytest

from ntkrepro.claims import contracts
from ntkrepro.config import catalog
from ntkrepro.errors import UserError
from ntkrepro.figures.catalog import figure
from ntkrepro.report import contracts as pages
from ntkrepro.report.marks import choices


@pytest.mark.parametrize("own", contracts.contracts().values(), ids=lambda own: own.id)
def test_a_contract_is_whole_and_rests_on_what_its_experiments_leave_open(own):
    for text in (own.paper, own.source, own.measures, own.over, own.assumes, own.estimator):
        assert text == text.strip() != ""
    assert own.because
    assert own.scale in ("any", "paper")
    assert all(pages.marks_of(own).values()), "a key without a mark"
    fitted = {
        choice.key
        for experiment in figure(own.figure).experiments
        for choice in choices(experiment)
        if "F" in pages.MARK.findall(choice.note)
    }
    assert fitted <= set(own.rests_on)


@pytest.mark.parametrize("own", contracts.contracts().values(), ids=lambda own: own.id)
def test_a_new_version_says_what_the_old_one_was_and_why_it_went(own):
    assert [old.version for old in own.before] == list(range(1, own.version))
    for old in own.before:
        assert all((old.why, old.holds, old.estimator, old.verdicts))
        assert (old.holds, old.estimator) != (own.criterion.text, own.estimator)


WHOLE = """
claims:
  X: {paper: p, source: s, measures: m, over: o, assumes: a, estimator: e, holds: {below: 1},
      because: b, rests_on: [], scale: any, version: 1, fixed: 2026-01-01}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """own(text): the contracts beside which a user's file of claims is."""

    def written(text):
        (tmp_path / "claims").mkdir(exist_ok=True)
        (tmp_path / "claims/mine.yaml").write_text(text)
        monkeypatch.setattr(catalog, "OWN", [str(tmp_path)])
        contracts._read.cache_clear()
        return contracts.contracts()

    yield written
    contracts._read.cache_clear()


def test_a_user_s_own_claims_are_beside_the_paper_s(own):
    assert own(WHOLE)["X"].criterion.text == "< 1"
    assert own(WHOLE)["X"].figure == "mine"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WHOLE.replace("scale: any, ", ""), "scale"),
        (WHOLE.replace("below", "beneath"), "beneath"),
        (WHOLE.replace("X", "4a"), "also of figure 4"),
        (WHOLE.replace("paper: p", "papers: p"), "papers"),
    ],
)
def test_a_contract_that_lacks_something_is_told(own, text, told):
    with pytest.raises(UserError, match=rf"mine\.yaml: claim \w+.*{told}"):
        own(text)
