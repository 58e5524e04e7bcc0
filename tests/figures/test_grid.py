"""`figures grid` on records that are made up: what it draws, writes and refuses."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ntkrepro
from ntkrepro.claims import exponents
from ntkrepro.config.compose import expand
from ntkrepro.errors import UserError
from ntkrepro.figures import gather, grid, save
from ntkrepro.records import store, tables
from ntkrepro.records.rows import joined, rows

STEPS = [0, 1, 2, 4]
SWEEP = ["model.width=8,32,128", "model.depth=1,2", "data.train=8,16", "seed=0,1"]
SHOWN = ["x=width", "hue=depth", "facet=data.train"]


def made(config):
    """rmse ~ n^-(depth / 2), which scatters with the seed; two layers; a share; a signed one."""
    n, depth, seed = config.model.width, config.model.depth, config.seed
    phases = np.array([1, 7, 3, 5]) * (seed + 1) + n * (seed + 2) + 3 * depth + config.data.train
    noise = 1 + 0.1 * np.sin(phases)
    rmse = noise * np.array([0, 1, 2, 3]) * n ** (-depth / 2)
    loss = [noise[i] / (1 + step) for i, step in enumerate(STEPS)]
    return joined(
        [
            rows("ntk_empirical", "rmse", STEPS, rmse, "train"),
            rows("ntk_empirical", "rmse", STEPS, 2 * rmse, "test"),
            rows("network", "loss", STEPS, loss, "test"),
            rows("ntk_empirical", "loss", STEPS, np.array(loss) / 2, "test"),
            rows("network", "accuracy", STEPS, [0.5, 0.9, 1 - 0.02 * seed, 1], "test"),
            rows("network", "weight_change", STEPS, np.outer([0, 1, 2, 3], [1, n])),
            rows("network", "output", STEPS, np.outer([-1, 1, 2, 3], [seed - 1, 1]), "test"),
        ]
    )


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Those of a grid whose records are there."""
    own = ["experiment=digits", f"results={tmp_path_factory.mktemp('grid')}", *SWEEP]
    for run in expand(own):
        store.write(run, made(run.experiment), {"lr": 0.5})
    return own


def shown(words, *of_grid):
    """The picture, and its rows."""
    (own,) = gather.gather(["grid"], [*words, *of_grid])
    return save.drawing(own), own.figure.table(own.records)


def marked(ax):
    """The points of each line with error bars."""
    return [np.array(bars.lines[0].get_xydata()) for bars in ax.containers]


def test_slopes_in_the_legend_are_those_that_claims_are_judged_by(words):
    picture, _ = shown(words, *SHOWN)
    rmse = tables.final_rmse(gather.load(words)[0])
    assert [ax.get_title() for ax in picture.axes] == ["train=8", "train=16"]
    for ax, train in zip(picture.axes, (8, 16), strict=True):
        texts = [text.get_text() for text in ax.get_legend().get_texts()]
        for text, depth in zip(texts, (1, 2), strict=True):
            own = rmse[(rmse["train"] == train) & (rmse["depth"] == depth)]
            value, (low, high) = exponents.measured(own, "width")["estimate"]
            assert text == f"depth={depth}\nslope {value:.3g} ({low:.3g} to {high:.3g})"
            assert low < -depth / 2 < high


def test_a_point_is_the_geometric_mean_of_its_seeds_and_its_bar_students(words):
    picture, table = shown(words, *SHOWN)
    for ax, train in zip(picture.axes, (8, 16), strict=True):
        for line, depth in zip(marked(ax), (1, 2), strict=True):
            own = table[(table["data.train"] == train) & (table["model.depth"] == depth)]
            logs = np.log(own.pivot(index="model.width", columns="seed", values="value"))
            assert line[:, 0].tolist() == [8, 32, 128]
            assert line[:, 1] == pytest.approx(np.exp(logs.mean(axis=1)).to_numpy())
            half = 12.706204736432095 * logs.std(axis=1) / 2**0.5  # t of one degree of freedom
            (bars,) = ax.containers[depth - 1].lines[2]
            ends = np.array([np.log(segment[:, 1]) for segment in bars.get_segments()])
            wanted = np.stack([logs.mean(axis=1) - half, logs.mean(axis=1) + half], 1)
            assert ends == pytest.approx(wanted)


