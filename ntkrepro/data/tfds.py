"""MNIST and CIFAR-10 by TensorFlow Datasets, read without TensorFlow."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from ntkrepro.config.schema import Data
from ntkrepro.data.inputs import Images
from ntkrepro.errors import UserError
from ntkrepro.files import atomic

FIRST = 4096  # examples of a split that are decoded where they are enough: a tenth of the time


def tfds_images(data: Data) -> tuple[Images, Images]:
    builder = prepared(data.name.name, data.dir)
    asked = (("train", data.train), ("test", data.test))
    train, test = (_split_with(builder, split, data.classes, count) for split, count in asked)
    return train, test


def _split_with(builder: Any, split: str, classes: list[str], count: int) -> Images:
    """The first examples of a split where they hold `count` of the classes, else all of it."""
    first = _split(builder, split, FIRST)
    found = np.isin(first.labels, [i for i, name in enumerate(first.names) if name in classes])
    enough = found.sum() if classes else len(found)
    return first if enough >= count else _split(builder, split, None)


def folder(directory: str | None) -> Path:
    """data.dir, else $TFDS_DATA_DIR, else TFDS's default."""
    default = Path.home() / "tensorflow_datasets"
    return Path(directory or os.environ.get("TFDS_DATA_DIR") or default).expanduser()


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
    folder: images are mapped into memory, so that a run reads those that it takes."""
    names = list(builder.info.features["label"].names)
    paths = [_cache_path(builder, split, count, part) for part in ("images", "labels")]
    if not all(path.is_file() for path in paths):
        try:
            source = builder.as_data_source(split=split)
            rows = source.__getitems__(range(len(source))[:count])
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"data.name={builder.name}: can't read {builder.data_path} ({error}); "
                f"{how_to_prepare(builder.name, ELSEWHERE)}"
            ) from error
        images = np.stack([row["image"] for row in rows])
        labels = np.array([row["label"] for row in rows])
        for path, values in zip(paths, (images, labels), strict=True):
            with atomic(path) as file:
                np.save(file, values)
    images, labels = (np.load(path, mmap_mode="r") for path in paths)
    return Images(images, labels, names)


def _cache_path(builder: Any, split: str, count: int | None, part: str) -> Path:
    """Named by the copy's folder and its shards' sizes and times: each copy has its own."""
    shards = sorted(Path(builder.data_path).glob(f"*-{split}.*"))
    stamp = [(str(s), s.stat().st_size, s.stat().st_mtime_ns) for s in shards]
    key = hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
    size = "" if count is None else f"-{count}"
    name = f"{builder.name}-{builder.version}-{split}{size}-{part}-{key}.npy"
    return platformdirs.user_cache_path("ntkrepro") / name


def tfds_status(name: str, directory: str | None) -> str:
    """Where a data set is, or why it can't be used."""
    try:
        builder = prepared(name, directory)
    except UserError as error:
        return str(error)
    sizes = ", ".join(f"{s} {i.num_examples}" for s, i in builder.info.splits.items())
    return f"prepared in {builder.data_path} ({sizes})"
