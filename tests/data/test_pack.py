"""A pack of a data set is the data set, or says what it lacks."""

import shutil

import numpy as np
import pytest

from ntkrepro import cli
from ntkrepro.config.compose import compose
from ntkrepro.data import load, pack, tfds
from ntkrepro.errors import UserError

FIRST, PACKED = 200, 240  # examples that are read where they are enough; those of the pack
MNIST = ("data.name=mnist", "data.classes=[]", "data.targets=onehot")
WORDS = ("data.name=cifar10", "data.classes=[airplane,horse]", "data.targets=signs")


@pytest.fixture(scope="module")
def packed(tfds_dir, tmp_path_factory):
    """A folder with packs of CIFAR-10, and of 40 digits of MNIST."""
    folder = tmp_path_factory.mktemp("packs")
    for name, count in (("cifar10", PACKED), ("mnist", 40)):
        file = str(folder / f"{name}.npz")
        cli.dispatch("data", "pack", name, "--first", str(count), file, f"data.dir={tfds_dir}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds, "FIRST", FIRST)
        yield folder


def run(folder, *words):
    return compose([*words, f"data.dir={folder}"])


def loaded(folder, *words):
    return load.load(run(folder, *words).experiment.data)


@pytest.mark.parametrize(
    "words",
    [
        (*WORDS, "data.train=32", "data.test=32"),
        (*WORDS, "data.train=32", "data.test=32", "data.seed=2"),
        (*WORDS, "data.train=50", "data.test=32", "data.normalize=global", "data.subspace=false"),
        (*MNIST, "data.train=40", "data.test=40"),
        (*WORDS, "experiment=ensemble", "scale=smoke", "data.train=9", "data.test=1000"),
    ],
)
def test_a_run_sees_the_bits_of_the_tfds_copy(packed, tfds_dir, words):
    """And has its id and its fingerprint; test points that a path replaces may lack."""
    assert run(packed, *words).id == run(tfds_dir, *words).id
    here, there = loaded(packed, *words), loaded(tfds_dir, *words)
    assert load.fingerprint(here) == load.fingerprint(there)
    assert here[4:] == there[4:]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.train=100"], r"data\.train=100: must be at most 52, all there is of .*'horse'"),
        (["data.train=all"], r"data\.train=10000: must be at most 52"),
        (
            ["data.train=9", "data.test=200"],
            r"data\.test=200: .*the first 240 of 10000 test examples; pack more",
        ),
        (
            ["data.train=50", "data.test=9", "data.seed=1"],
            r"data\.seed=1: must be 0, .* first 240 of 50000",
        ),
        (
            ["data.name=mnist", "data.classes=['3','8']", "data.train=7", "data.seed=1"],
            r"data\.seed=1: must be 0, .* first 40 of 60000",
        ),
    ],
)
def test_what_a_pack_lacks_is_told_with_the_mend(packed, words, told):
    with pytest.raises(UserError, match=told) as raised:
        loaded(packed, *WORDS, *words)
    assert str(raised.value).count(f"in {packed}/") == 1
    assert "pack more of them: ntkrepro data pack " in str(raised.value)


def test_a_pack_of_all_is_whole(packed, monkeypatch):
    """Whatever the seed, and `all` is what it has."""
    assert pack.load("cifar10", packed).read("train", None).cut
    monkeypatch.setattr(pack, "available", lambda data: (PACKED, PACKED))
    found = pack.load("cifar10", packed).read("train", None)
    assert (len(found.images), found.cut) == (PACKED, "")


@pytest.mark.parametrize("what", ["damaged", "foreign", "another"])
def test_what_is_no_pack_of_the_set_is_refused(packed, tmp_path, what):
    path = tmp_path / "mnist.npz"
    shutil.copy(packed / ("cifar10.npz" if what == "another" else "mnist.npz"), path)
    if what == "damaged":
        flipped = bytearray(path.read_bytes())
        flipped[2000] ^= 1
        path.write_bytes(flipped)
    elif what == "foreign":
        np.savez(path, x_train=np.zeros((9, 28, 28, 1)))
    with pytest.raises(
        UserError, match=r"can't read the pack .*make it anew with `ntkrepro data p"
    ):
        loaded(tmp_path, "data.name=mnist")
    assert "can't read the pack" in next(
        line for line in load.status(str(tmp_path)) if "mnist" in line
    )


def test_a_tfds_copy_beside_a_pack_is_what_is_read(packed, tfds_dir, tmp_path):
    shutil.copy(packed / "mnist.npz", tmp_path)
    assert "packed in" in "".join(load.status(str(tmp_path)))
    (tmp_path / "mnist").symlink_to(tfds_dir / "mnist")
    assert "prepared in" in "".join(load.status(str(tmp_path)))
    assert len(loaded(tmp_path, *MNIST, "data.train=41", "data.test=9").x_train) == 41


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("cifar10", "--first N must be a number above 0"),
        ("cifar10 --first 0", "--first 0 must be a number above 0"),
        ("cifar11 --first 9", "did you mean cifar10"),
        ("mnist --first 9 some/where.npz", "must be called mnist.npz"),
    ],
)
def test_what_cannot_be_packed_is_refused(words, told):
    with pytest.raises(UserError, match=told):
        cli.dispatch("data", "pack", *words.split())