def test_the_table_beside_it_has_every_record_that_is_shown(words, capsys):
    save.draw(["grid"], [*words, *SHOWN])
    said = capsys.readouterr().out
    name = re.search(r"(\S+grid-x-width-hue-depth-facet-train-\w{16})\.csv", said)[1]
    _, table = shown(words, *SHOWN)
    written = pd.read_csv(f"{name}.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    records = gather.load(words)[0]
    last = {r.id: r.rows.query("quantity == 'rmse' and split == 'test'") for r in records}
    assert dict(zip(table["run"], table["value"], strict=True)) == {
        run: rows["value"].iloc[-1] for run, rows in last.items()
    }
    for kind in ("png", "pdf"):
        assert Path(f"{name}.{kind}").read_bytes()[:4] in (b"\x89PNG", b"%PDF")
    assert "  train=8, depth=1: slope -0.5" in said
    assert said.count("in model.width over 2 seeds") == 4


def test_python_draws_the_same_of_a_frame(words):
    picture, _ = shown(words, *SHOWN)
    frame = ntkrepro.read_records(words[1].removeprefix("results="))
    before = frame.copy()
    own = ntkrepro.grid(frame, "width", hue="depth", facet="data.train")
    pd.testing.assert_frame_equal(frame, before)
    for ours, theirs in zip(own.axes, picture.axes, strict=True):
        assert [line.tolist() for line in marked(ours)] == [
            line.tolist() for line in marked(theirs)
        ]
        texts = [[t.get_text() for t in ax.get_legend().get_texts()] for ax in (ours, theirs)]
        assert texts[0] == texts[1]
    frame["cost"] = frame["model.width"] ** 2
    (line, *_) = marked(ntkrepro.grid(frame, "cost", hue="depth", facet="data.train").axes[0])
    assert line[:, 0].tolist() == [64, 1024, 16384]
    with pytest.raises(UserError, match=r"^data\.train=\S+ would be one point.* facet=data\.tra"):
        ntkrepro.grid(frame, "width", hue="depth")
    with pytest.raises(UserError, match=r"^hue=dept: did you mean depth"):
        ntkrepro.grid(frame, "width", hue="dept")
    with pytest.raises(UserError, match=r"^frame: has no column run; read_records gives"):
        ntkrepro.grid(frame.drop(columns="run"), "width")


def test_curves_are_over_time_and_network_and_linearization_side_by_side(words):
    own = [*words, "data.train=8", "model.depth=1"]
    picture, _ = shown(own, "x=time", "y=loss", "hue=model", "facet=width")
    assert [ax.get_title() for ax in picture.axes] == ["width=8", "width=32", "width=128"]
    for ax in picture.axes:
        network, linear = ax.lines
        assert network.get_xdata().tolist() == [0.5, 1, 2]  # a logarithmic axis has no step 0
        assert network.get_ydata() == pytest.approx(2 * linear.get_ydata())
        assert (network.get_linestyle(), linear.get_linestyle()) == ("-", "--")
    picture, _ = shown(own, "x=step", "y=loss", "hue=width", "xscale=linear")
    assert [line.get_xdata().tolist() for line in picture.axes[0].lines] == [STEPS] * 3


def test_a_curve_ends_where_its_first_seed_does(words, tmp_path):
    own = ["experiment=digits", f"results={tmp_path}", "seed=0,1"]
    for run in expand(own):
        short = made(run.experiment).query(f"step <= {2 + 2 * run.experiment.seed}")
        store.write(run, short, {"lr": 0.5})
    picture, _ = shown(own, "y=loss")
    assert picture.axes[0].lines[0].get_xdata().tolist() == [1, 2]


def test_an_interval_is_possible_and_there_where_seeds_differ(words):
    """Of a share, on a linear axis."""
    own = [*words, "data.train=8", "model.depth=1", "x=width", "y=accuracy"]
    (at_two,) = shown(own, "at=2")[0].axes[0].containers
    (bars,) = at_two.lines[2]
    for (_, low), (_, high) in bars.get_segments():
        assert 0 < low < 0.98 < high == 1
    (alike,) = shown(own)[0].axes[0].containers  # 1, of all seeds
    assert alike.lines[0].get_ydata().tolist() == [1, 1, 1]
    assert not [
        bar for bar in alike.lines[2][0].get_segments() if np.isfinite(bar).all() and len(bar)
    ]


def test_words_stand_beside_each_other(words):
    frame = ntkrepro.read_records(words[1].removeprefix("results="))
    frame["kind"] = np.where(frame["model.width"] > 8, "wide", "narrow")
    frame = frame[frame["model.width"] < 128]
    (ax,) = ntkrepro.grid(frame[frame["data.train"] == 8], "kind", hue="depth").axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["narrow", "wide"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["depth=1", "depth=2"]


@pytest.mark.parametrize(
    ("of_grid", "told"),
    [
        ("x=widht hue=depth", "x=widht: did you mean width"),
        (
            "x=width hue= data.train=8",
            "model.depth=1,2: would be one point of the figure; hue=model.depth, or f",
        ),
        ("x=train", "x=train: is of data.train and optimizer.train and log.train; give it in full"),
        ("x= hue=depth", "x=: must be step, time or a key, as in x=width"),
        ("x=width hue=time", "hue=time facet=: only x may be step or time"),
        ("hues=depth", "hues=depth: no such key; did you mean hue"),
        ("x=width hue=depth facet=data.train y=rsme", "y=rsme: did you mean rmse?"),
        ("x=width hue=depth facet=data.train y=ntk_change", "log.kernel=true: run "),
        ("x=width hue=depth facet=data.train of=netwrk y=loss", "of=netwrk: did you mean network"),
        ("x=width hue=depth facet=data.train split=path", "split=path: valid: test, train"),
        ("x=width hue=depth facet=data.train at=3", "at=3: run "),
        ("x=width hue=depth facet=data.train at=end", "at=end: must be a whole number or last"),
        ("x=width hue=depth facet=data.train index=two", "index=two: must be a whole number"),
        ("x=time at=2", "at=2: x=time shows all steps; leave it out, or x=KEY"),
        ("x=width xscale=lin", "xscale=lin: must be auto, log, linear"),
        ("x=seed hue=depth facet=data.train model.width=8 xscale=log", "xscale=log: seed is not"),
        (
            "x=width hue=depth facet=data.train y=weight_change",
            "y=weight_change: has 2 values at a",
        ),
        (
            "x=optimizer.lr_over_critical hue=width model.depth=1 data.train=8",
            "x=optimizer.lr_over",
        ),
    ],
)
def test_wrong_words_are_told_with_the_mend(of_grid, told, words):
    with pytest.raises(UserError) as error:
        save.draw(["grid"], [*words, *of_grid.split()])
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_one_of_several_is_chosen_or_told_apart(words):
    own = [*words, "data.train=8", "model.depth=1", "y=weight_change", "x=width"]
    for index, exponent in ((0, 0), (1, 1)):
        assert set(shown(own, f"index={index}")[1]["index"]) == {index}
        (one,) = grid.slopes(shown(own, f"index={index}", "yscale=log")[1], ASKED)
        assert one.of.value == pytest.approx(exponent, abs=1e-9)
    picture, _ = shown(own, "hue=index")
    assert len(picture.axes[0].containers) == 2


ASKED = grid.Asked(x="model.width", y="weight_change", yscale="log")


def test_missing_runs_are_named_with_the_command_that_makes_them(words, tmp_path):
    lack = [*words[:1], f"results={tmp_path}", *words[2:]]
    with pytest.raises(UserError) as error:
        save.draw(["grid"], [*lack, *SHOWN])
    made_by = f"missing 24 of 24 runs of digits: ntkrepro run -m {' '.join(lack)}"
    assert str(error.value) == made_by
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("by", "told"), [("model.width", ""), ("seed", "optimizer.lr=0.1,0.2: would be one point")]
)
def test_a_key_may_follow_the_points_and_not_the_seed(by, told, tmp_path):
    """Of two widths and two seeds, rates that go with one of them."""
    cells = []
    for width, seed in product((0, 1), (0, 1)):
        rate = 0.1 * (1 + (width if by == "model.width" else seed))
        cells.append(f"{{model.width:[{8 + width}],seed:[{seed}],optimizer.lr:[{rate}]}}")
    own = (f"results={tmp_path}", "x=width", f"sweep=[{','.join(cells)}]")
    with pytest.raises(UserError) as error:
        save.draw(["grid"], own)
    assert str(error.value).startswith(told or "missing 4 of 4")
