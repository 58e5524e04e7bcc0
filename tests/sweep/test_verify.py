"""Stored records, computed again."""

import pytest

from ntkrepro.config.compose import expand
from ntkrepro.programs.run import compute_pack
from ntkrepro.records import store
from ntkrepro.sweep import verify
from ntkrepro.sweep.packs import packs

SMALL = ("scale=smoke", "data.train=8", "data.test=8", "optimizer.steps=8", "log.points=3")
SMALL += ("linearized.analytic=false", "model.width=8,16", "seed=0,1,2")


@pytest.fixture
def runs(tmp_path):
    found = expand([*SMALL, f"results={tmp_path}"])
    for pack in packs(found):
        compute_pack(pack, lambda line: None, lambda step, **values: None)
    return found


def checked(runs, tmp_path, chosen):
    elsewhere = expand([*SMALL, f"results={tmp_path}/again"])
    return verify.verify(runs, elsewhere, chosen, ["ntkrepro", "verify"])


def rewrite(run, scale=1.0, **about):
    record = store.read(run.path)
    rows = record.rows.drop(columns="time")
    last = rows.index[rows["quantity"] == "loss"][-1]
    rows.loc[last, "value"] = rows.loc[last, "value"] * scale
    run.path.unlink()
    store.write(run, rows, record.provenance | about)


def test_what_this_code_computed_is_the_same_to_the_bit(runs, tmp_path):
    chosen = verify.choose(runs, 3, seed=0, minutes=5)
    found = checked(runs, tmp_path, chosen)
    assert [(one.found, one.agrees) for one in found] == [("the same bits", True)] * 3
    assert [one.run.id for one in found] == [one.run.id for one in chosen]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(
        run.path.name for run in runs
    )


def test_what_differs_is_told(runs, tmp_path):
    other = {"versions": {"jax": "0"}}
    rewrite(runs[0], 1.5)
    rewrite(runs[1], 1.0001, **other)
    rewrite(runs[2], 1.5, **other)
    chosen = [verify.Stored(run, store.read(run.path)) for run in runs[:3]]
    found = checked(runs, tmp_path, chosen)
    assert [one.agrees for one in found] == [False, True, False]
    assert [one.found.partition("loss")[2].partition(" apart")[2] for one in found] == [
        ", of the same software",
        ": other rounding, of other software",
        ", more than other software's rounding",
    ]


def test_records_are_drawn_by_lot_the_cheapest_first(runs):
    def ids(*args):
        return [one.run.id for one in verify.choose(runs, *args)]

    draws = {tuple(ids(2, seed, 5)) for seed in range(8)}
    assert ids(2, 0, 5) == ids(2, 0, 5)
    assert len(draws) > 2
    assert set(ids(6, 0, 5)) == {run.id for run in runs}
    assert ids(6, 0, 0) == []
    seconds = [one.seconds for one in verify.choose(runs, 6, 0, 5)]
    assert seconds == sorted(seconds)
    runs[0].path.unlink()
    assert runs[0].id not in ids(6, 0, 5)


def test_the_command_says_how_many_are_right(ntkrepro, complete, tfds_dir):
    done = ntkrepro("verify", "2", *complete, TFDS_DATA_DIR=str(tfds_dir))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓") == 2
    assert "2 of 2 records are what this code computes" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("x",), "N is one number"),
        (("1", "2"), "N is one number"),
        (("1", "--seed", "a"), "--seed is one number"),
        (("1", "--minutes=-1"), "--minutes is one number"),
        (("1", "results=nowhere"), "no record of the report is there"),
    ],
)
def test_words_that_it_does_not_take(ntkrepro, words, told):
    done = ntkrepro("verify", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
