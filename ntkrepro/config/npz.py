"""A data set of the user's own: one .npz file of x_train, y_train, x_test, y_test.

What a file declares is looked at before anything of it is unpacked: it may be damaged, or hostile.
"""

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import IO, NamedTuple

import numpy as np
import psutil
from numpy.lib import format as npy

from ntkrepro.config import held
from ntkrepro.config.digests import regular
from ntkrepro.errors import UserError, first_line

Y = ("y_train", "y_test")
LARGEST = 1e15  # whose squares float32 can sum


class Arrays(NamedTuple):
    """x [N, ...] of both splits, and y: integers [N], the classes, or targets [N, k], float64; in
    a file those of one output may be [N]."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def has_classes(self) -> bool:
        return self.y_train.ndim == 1


def read(path: str) -> Arrays:
    """The arrays of a file. Raises UserError, naming the array, where they can't be meant."""
    if own := held.find("data.path", path):
        return given(path, own.value)
    regular("data.path", path)
    with opened(path) as (file, _):
        return Arrays(*(numbers(path, name, unpack(file, name)) for name in Arrays._fields))


def given(path: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Those of a caller in memory, which are asked for what a file is. Raises UserError."""
    says = {name: Declared(arrays[name].shape, arrays[name].dtype) for name in Arrays._fields}
    for name, about in says.items():
        refuse_kind(path, name, about)
    refuse_shapes(path, says)
    return Arrays(*(numbers(path, name, arrays[name]) for name in Arrays._fields))


def counts(path: str) -> dict[str, tuple[int, int]]:
    """Examples of each class in train and in test, or of "" where y holds targets.

    Raises UserError as `read` does, of what the arrays say of themselves and of the classes.
    """
    if held.find("data.path", path):
        arrays = read(path)
        return counted(arrays.y_train, arrays.y_test)
    about = regular("data.path", path)
    return _counts(path, about.st_size, about.st_mtime_ns)


@lru_cache
def _counts(path: str, size: int, changed: int) -> dict[str, tuple[int, int]]:
    """Cached, as a sweep asks for each of its points."""
    with opened(path) as (file, arrays):
        if arrays["y_train"].dtype.kind == "f":
            return {"": (arrays["y_train"].shape[0], arrays["y_test"].shape[0])}
        return counted(*(numbers(path, y, unpack(file, y)) for y in Y))


def counted(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, tuple[int, int]]:
    """Examples of each class in train and in test, or of ""."""
    if y_train.dtype.kind == "f":
        return {"": (len(y_train), len(y_test))}
    train, test = (Counter(y.tolist()) for y in (y_train, y_test))
    return {str(label): (train[label], test[label]) for label in sorted(train | test)}


@contextmanager
def opened(path: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, "Declared"]]]:
    """A file, and what its arrays say of themselves, which fit each other."""
    with told(path), zipfile.ZipFile(path) as file:
        arrays = {name: declared(path, file, name) for name in Arrays._fields}
        refuse_shapes(path, arrays)
        yield file, arrays


@contextmanager
def told(path: str) -> Iterator[None]:
    """What zipfile, its decompressors and NumPy raise on what is no such file, in one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = f"is no .npz file of numbers ({first_line(error)}); numpy.savez writes one"
        raise refused(path, why) from error


class Declared(NamedTuple):
    """What an array says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def declared(path: str, file: zipfile.ZipFile, name: str) -> Declared:
    """By the zip's directory and the array's header. Raises UserError for what is no such array."""
    if f"{name}.npy" not in file.namelist():
        raise refused(path, f"has no {name}; it needs {', '.join(Arrays._fields)}")
    with file.open(f"{name}.npy") as member:
        found = Declared(*header(member))
        there = file.getinfo(f"{name}.npy").file_size - member.tell()
    refuse_kind(path, name, found)
    if there != prod(found.shape) * found.dtype.itemsize:
        raise refused(path, f"{name} says {found} and has {there} bytes: damaged")
    return found


def refuse_kind(path: str, name: str, found: Declared) -> None:
    """Raises UserError for what is no array of numbers, or an empty one."""
    if found.dtype.kind not in "biuf":
        raise refused(path, f"{name} is {found.dtype}: must be of numbers")
    if not prod(found.shape):
        raise refused(path, f"{name} is {found}: must not be empty")


def refuse_shapes(path: str, arrays: dict[str, Declared]) -> None:
    """Raises UserError for arrays that don't fit each other, or don't fit into memory."""
    size, memory = 0, psutil.virtual_memory().total
    for array in arrays.values():
        size += prod(array.shape) * max(array.dtype.itemsize, np.dtype(float).itemsize)
    if size > memory:
        needs = f"needs {size / 2**30:.3g} GiB, and there are {memory / 2**30:.3g}"
        raise refused(path, f"{needs}; take fewer examples")
    for split in ("train", "test"):
        refuse_split(path, split, arrays[f"x_{split}"], arrays[f"y_{split}"])
    for a, b in (("x_train", "x_test"), ("y_train", "y_test")):
        first, second = arrays[a], arrays[b]
        pixels = np.uint8 in (first.dtype, second.dtype) and first.dtype != second.dtype
        mixed = a in Y and (first.dtype.kind == "f") != (second.dtype.kind == "f")
        if first.shape[1:] != second.shape[1:] or pixels or mixed:
            raise refused(path, f"{a} is {first} and {b} {second}: examples must be alike")


def header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype. Raises ValueError where it is no array of numbers."""
    if (version := npy.read_magic(member)) != (1, 0):  # a later one's header may be of any length
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = npy.read_array_header_1_0(member)
    return shape, dtype


def unpack(file: zipfile.ZipFile, name: str) -> np.ndarray:
    with file.open(f"{name}.npy") as member:
        return npy.read_array(member, allow_pickle=False)


def numbers(path: str, name: str, array: np.ndarray) -> np.ndarray:
    """Finite; y as integers where it is of whole numbers by its type, else float64 [n, k]."""
    largest = max(-float(array.min()), float(array.max()))
    if not np.isfinite(largest):
        raise refused(path, f"{name} has values that are not finite")
    if largest > LARGEST:
        raise refused(path, f"{name} has values of {largest:.3g}: must be up to {LARGEST:g}")
    if name.startswith("y"):
        targets = array.dtype.kind == "f"
        return array.reshape(len(array), -1).astype(float) if targets else array.astype(int)
    return array


def refuse_split(path: str, split: str, x: Declared, y: Declared) -> None:
    if len(x.shape) < 2:
        raise refused(path, f"x_{split} is {x}: must be [n, d] or [n, h, w, c], say")
    if len(y.shape) not in ((1, 2) if y.dtype.kind == "f" else (1,)):
        wanted = "integers [n], the classes, or floats [n] or [n, k], the targets"
        raise refused(path, f"y_{split} is {y}: must be {wanted}")
    if x.shape[0] != y.shape[0]:
        raise refused(path, f"x_{split} has {x.shape[0]} examples and y_{split} {y.shape[0]}")


def refused(path: str, why: str) -> UserError:
    return UserError(f"{held.told('data.path', path)}: {why}")
