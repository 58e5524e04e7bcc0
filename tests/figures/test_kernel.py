"""The figure of how the tangent kernel behaves: means over seeds, and Student's intervals."""

import numpy as np
import pytest
from scipy import stats

from ntkrepro.errors import UserError
from ntkrepro.figures import gather, kernel
from ntkrepro.records import store, tables


@pytest.fixture
def runs(smoke_records):
    return [store.read(path) for path in smoke_records("kernel_behaviour")]


def values(runs, quantity):
    """[seed, t] of the narrower network, from the first step on."""
    narrow = [run for run in runs if run.config["model"]["width"] == 4]
    lines = [tables.series(run, "network", quantity, "train") for run in narrow]
    return np.array([line["value"][line["step"] > 0] for line in lines])


@pytest.mark.parametrize(
    ("quantity", "place"),
    [("ntk_alignment", 0), ("ntk_cka", 1), ("ntk_velocity", 2), ("ntk_condition", 4)],
)
def test_lines_are_means_and_bands_their_intervals(runs, quantity, place):
    pane = kernel.PANES[place]
    assert pane.quantity == quantity
    ax = kernel.draw({"kernel_behaviour": runs}).axes[place]
    each = np.log(values(runs, quantity)) if pane.log else values(runs, quantity)
    mean, error = each.mean(0), each.std(0, ddof=1) / 2**0.5
    half = stats.t.ppf(0.975, 1) * error
    low, high = (np.clip(end, *pane.bounds) for end in (mean - half, mean + half))
    back = np.exp if pane.log else np.asarray
    assert np.allclose(ax.lines[0].get_ydata(), back(mean))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(band[:, None], back(low), rtol=1e-6).any(0).all()
    assert np.isclose(band[:, None], back(high), rtol=1e-6).any(0).all()
    assert [line.get_label() for line in ax.lines] == ["n=4", "n=8"]


def test_a_kernel_whose_condition_is_not_told_has_no_such_pane(runs):
    less = [run._replace(rows=run.rows[run.rows["quantity"] != "ntk_condition"]) for run in runs]
    titles = [ax.get_title() for ax in kernel.draw({"kernel_behaviour": less}).axes]
    assert titles[3:] == ["effective rank", "largest eigenvalues, n=4"]


def test_runs_without_are_told_the_key(digits):
    words = ["experiment=digits", "scale=smoke", f"results={digits.parents[1]}"]
    with pytest.raises(UserError, match=r"^log.behaviour=false: run .* has no ntk_alignment"):
        gather.gather(["kernel"], words)
