"""Runs that a figure can't show are refused, by the key that makes them so, before any is read."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkrepro.config.compose import compose
from ntkrepro.errors import UserError
from ntkrepro.figures import fits, save
from ntkrepro.programs.run import compute
from ntkrepro.records import store

PAIRS = "sweep=[{model.width:[64],model.depth:[1]},{model.width:[128],model.depth:[2]}]"


@pytest.mark.parametrize(
    ("figure", "words", "told"),
    [
        (
            "4",
            "experiment=fc_cifar model.width=64,128 data.classes=[cat,dog]",
            "model.width=64,128",
        ),
        ("4", "experiment=digits", "experiment=digits: figure 4 shows fc_cifar"),
        ("8", "experiment=fc_cifar", "experiment=fc_cifar: figure 8 shows rmse_fc_depth, rmse_fc"),
        ("8", "model.depth=1,2", "model.depth=1,2"),
        ("digits", "seed=0,1", "seed=0,1: figure digits shows one run"),
        ("custom", "model.width=8,16 model.depth=1,2", "model.depth=1,2"),
        ("custom", "optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2"),
        ("custom", PAIRS, "model.depth=1,2"),
        ("custom", "experiment=kernel_convergence", "program=kernel_convergence"),
        ("S1", "data.train=64,128", "data.train=64,128"),
        ("1", "scale=smoke,laptop", "scale=smoke,laptop"),
        ("3", "samples=10,20", "samples=10,20"),
    ],
)
def test_runs_that_would_be_shown_as_one_are_refused_by_their_key(figure, words, told, tmp_path):
    with pytest.raises(UserError) as error:
        save.draw([figure], [*words.split(), f"results={tmp_path}"])
    assert str(error.value).startswith(told)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ("8", "experiment=rmse_cnn"),
        ("custom", "experiment=fc_mnist"),
        ("custom", "model.width=8,16 seed=0,1"),
        (
            "custom",
            "sweep=[{model.width:[8],optimizer.lr:[0.1]},{model.width:[16],optimizer.lr:[1]}]",
        ),
        ("S1", "seed=0 model.width=8"),
        ("1", "model.depth=1,2,3 seed=range(0,2)"),
    ],
)
def test_runs_that_a_figure_can_show_are_looked_for(figure, words, tmp_path):
    with pytest.raises(UserError, match=r"^missing \d+ of (?P<n>\d+) runs of .*(?!.* and )$"):
        save.draw([figure], [*words.split(), f"results={tmp_path}"])


def test_nothing_is_written_where_a_later_figure_is_refused(digits, tmp_path):
    record, words = store.read(digits), ["scale=smoke", f"results={tmp_path}", "experiment=digits"]
    store.write(compose(words), record.rows, record.provenance)
    with pytest.raises(UserError, match="experiment=digits: figure 4 shows fc_cifar"):
        save.draw(["digits", "4"], words)
    assert not (tmp_path / "figures").exists()
    save.draw(["digits"], words)


def test_a_run_without_what_a_figure_shows_is_refused_by_the_key_that_left_it_out(tmp_path):
    words = ["scale=smoke", f"results={tmp_path}", "linearized.space=none"]
    compute(compose(words))
    with pytest.raises(UserError, match=r"linearized\.space=none: run \w+ has no rmse"):
        save.draw(["digits"], words)
    assert not (tmp_path / "figures").exists()


def test_linearizations_are_not_shown_of_runs_by_steps(digits, tmp_path):
    record, words = store.read(digits), ["experiment=linearizations", f"results={tmp_path}"]
    words += ["scale=smoke", "optimizer.solver=steps", "optimizer.floor=0.001", "sweep=[]"]
    store.write(compose(words), record.rows, record.provenance)
    with pytest.raises(UserError, match=r"optimizer\.solver=steps: run \w+ has no linearizations"):
        save.draw(["F2"], words)


def test_a_run_that_is_not_finite_is_refused_by_its_step(digits, tmp_path):
    record, words = store.read(digits), ["scale=smoke", f"results={tmp_path}"]
    steps = sorted(record.rows["step"].unique())
    late = (record.rows["quantity"] == "rmse") & (record.rows["step"] >= steps[2])
    rows = record.rows.assign(value=record.rows["value"].mask(late, np.nan))
    store.write(compose(words), rows, record.provenance)
    with pytest.raises(UserError, match=rf"diverged, its rmse isn't finite at step {steps[2]}"):
        save.draw(["digits"], words)
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("figure", ["digits", "F2"])
def test_models_that_diverged_are_refused_by_figures_of_what_did_not(digits, tmp_path, figure):
    record = store.read(digits)
    words = ["scale=smoke", f"results={tmp_path}", "log.diverged=true"]
    words += {"digits": [], "F2": ["experiment=linearizations", "sweep=[]"]}[figure]
    rows = pd.DataFrame(
        [(9, 0.9, "ntk_empirical", "diverged", "", 0, 1.0)], columns=store.ROWS.names
    )
    store.write(compose(words), pd.concat([record.rows, rows]), record.provenance)
    with pytest.raises(UserError, match=rf"ntk_empirical that diverged before step 9, .*{figure}"):
        save.draw([figure], words)
    assert not (tmp_path / "figures").exists()


configs = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=6, unique=True)


@given(configs)
def test_runs_are_shown_where_the_keys_tell_them_apart_and_the_rest_is_alike(points):
    """`told` tells them apart, `freed` may follow it, `fixed` is the same for all."""
    told, _, fixed = zip(*points, strict=True)
    apart = len(set(told)) == len(points) and len(set(fixed)) == 1
    runs = [dict(zip(("told", "freed.key", "fixed"), point, strict=True)) for point in points]
    found = fits.pooled(runs, ("told",), ("freed",))
    assert (found == "") == apart
    if found:
        values = pd.DataFrame(runs)[found]
        assert values.nunique() > 1
        assert found != "told"
