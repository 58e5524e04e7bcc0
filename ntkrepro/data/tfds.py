"""MNIST and CIFAR-10 by TensorFlow Datasets, read without TensorFlow; or a pack of them."""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ntkrepro.config.schema import Data
from ntkrepro.data import pack
from ntkrepro.data.inputs import Images
from ntkrepro.errors import UserError, warn
from ntkrepro.files import cache_folder, is_whole, kept

FIRST = 4096  # examples of a split that are decoded where they are enough: a tenth of the time


Read = Callable[[str, int | None], Images]  # of a split, the first so many examples, or all


def tfds_images(data: Data) -> tuple[Images, Images]:
    read, asked = reader(data.name.name, data.dir), (("train", data.train), ("test", data.test))
    train, test = (_split_with(read, split, data.classes, count) for split, count in asked)
    return train, test


def reader(name: str, directory: str | None) -> Read:
    """Of the prepared data set, else of a pack of it. Raises UserError where there is neither."""
    where = folder(directory)
    if is_packed(name, where):
        return pack.load(name, where).read
    return partial(_split, prepared(name, directory))


def is_packed(name: str, where: Path) -> bool:
    return pack.path_of(name, where).exists() and not (where / name).exists()


def _split_with(read: Read, split: str, classes: list[str], count: int) -> Images:
    """The first examples of a split where they hold `count` of the classes, else all of it."""
    first = read(split, FIRST)
    found = np.isin(first.labels, [i for i, name in enumerate(first.names) if name in classes])
    enough = found.sum() if classes else len(found)
    return first if enough >= count else read(split, None)


def folder(directory: str | None) -> Path:
    """data.dir, else $TFDS_DATA_DIR, else TFDS's default."""
    default = Path.home() / "tensorflow_datasets"
    chosen = directory or os.environ.get("TFDS_DATA_DIR") or default
    return Path(os.path.expanduser(chosen))  # Path's own raises for the home of nobody


def tfds_builder(name: str, directory: str | None, **options: str) -> Any:
    """TFDS's builder of `name`, found without a network."""
    import absl.logging

    absl.logging.set_verbosity(absl.logging.ERROR)  # it recommends OpenCV at every read
    import tensorflow_datasets as tfds

    return tfds.builder(name, data_dir=folder(directory), **options)


def how_to_prepare(name: str, where: str = "") -> str:
    return (
        f"prepare it with `ntkrepro data prepare {name}{where}`, or name the folder that holds it "
        "by data.dir=FOLDER or $TFDS_DATA_DIR"
    )


ELSEWHERE = " data.dir=ANOTHER_FOLDER"  # TFDS keeps what it once began in a folder


def prepared(name: str, directory: str | None) -> Any:
    """The builder of a prepared data set. Raises UserError at once where it isn't."""
    where, mend = folder(directory), how_to_prepare(name)
    if not (where / name).is_dir():
        raise UserError(f"data.name={name}: no prepared data set in {where / name}; {mend}")
    try:
        builder = tfds_builder(name, directory)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"data.name={name}: can't read {where / name} ({error}); {mend}") from error
    if not builder.is_prepared():
        raise UserError(f"data.name={name}: no prepared version in {where / name}; {mend}")
    form = builder.info.file_format.value
    if form != "array_record":
        raise UserError(
            f"data.name={name}: {builder.data_path} is in format {form}, which can't be read "
            f"without TensorFlow; {how_to_prepare(name, ELSEWHERE)}"
        )
    return builder


def _split(builder: Any, split: str, count: int | None) -> Images:
    """A split or its first `count` examples, decoded once and kept as .npy in the user's cache
    folder: images are mapped into memory, so that a run holds those that it takes."""
    names = list(builder.info.features["label"].names)
    paths = _kept(builder, split, count)
    if paths and all(_usable(path) for path in paths):
        images, labels = (np.load(path, mmap_mode="r") for path in paths)
        return Images(images, labels, names)
    decoded = _decoded(builder, split, count)
    anew = f"{builder.name} is decoded anew by each run"
    all(kept(p, partial(np.save, arr=part), anew) for p, part in zip(paths, decoded, strict=False))
    return Images(*decoded, names)


def _usable(path: Path) -> bool:
    """Whether a kept file has the bytes that were written; all are read, 150 MB at most."""
    try:
        whole = is_whole(path)
    except FileNotFoundError:
        return False
    except OSError:
        whole = False
    if not whole:
        warn(f"{path} is damaged: decoded anew")
    return whole


def _decoded(builder: Any, split: str, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, h, w, c] and labels [n]."""
    try:
        source = builder.as_data_source(split=split)
        rows = source.__getitems__(range(len(source))[:count])
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"data.name={builder.name}: can't read {builder.data_path} ({error}); "
            f"{how_to_prepare(builder.name, ELSEWHERE)}"
        ) from error
    return np.stack([row["image"] for row in rows]), np.array([row["label"] for row in rows])


def _kept(builder: Any, split: str, count: int | None) -> list[Path]:
    """Of images and labels, named by the copy's folder and its shards' sizes and times: each copy
    has its own. Empty where nothing can be kept."""
    shards = sorted(Path(builder.data_path).glob(f"*-{split}.*"))
    stamp = [(str(s), s.stat().st_size, s.stat().st_mtime_ns) for s in shards]
    key = hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
    size = "" if count is None else f"-{count}"
    name = f"{builder.name}-{builder.version}-{split}{size}-{{}}-{key}.npy"
    cache = cache_folder()
    return [cache / name.format(part) for part in ("images", "labels")] if cache else []


def tfds_status(name: str, directory: str | None) -> str:
    """Where a data set is, or why it can't be used."""
    try:
        if is_packed(name, folder(directory)):
            return str(pack.load(name, folder(directory)))
        builder = prepared(name, directory)
    except UserError as error:
        return str(error)
    sizes = ", ".join(f"{s} {i.num_examples}" for s, i in builder.info.splits.items())
    return f"prepared in {builder.data_path} ({sizes})"
