import os

import numpy as np
import pytest
import tensorflow_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro import cli
from ntkrepro.config import catalog
from ntkrepro.config.compose import compose, expand
from ntkrepro.config.schema import Data, DataSet
from ntkrepro.config.splits import DIGITS, SPLITS
from ntkrepro.data import load, tfds
from ntkrepro.errors import UserError
from tests.own import ARRAYS, npz

ALL = ("data.train=all", "data.test=all")


def sizes(run):
    return run.experiment.data.train, run.experiment.data.test


def labels(name):
    """The names of all labels of both splits, as they are stored."""
    if not load.SETS[name].tfds:
        splits = load.SETS[name].read(Data(name=name))
        return [[split.names[label] for label in split.labels] for split in splits]
    builder = tfds.prepared(name.name, None)
    skip = {"image": tensorflow_datasets.decode.SkipDecoding()}
    stored = [builder.as_data_source(split=s, decoders=skip) for s in ("train", "test")]
    names = builder.info.features["label"].names
    rows = [split.__getitems__(range(len(split))) for split in stored]
    return [[names[row["label"]] for row in split] for split in rows]


@pytest.mark.parametrize("name", sorted(set(SPLITS) - {DataSet.gaussian, DataSet.npz}, key=str))
def test_the_counts_of_a_data_set_are_those_of_its_labels(request, name):
    if load.SETS[name].tfds:
        request.getfixturevalue("tfds_dir")
    train, test = labels(name)
    counts = SPLITS[name](Data(name=name))
    assert counts == {label: (train.count(label), test.count(label)) for label in counts}
    assert set(counts) == {*train, *test}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(list(DIGITS)), unique=True, min_size=1))
def test_all_is_the_number_of_the_classes_examples(classes):
    words = [f"data.classes=[{','.join(classes)}]", "data.targets=onehot"]
    run = compose([*words, *ALL])
    train, test = sizes(run)
    assert run == compose([*words, f"data.train={train}", f"data.test={test}"])
    loaded = load.load(run.experiment.data)
    assert (len(loaded.x_train), len(loaded.x_test)) == (train, test)
    words += ["data.train=1", "data.test=1"]
    for key, count in (("data.train", train), ("data.test", test)):
        with pytest.raises(UserError, match=f"{key}={count + 1}: must be all or at most {count}, "):
            compose([*words, f"{key}={count + 1}"])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["data.name=cifar10", "data.classes=[cat,dog]"], (10_000, 2_000)),
        (["experiment=fc_mnist"], (60_000, 10_000)),
        (["data.name=mnist", "data={train: all, test: all, classes: ['0']}"], (5923, 980)),
    ],
)
def test_a_data_set_that_is_not_there_has_its_size(monkeypatch, words, found):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    words = [*words, "data.targets=onehot"]
    assert sizes(compose([*ALL, *words])) == found
    with pytest.raises(UserError, match=f"data.train={found[0] + 1}: must be all or at most "):
        compose([*ALL, *words, f"data={{train: {found[0] + 1}}}"])
    with pytest.raises(UserError, match=r"data\.classes=x: valid: "):
        compose([*words, "data={classes: [x]}"])


def test_what_has_no_end_has_no_all():
    words = ["data.name=gaussian", "data.classes=[positive,negative]"]
    with pytest.raises(UserError, match=r"data\.test=all: must be a number with data\.name=gaus"):
        compose([*words, "data.test=all"])
    assert sizes(compose([*words, "data.train=9999"])) == (9999, 100)


def test_all_of_a_file_is_what_it_holds(here):
    assert sizes(compose(npz(*ALL))) == (40, 20)
    assert sizes(compose(npz(*ALL, "data.classes=[10,0]"))) == (27, 13)
    with pytest.raises(UserError, match=r"data\.classes=5: valid: 0, 10, 20"):
        compose(npz("data.classes=[5]"))
    targets = {y: ARRAYS[y][:, None] / 2 for y in ("y_train", "y_test")}
    np.savez("own.npz", **ARRAYS | targets)
    assert sizes(compose(npz(*ALL))) == (40, 20)
    with pytest.raises(UserError, match=r"data.test=21: must be all or at most 20, all there is"):
        compose(npz("data.train=40", "data.test=21"))


def test_test_examples_that_a_path_replaces_may_lack(here):
    words = npz("program=ensemble", "data.points=3", "data.classes=[10,0]", "data.targets=signs")
    unused = ["loss.scale=1", "linearized.analytic=true", "data.train=9"]
    assert sizes(compose([*words, *unused])) == (9, 100)


def test_all_is_a_point_of_a_sweep():
    expected = [(64, 100), (240, 100)]
    words = (
        ["data.train=64,all"],
        ["sweep=[{data.train: [64, all]}]"],
        ["data={train: 64},{train: all}"],
    )
    for own in words:
        assert [sizes(run) for run in expand(own)] == expected
    both = expand(["data.train=all", "data.classes=['3','8'],['1','7']"])
    assert [sizes(run)[0] for run in both] == [240, 239]


def test_all_stands_in_an_experiment_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "experiment").mkdir()
    text = f"{catalog.PACKAGE}\ndata: {{train: all}}\nsweep: [{{data.test: [5, all]}}]\n"
    (tmp_path / "experiment/mine.yaml").write_text(text)
    monkeypatch.setattr(catalog, "OWN", [])
    catalog.use(str(tmp_path))
    words = ["experiment=mine", "data.classes=[]"]
    assert [sizes(run) for run in expand(words)] == [(1200, 5), (1200, 597)]


def test_a_number_may_come_from_the_environment(monkeypatch):
    monkeypatch.setitem(os.environ, "COUNT", "64")
    assert compose(["data.train=${oc.env:COUNT}"]) == compose(["data.train=64"])


def test_the_config_shows_it_as_it_was_given(capsys):
    cli.dispatch("run", "data.train=all", "--cfg", "job", "--package", "data")
    assert "train: all\n" in capsys.readouterr().out
