import numpy as np

from ntkrepro.config.compose import compose
from ntkrepro.data import load, tfds


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
