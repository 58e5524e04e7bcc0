"""A data set of the user's own: one .npz file of x_train, y_train, x_test, y_test.

What a file declares is looked at before anything of it is unpacked: it may be damaged, or hostile.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, NamedTuple

import numpy as np
import psutil
from numpy.lib import format as npy

from ntkrepro.config.digests import regular
from ntkrepro.errors import UserError, first_line

LARGEST = 1e15  # whose squares float32 can sum


class Arrays(NamedTuple):
    """x [N, ...] of both splits, and y: integers [N], the classes, or targets [N, k], float64."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def has_classes(self) -> bool:
        return self.y_train.ndim == 1


def read(path: str) -> Arrays:
    """The arrays of a file. Raises UserError, naming the array, where they can't be meant."""
    regular("data.path", path)
    with told(path), zipfile.ZipFile(path) as file:
        refuse_declared(path, file)
        arrays = Arrays(*(numbers(path, name, unpack(file, name)) for name in Arrays._fields))
    for split in ("train", "test"):
        refuse_split(path, split, getattr(arrays, f"x_{split}"), getattr(arrays, f"y_{split}"))
    for a, b in (("x_train", "x_test"), ("y_train", "y_test")):
        first, second = getattr(arrays, a), getattr(arrays, b)
        pixels = np.uint8 in (first.dtype, second.dtype) and first.dtype != second.dtype
        if first.shape[1:] != second.shape[1:] or pixels:
            raise refused(path, f"{a} is {of(first)} and {b} {of(second)}: examples must be alike")
    return arrays


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


def refuse_declared(path: str, file: zipfile.ZipFile) -> None:
    """From the zip's directory and the arrays' headers alone: what lacks, lies or doesn't fit."""
    size, memory = 0, psutil.virtual_memory().total
    for name in Arrays._fields:
        if f"{name}.npy" not in file.namelist():
            raise refused(path, f"has no {name}; it needs {', '.join(Arrays._fields)}")
        with file.open(f"{name}.npy") as member:
            shape, dtype = header(member)
            there = file.getinfo(f"{name}.npy").file_size - member.tell()
        if dtype.kind not in "biuf":
            raise refused(path, f"{name} is {dtype}: must be of numbers")
        if there != prod(shape) * dtype.itemsize:
            raise refused(path, f"{name} says {dtype} {list(shape)} and has {there} bytes: damaged")
        size += prod(shape) * max(dtype.itemsize, np.dtype(float).itemsize)
    if size > memory:
        needs = f"needs {size / 2**30:.3g} GiB, and there are {memory / 2**30:.3g}"
        raise refused(path, f"{needs}; take fewer examples")


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
    """Finite; y as integers where it is of whole numbers by its type, else float64."""
    if array.size == 0:
        raise refused(path, f"{name} is {of(array)}: must not be empty")
    largest = max(-float(array.min()), float(array.max()))
    if not np.isfinite(largest):
        raise refused(path, f"{name} has values that are not finite")
    if largest > LARGEST:
        raise refused(path, f"{name} has values of {largest:.3g}: must be up to {LARGEST:g}")
    if name.startswith("y"):
        return array.astype(float if array.dtype.kind == "f" else int)
    return array


def refuse_split(path: str, split: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.ndim < 2:
        raise refused(path, f"x_{split} is {of(x)}: must be [n, d] or [n, h, w, c], say")
    if y.ndim != (2 if y.dtype.kind == "f" else 1):
        wanted = "integers [n], the classes, or floats [n, k], the targets"
        raise refused(path, f"y_{split} is {of(y)}: must be {wanted}")
    if len(x) != len(y):
        raise refused(path, f"x_{split} has {len(x)} examples and y_{split} {len(y)}")


def of(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


def refused(path: str, why: str) -> UserError:
    return UserError(f"data.path={path}: {why}")
