"""What every figure says of itself, one that somebody adds included."""

import pytest

from ntkrepro.config.catalog import experiments
from ntkrepro.config.schema import Scale
from ntkrepro.errors import UserError
from ntkrepro.figures.catalog import FIGURES, OURS, figure
from ntkrepro.report import outcome, page


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_shows_and_of_which_experiments(name):
    own = figure(name)
    assert own.title
    assert own.title.startswith(f"Figure {name}") or not name[-1].isdigit()
    assert own.experiments
    assert set(own.experiments) <= set(experiments())
    assert callable(own.draw)
    assert callable(own.claims)


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in OURS])
def test_a_figure_of_the_report_says_what_the_paper_says_and_what_there_is_to_be_seen(name):
    own = figure(name)
    for text in (own.paper, own.alt):
        assert len(text) > 20
        assert text == text.strip()
        assert text.endswith(".")


def test_reasons_are_of_scales_and_figures_that_there_are():
    assert set(outcome.reasons()) <= {scale.name for scale in Scale}
    for by_figure in outcome.reasons().values():
        assert set(by_figure) <= set(page.NAMES)
        assert all(why for by_claim in by_figure.values() for why in by_claim.values())


def test_an_unknown_figure_is_told_the_known_ones():
    with pytest.raises(
        UserError, match=r"figure 99: no such figure; one of digits, custom, grid, kernel, 1, "
    ):
        figure("99")
