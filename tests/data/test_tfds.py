import numpy as np
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.data import load, tfds
from ntkrepro.errors import warn_once
from scripts.flip_bits import Builder


def loaded(*overrides):
    return load.load(compose(overrides).experiment.data)


def test_cifar10_is_real_planes_are_plus_and_horses_minus_one(tfds_dir):
    sets = loaded(
        "experiment=fc_cifar", "data.subspace=false", "data.normalize=none", "data.train=10"
    )
    assert sets.x_train.shape == (10, 3072)
    assert sets.n0 == 3072
    # the first ten planes and horses of the train split in TFDS's order: 7 0 7 0 0 7 0 7 0 7
    assert list(sets.y_train[:, 0]) == [-1, 1, -1, 1, 1, -1, 1, -1, 1, -1]
    assert 0.3 < sets.x_train.mean() < 0.7


def test_mnist_is_real(tfds_dir):
    sets = loaded("data.name=mnist", "data.classes=[]", "data.targets=onehot", "data.train=60000")
    assert sets.x_train.shape == (60000, 784)
    assert list(sets.y_train[:5].argmax(1)) == [4, 1, 0, 7, 8]


def test_the_first_examples_of_a_split_are_read_alone_where_they_are_enough(tfds_dir, monkeypatch):
    read, words = [], ["data.name=cifar10", "data.classes=[airplane,horse]", "data.train=15"]

    def split(builder, name, count):
        read.append((name, count))
        return own(builder, name, count)

    own = tfds._split
    monkeypatch.setattr(tfds, "_split", split)
    monkeypatch.setattr(tfds, "FIRST", 60)  # 14 of them of these classes
    few = loaded(*words[:2], "data.train=10", "data.test=10")
    assert read == [("train", 60), ("test", 60)]
    more = loaded(*words, "data.test=10")
    assert read[2:] == [("train", 60), ("train", None), ("test", 60)]
    assert few.y_train.tolist() == more.y_train[:10].tolist()
    assert np.allclose(few.x_test @ few.x_test.T, more.x_test @ more.x_test.T)


@pytest.fixture
def builder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    warn_once.cache_clear()
    return Builder(tmp_path)


def test_images_are_decoded_once_and_a_damaged_file_anew(builder, tmp_path, capsys):
    right = builder.read()
    assert builder.read() == right
    assert (builder.decoded, capsys.readouterr().err) == (1, "")
    for i, path in enumerate(sorted(tmp_path.rglob("*.npy"))):
        damaged = bytearray(path.read_bytes())
        damaged[-100] ^= 1
        path.write_bytes(damaged)
        assert builder.read() == builder.read() == right
        assert builder.decoded == 2 + i
        assert capsys.readouterr().err == f"warning: {path} is damaged: decoded anew\n"


def test_where_images_cannot_be_kept_they_are_decoded_each_time(builder, tmp_path, capsys):
    right = builder.read()
    for path in list(tmp_path.rglob("*.npy")):
        path.unlink()
        path.mkdir()  # what no file can replace
    capsys.readouterr()
    assert builder.read() == builder.read() == right
    assert builder.decoded == 3
    told = capsys.readouterr().err
    assert told.count("can't write") == told.count("noise is decoded anew by each run") == 1
