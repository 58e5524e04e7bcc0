"""A data set of the user's own: one .npz file of x_train, y_train, x_test, y_test."""

import zipfile
from typing import NamedTuple

import numpy as np

from ntkrepro.errors import UserError


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
    try:
        with np.load(path) as file:
            missing = [name for name in Arrays._fields if name not in file]
            if missing:
                raise refused(path, f"has no {missing[0]}; it needs {', '.join(Arrays._fields)}")
            arrays = Arrays(*(numbers(path, name, file[name]) for name in Arrays._fields))
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise refused(
            path, f"is no .npz file of numbers ({error}); numpy.savez writes one"
        ) from error
    for split in ("train", "test"):
        refuse_split(path, split, getattr(arrays, f"x_{split}"), getattr(arrays, f"y_{split}"))
    for a, b in (("x_train", "x_test"), ("y_train", "y_test")):
        first, second = getattr(arrays, a), getattr(arrays, b)
        pixels = np.uint8 in (first.dtype, second.dtype) and first.dtype != second.dtype
        if first.shape[1:] != second.shape[1:] or pixels:
            raise refused(path, f"{a} is {of(first)} and {b} {of(second)}: examples must be alike")
    return arrays


def numbers(path: str, name: str, array: np.ndarray) -> np.ndarray:
    """Finite; y as integers where it is of whole numbers by its type, else float64."""
    if array.dtype.kind not in "biuf":
        raise refused(path, f"{name} is {array.dtype}: must be of numbers")
    if not np.isfinite(array).all():
        raise refused(path, f"{name} has values that are not finite")
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
