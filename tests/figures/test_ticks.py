import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkrepro.figures.ticks import log


@pytest.fixture(scope="module")
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@given(
    low=st.floats(1e-12, 1e6),
    decades=st.one_of(st.floats(1e-3, 0.1), st.floats(0.1, 2), st.floats(2, 20)),
    base=st.sampled_from([2, 10]),
)
def test_a_logarithmic_axis_has_at_least_two_labels_and_none_twice(ax, low, decades, base):
    ax.set_xlim(low, low * 10**decades)
    log(ax, "x", base=base)
    ticks = ax.xaxis.get_majorticklocs()
    texts = ax.xaxis.get_major_formatter().format_ticks(ticks)
    low, high = ax.get_xlim()
    labels = [text for tick, text in zip(ticks, texts, strict=True) if low <= tick <= high]
    assert 2 <= len(labels) <= 12
    assert len(set(labels)) == len(labels)
