import io
import os
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.config import npz
from ntkrepro.config.compose import compose
from ntkrepro.data import load
from ntkrepro.errors import UserError
from tests.own import ARRAYS, LABELS, PIXELS
from tests.own import npz as chosen


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_test": None}, "has no y_test; it needs x_train, y_train, x_test, y_test"),
        ({"x_train": PIXELS[:39]}, "x_train has 39 examples and y_train 40"),
        ({"x_train": PIXELS[:40, :3]}, r"x_train is .*3, 4, 1\] and x_test .*4, 4, 1\]"),
        ({"x_train": PIXELS[:40].astype(np.uint8)}, "x_train is uint8 .* must be alike"),
        ({"x_test": PIXELS[40:] * np.nan}, "x_test has values that are not finite"),
        ({"x_test": PIXELS[40:, 0, 0, 0]}, r"x_test is float64 \[20\]: must be \[n, d\]"),
        ({"y_train": LABELS[:40] / 2}, r"y_train is float64 \[40\] and y_test int64 \[20\]: "),
        ({"y_train": LABELS[:40].astype(str)}, "y_train is <U.*: must be of numbers"),
        ({"y_train": LABELS[:40].astype(object)}, "y_train is object: must be of numbers"),
        ({"x_train": PIXELS[:40, :0]}, r"x_train is float64 \[40, 0, 4, 1\]: must not be empty"),
        ({"x_test": PIXELS[40:] * 1e300}, r"x_test has values of .*e\+300: must be up to 1e\+15"),
        ({"x_test": PIXELS[40:] * -1e300}, r"x_test has values of .*e\+300: must be up to 1e\+15"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(here, change, told):
    arrays = {name: a for name, a in (ARRAYS | change).items() if a is not None}
    np.savez("own.npz", **arrays)
    with pytest.raises(UserError, match=f"data.path=own.npz: {told}"):
        npz.read("own.npz")


def test_targets_of_one_output_may_have_one_axis(here):
    y = LABELS / 2
    np.savez("own.npz", **ARRAYS | {"y_train": y[:40], "y_test": y[40:]})
    found = npz.read("own.npz")
    assert not found.has_classes
    np.testing.assert_array_equal(found.y_test, y[40:, None])
    assert npz.counts("own.npz") == {"": (40, 20)}


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_a_file_that_is_no_npz_is_refused(here, content):
    (here / "own.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.path=own\.npz: is no \.npz file"):
        npz.read("own.npz")


def saved(save=np.savez):
    file = io.BytesIO()
    save(file, **ARRAYS)
    return file.getvalue()


KINDS = [saved(), saved(np.savez_compressed)]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "own.npz"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3),
    st.none() | st.integers(0),
)
def test_a_damaged_file_gives_its_arrays_or_one_line(damaged, content, changes, end):
    data = bytearray(content)
    for at, byte in changes:
        data[at % len(data)] = byte
    damaged.write_bytes(data[: None if end is None else end % len(data)])
    try:
        found = npz.read(str(damaged))._asdict()
    except UserError as error:
        found, lines = ARRAYS, str(error).splitlines()
        assert len(lines) == 1
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def encrypted(content):
    """By the flag that says so, in both places."""
    flagged = bytearray(content)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        flagged[flagged.find(mark) + offset] |= 1
    return flagged


def method(content):
    """Compressed in a way that there isn't."""
    flagged = bytearray(content)
    for mark, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        at = flagged.find(mark) + offset
        flagged[at : at + 2] = struct.pack("<H", 77)
    return flagged


@pytest.mark.parametrize(
    ("hurt", "told"),
    [(encrypted, "is encrypted, password required"), (method, "compression method is not supp")],
)
def test_what_cannot_be_unpacked_is_told(here, hurt, told):
    (here / "own.npz").write_bytes(hurt(KINDS[0]))
    with pytest.raises(UserError, match=f"data.path=own.npz: is no .npz file .*{told}"):
        npz.read("own.npz")


def declaring(shape, size):
    """x_train of a few bytes whose header says so, and the zip's directory that many bytes."""
    np.savez("own.npz", **{k: v for k, v in ARRAYS.items() if k != "x_train"})
    member = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile("own.npz", "a") as file:
        file.writestr("x_train.npy", member.getvalue() + bytes(64))
        file.getinfo("x_train.npy").file_size = len(member.getvalue()) + size


@pytest.mark.parametrize(
    ("shape", "size", "told"),
    [
        ((10**6, 10**6), 8 * 10**12, "needs 7.45e[+]03 GiB, and there are .*take fewer examples"),
        ((10**6, 10**6), 64, "x_train says float64 .* and has 64 bytes: damaged"),
        ((2, 2), 64, "x_train says float64 .2, 2. and has 64 bytes: damaged"),
        ((-2, -4), 64, "x_train|is no .npz file"),
    ],
)
def test_what_a_file_declares_is_refused_before_it_is_unpacked(
    here, monkeypatch, shape, size, told
):
    declaring(shape, size)
    monkeypatch.setattr(npz, "unpack", None)
    with pytest.raises(UserError, match=f"data.path=own.npz: .*{told}"):
        npz.read("own.npz")


def test_a_device_or_a_pipe_is_not_opened(here):
    os.mkfifo(here / "pipe")
    for path in ("/dev/zero", str(here / "pipe"), str(here)):
        for call in (npz.read, lambda path: compose(["data=npz", f"data.path={path}"])):
            with pytest.raises(UserError, match=f"data.path={path}: must be a regular file"):
                call(path)


def test_pixels_are_scaled_or_refused(here):
    pixels = {k: (100 + 50 * a).clip(0, 255).astype(np.uint8) for k, a in ARRAYS.items()}
    np.savez("own.npz", **ARRAYS | {k: v for k, v in pixels.items() if k[0] == "x"})
    words = chosen("data.train=9", "data.test=9")
    with pytest.raises(UserError, match=r"data\.normalize=none: must be image or global, as x_tr"):
        load.load(compose(words).experiment.data)
    for how in ("image", "global"):
        x = load.load(compose([*words, f"data.normalize={how}"]).experiment.data).x_train
        assert 0.5 < x.std() < 2


@pytest.mark.parametrize("how", ["image", "global", "none"])
def test_inputs_that_are_all_the_same_stay_finite(here, how):
    same = {k: np.zeros_like(a) if k[0] == "x" else a for k, a in ARRAYS.items()}
    np.savez("own.npz", **same)
    words = chosen("data.train=2", "data.test=2", f"data.normalize={how}")
    x = load.load(compose(words).experiment.data).x_train
    assert x.size
    assert not x.any()
