import numpy as np
import pytest

from ntkrepro import config, data
from ntkrepro.errors import UserError


def load(*overrides):
    return data.load(config.compose(overrides).data)


def test_normalized_per_image_the_squared_norm_is_n0():
    sets = load("data.normalize=image")
    assert np.allclose((sets.x_train**2).sum(1), sets.n0)
    assert np.allclose((sets.x_test**2).sum(1), sets.n0)


def test_normalized_globally_all_train_pixels_have_mean_0_and_variance_1():
    x = load("data.normalize=global", "data.subspace=false").x_train
    assert x.mean() == pytest.approx(0, abs=1e-12)
    assert x.std() == pytest.approx(1)


def test_unnormalized_pixels_stay():
    x = load("data.normalize=none", "data.subspace=false").x_train
    assert x.min() == 0
    assert x.max() == 1


def test_a_constant_image_does_not_divide_by_zero():
    train, _ = data.normalize(np.ones((2, 4)), np.ones((1, 4)), "image")
    assert (train == 0).all()


def test_the_subspace_keeps_all_inner_products():
    rng = np.random.default_rng(0)
    x, x_test = rng.standard_normal((4, 50)), rng.standard_normal((3, 50))
    x_test[0] = x[0]
    r, r_test = data.subspace(x, x_test)
    assert r.shape == (4, 7)
    both, rotated = np.concatenate([x, x_test]), np.concatenate([r, r_test])
    assert np.abs(both @ both.T - rotated @ rotated.T).max() < 1e-12
    assert data.subspace(x[:, :5], x_test[:, :5])[0].shape == (4, 5)


def test_two_classes_become_signs_in_the_order_given():
    first, second = load('data.classes=["3","8"]'), load('data.classes=["8","3"]')
    assert set(first.y_train.ravel()) == {-1, 1}
    assert (first.y_train == -second.y_train).all()


def test_ten_classes_become_one_hot():
    y = load("data.classes=[]", "data.targets=onehot").y_train
    assert y.shape == (128, 10)
    assert (y.sum(1) == 1).all()


def test_gaussian_inputs_come_from_their_own_seed():
    options = ("data.name=gaussian", "data.classes=[positive,negative]", "data.dim=12")
    first, same, other = (load(*options, f"data.seed={s}").x_train for s in (0, 0, 1))
    assert first.shape == (128, 12)
    assert (first == same).all()
    assert (first != other).any()


def test_too_many_examples_name_the_key_and_the_limit():
    with pytest.raises(UserError, match=r"data\.train=9999: must be at most 240"):
        load("data.train=9999")
    with pytest.raises(UserError, match=r"data\.test=9999: must be at most 117"):
        load("data.test=9999")


def test_an_unknown_class_names_the_valid_ones():
    with pytest.raises(UserError, match=r"data\.classes=x: valid: 0, 1"):
        load("data.classes=[3,x]")


def test_cifar10_is_real_planes_are_plus_and_horses_minus_one(tfds_dir):
    sets = load(
        "experiment=fc_cifar", "data.subspace=false", "data.normalize=none", "data.train=10"
    )
    assert sets.x_train.shape == (10, 3072)
    assert sets.n0 == 3072
    # the first ten planes and horses of the train split in TFDS's order: 7 0 7 0 0 7 0 7 0 7
    assert list(sets.y_train[:, 0]) == [-1, 1, -1, 1, 1, -1, 1, -1, 1, -1]
    assert 0.3 < sets.x_train.mean() < 0.7


def test_mnist_is_real(tfds_dir):
    sets = load("data.name=mnist", "data.classes=[]", "data.targets=onehot", "data.train=60000")
    assert sets.x_train.shape == (60000, 784)
    assert list(sets.y_train[:5].argmax(1)) == [4, 1, 0, 7, 8]


def test_the_first_examples_of_a_split_are_read_alone_where_they_are_enough(tfds_dir, monkeypatch):
    read, words = [], ["data.name=cifar10", "data.classes=[airplane,horse]", "data.train=15"]

    def split(builder, name, count):
        read.append((name, count))
        return own(builder, name, count)

    own = data._split
    monkeypatch.setattr(data, "_split", split)
    monkeypatch.setattr(data, "FIRST", 60)  # 14 of them of these classes
    few = load(*words[:2], "data.train=10", "data.test=10")
    assert read == [("train", 60), ("test", 60)]
    more = load(*words, "data.test=10")
    assert read[2:] == [("train", 60), ("train", None), ("test", 60)]
    assert few.y_train.tolist() == more.y_train[:10].tolist()
    assert np.allclose(few.x_test @ few.x_test.T, more.x_test @ more.x_test.T)
