"""Pictures of panels.grid as the report's page holds them."""

import re

import numpy as np
import pytest

from ntkrepro.figures import panels
from ntkrepro.report import vector

X = np.arange(1.0, 9.0)


def svg(draw, name="fig0"):
    figure, axes = panels.grid(1, 1, "a picture")
    draw(axes[0, 0])
    return vector.inline(figure, name, "what it <shows>", "digest")


def lines(ax):
    ax.plot(X, X**2, label=r"$\hat\Theta$ of $n^{2}$", gid="network")
    ax.fill_between(X, X, X**2, gid="network")
    ax.axhline(3, label="a level")
    ax.errorbar(X, X, X / 2, fmt="o", capsize=2, label="bars", gid="linearized")
    ax.set(xscale="log", xlim=(1, 10), ylim=(0, 70), xlabel=r"time $\eta\cdot$step", ylabel="up")


def test_panes_and_series_say_what_they_are():
    text = svg(lines)
    assert 'aria-label="what it &lt;shows&gt;" data-of="digest"' in text
    assert re.findall(r'class="series" data-label="([^"]*)" data-model="([^"]*)"', text) == [
        ("\u0398\u0302 of n^2", "network"),
        ("bars", "linearized"),
    ]
    assert "a level" not in text
    assert text.count('data-model="network"') == 2  # the band too
    assert text.count('data-model="linearized"') == 4  # points, bars, and both of their ends
    limits = re.findall(r'data-x="([^"]*)" data-y="([^"]*)"', text)
    assert limits == [("[&quot;log&quot;, 1.0, 10.0]", "[&quot;linear&quot;, 0.0, 70.0]")]
    assert 'data-across="time η·step" data-up="up"' in text


def test_a_point_of_a_path_is_a_value_of_its_data():
    """Where page.js looks: as a share of the pane's own box, its first path."""
    text = svg(lines)
    box, curve = (
        np.reshape(re.findall(r"-?[\d.]+", path), (-1, 2)).astype(float)
        for path in (
            re.search(r'class="pane".*?<path d="([^"]*)"', text)[1],
            re.search(r'class="series"[^>]*><path d="([^"]*)"', text)[1],
        )
    )
    share = (curve - box.min(0)) / (box.max(0) - box.min(0))
    assert 10 ** share[:, 0] == pytest.approx(X, rel=1e-3)
    assert 70 * (1 - share[:, 1]) == pytest.approx(X**2, abs=0.02)


def test_its_ids_are_its_own_and_all_that_is_referred_to_is_there():
    for name in ("fig1", "fig2"):
        text = svg(lines, name)
        ids = re.findall(r' id="([^"]*)"', text)
        assert len(set(ids)) == len(ids)
        assert all(own.startswith(f"{name}-") for own in ids)
        asked = {"".join(found) for found in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)}
        assert asked <= set(ids)


def test_the_same_picture_is_the_same_text():
    assert svg(lines) == svg(lines)


def test_a_crowd_of_curves_is_pixels():
    def crowd(ax, count):
        ax.plot(np.zeros((count, 2)), color="C0")

    few, many = (svg(lambda ax, n=n: crowd(ax, n)) for n in (100, vector.DENSE))
    assert ("<image" in few, "<image" in many) == (False, True)
    assert len(many) < 40_000


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"$\|\hat{\mathcal{K}}-\mathcal{K}\|_F$", "‖K\u0302-K‖_F"),
        (r"$1/\sqrt{n}$", "1/√n"),
        ("100 points", "100 points"),
    ],
)
def test_labels_are_read_without_their_mathematics(text, read):
    assert vector.plain(text) == read
