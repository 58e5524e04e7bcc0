import numpy as np
import pytest
from sklearn.datasets import load_digits

from ntkrepro.config.compose import compose
from ntkrepro.data import inputs, load
from ntkrepro.errors import UserError
from tests.own import ARRAYS, LABELS, npz


def loaded(*overrides):
    return load.load(compose(overrides).experiment.data)


def test_normalized_per_image_the_squared_norm_is_n0():
    sets = loaded("data.normalize=image")
    assert np.allclose((sets.x_train**2).sum(1), sets.n0)
    assert np.allclose((sets.x_test**2).sum(1), sets.n0)


def test_normalized_globally_all_train_pixels_have_mean_0_and_variance_1():
    x = loaded("data.normalize=global", "data.subspace=false").x_train
    assert x.mean() == pytest.approx(0, abs=1e-12)
    assert x.std() == pytest.approx(1)


def test_unnormalized_pixels_stay():
    x = loaded("data.normalize=none", "data.subspace=false").x_train
    assert x.min() == 0
    assert x.max() == 1


def test_a_constant_image_does_not_divide_by_zero():
    train, _ = inputs.normalize(np.ones((2, 4)), np.ones((1, 4)), "image")
    assert (train == 0).all()


def test_the_subspace_keeps_all_inner_products():
    rng = np.random.default_rng(0)
    x, x_test = rng.standard_normal((4, 50)), rng.standard_normal((3, 50))
    x_test[0] = x[0]
    r, r_test = inputs.subspace(x, x_test)
    assert r.shape == (4, 7)
    both, rotated = np.concatenate([x, x_test]), np.concatenate([r, r_test])
    assert np.abs(both @ both.T - rotated @ rotated.T).max() < 1e-12
    assert inputs.subspace(x[:, :5], x_test[:, :5])[0].shape == (4, 5)


def test_two_classes_become_signs_in_the_order_given():
    first, second = loaded('data.classes=["3","8"]'), loaded('data.classes=["8","3"]')
    assert set(first.y_train.ravel()) == {-1, 1}
    assert (first.y_train == -second.y_train).all()


def test_ten_classes_become_one_hot():
    y = loaded("data.classes=[]", "data.targets=onehot").y_train
    assert y.shape == (128, 10)
    assert (y.sum(1) == 1).all()


def test_gaussian_inputs_come_from_their_own_seed():
    options = ("data.name=gaussian", "data.classes=[positive,negative]", "data.dim=12")
    first, same, other = (loaded(*options, f"data.seed={s}").x_train for s in (0, 0, 1))
    assert first.shape == (128, 12)
    assert (first == same).all()
    assert (first != other).any()


@pytest.mark.parametrize("classes", ['["3","8"]', "[]"])
def test_another_seed_draws_other_examples_of_the_same_classes(classes):
    """0: the first of each split, as always. More of a draw has what less of it has."""
    options = (f"data.classes={classes}", "data.targets=onehot", "data.subspace=false")

    def images(seed, train=32):
        found = loaded(*options, f"data.seed={seed}", f"data.train={train}")
        return found.x_train, found.x_test, found.y_train

    first, drawn, again, more = images(0), images(1), images(1), images(1, train=64)
    names = ["3", "8"] if "3" in classes else None
    labels = [i for i, t in enumerate(load_digits().target[:1200]) if not names or t in (3, 8)][:32]
    pixels = load_digits().images[labels].reshape(32, -1) / 16
    assert (first[0] == inputs.normalize(pixels, pixels, "image")[0]).all()
    for a, b in zip(drawn, again, strict=True):
        assert (a == b).all()
    assert (drawn[0] == more[0][:32]).all()
    assert (drawn[2] == more[2][:32]).all()
    every = loaded(*options, "data.train=all", "data.test=all")
    for part, whole, old in zip(drawn, (every.x_train, every.x_test), first, strict=False):
        assert part.shape == old.shape
        assert {tuple(row) for row in part} <= {tuple(row) for row in whole}
        assert len({tuple(row) for row in part} & {tuple(row) for row in old}) < len(old)
    assert load.fingerprint(loaded(*options)) != load.fingerprint(loaded(*options, "data.seed=1"))


def test_own_arrays_are_drawn_with_their_labels(here):
    sets = loaded(*npz("data.train=40", "data.test=20", "data.seed=3"))
    order = [
        np.flatnonzero((ARRAYS["x_train"].reshape(40, -1) == x).all(1))[0] for x in sets.x_train
    ]
    assert sorted(order) == list(range(40)) != order
    assert (sets.y_train.argmax(1) == LABELS[:40][order] // 10).all()


def test_too_many_examples_name_the_key_and_the_limit():
    with pytest.raises(UserError, match=r"data\.train=9999: must be all or at most 240"):
        loaded("data.train=9999")
    with pytest.raises(UserError, match=r"data\.test=9999: must be all or at most 117"):
        loaded("data.test=9999")


def test_an_unknown_class_names_the_valid_ones():
    with pytest.raises(UserError, match=r"data\.classes=x: valid: 0, 1"):
        loaded("data.classes=[3,x]")


def test_own_classes_and_own_targets(here):
    sets = loaded(*npz("data.train=40", "data.test=20"))
    assert (sets.x_train == ARRAYS["x_train"].reshape(40, -1)).all()
    assert sets.image == (4, 4, 1)
    assert (sets.y_train.argmax(1) == LABELS[:40] // 10).all()
    two = npz("data.classes=[20,0]", "data.targets=signs", "data.train=5", "data.test=5")
    signs = loaded(*two)
    assert list(signs.y_train[:, 0]) == [-1, 1, -1, 1, -1]
    targets = np.linspace(0, 1, 60).reshape(-1, 1) * [1, 2]
    np.savez("own.npz", **{**ARRAYS, "y_train": targets[:40], "y_test": targets[40:]})
    sets = loaded(*npz("data.train=7", "data.test=7"))
    assert (sets.y_train == targets[:7]).all()
    with pytest.raises(UserError, match=r"data\.classes=.*must be \[\] where y holds targets"):
        loaded(*npz("data.classes=[3]"))
    with pytest.raises(UserError, match=r"data\.train=41: must be all or at most 40, all"):
        loaded(*npz("data.train=41", "data.test=7"))
