"""Data sets as NumPy arrays: what there is, and what a config takes of it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ntkrepro.config import npz
from ntkrepro.config.schema import Data, DataSet, Normalize
from ntkrepro.config.splits import SPLITS
from ntkrepro.data import pack as packs
from ntkrepro.data.inputs import (
    TARGETS,
    Images,
    alphas,
    ends,
    image_of,
    normalize,
    path,
    subspace,
    take,
    targets,
)
from ntkrepro.data.tfds import ELSEWHERE, reader, tfds_builder, tfds_images, tfds_status
from ntkrepro.errors import UserError, first_line, nearest

DIGITS_TRAIN = 1200  # scikit-learn's digits have no split: the first 1200 of 1797 train


class Dataset(NamedTuple):
    """What a run sees: inputs [n, d], [m, d], targets [n, k], [m, k], and n0 of Eq. S4.

    d is n0, or less where the inputs were rotated into their span. `image` is an input's shape
    before it was flattened, (h, w, c), c = 1 for grey; in the user's own file whatever it is there;
    empty where it was never more than [d]. `real`: targets are the user's own, and no classes.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n0: int
    image: tuple[int, ...] = ()
    real: bool = False


def load(data: Data) -> Dataset:
    """The data of a config, flattened, float64. Raises UserError where there isn't enough."""
    train, test = chosen(data)
    x_train, x_test = normalize(train.images, test.images, data.normalize.name)
    n0 = x_train.shape[1]
    y_train, y_test = (targets(split, data) for split in (train, test))
    if data.points:
        x_test = path(*ends(x_train, y_train), alphas(data.points))
        y_test = np.full((data.points, y_train.shape[1]), np.nan)
    if data.subspace:
        x_train, x_test = subspace(x_train, x_test)
    image = image_of(train.images.shape[1:])
    return Dataset(x_train, y_train, x_test, y_test, n0, image, real=not train.names)


def chosen(data: Data) -> tuple[Images, Images]:
    """The examples of a config as they are stored. Raises UserError where there aren't enough."""
    source = SETS[data.name]
    train, test = source.read(data)
    seed = 0 if source.drawn else data.seed
    train = take(train, data.classes, data.train, "data.train", seed)
    return train, train if data.points else take(test, data.classes, data.test, "data.test", seed)


def digits(data: Data) -> tuple[Images, Images]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    names = [str(name) for name in bunch.target_names]
    cut = slice(None, DIGITS_TRAIN), slice(DIGITS_TRAIN, None)
    train, test = (Images(bunch.images[c][..., None] / 16, bunch.target[c], names) for c in cut)
    return train, test


def gaussian(data: Data) -> tuple[Images, Images]:
    """x ~ N(0, 1) of data.dim inputs; the class is the sign of a random linear function."""
    rng = np.random.default_rng(data.seed)
    teacher = rng.standard_normal(data.dim)

    def split(count: int) -> Images:
        # enough for `count` of one class alone
        x = rng.standard_normal((4 * count + 64, data.dim))
        return Images(x, (x @ teacher < 0).astype(int), ["positive", "negative"])

    return split(data.train), split(data.test)


def own_arrays(data: Data) -> tuple[Images, Images]:
    """The user's own, by class or with targets as they are."""
    arrays = npz.read(data.path or "")
    if arrays.x_train.dtype == np.uint8 and data.normalize is Normalize.none:
        why = "x_train is uint8, pixels from 0 to 255; or store floats, which are taken as they are"
        raise UserError(f"data.normalize=none: must be image or global, as {why}")
    y_train, y_test, names = arrays.y_train, arrays.y_test, np.empty(0)
    if arrays.has_classes:
        names, labels = np.unique(np.concatenate([y_train, y_test]), return_inverse=True)
        y_train, y_test = labels[: len(y_train)], labels[len(y_train) :]
    classes = [str(name) for name in names]
    return Images(arrays.x_train, y_train, classes), Images(arrays.x_test, y_test, classes)


def shapes(data: Data) -> Dataset:
    """What `load` gives, as arrays that take no memory: only their shapes mean something.

    A user's own file is read: it alone knows. Where inputs span less than as many dimensions as
    there are, `load` leaves the missing ones out.
    """
    source = SETS[data.name]
    if source.image is None:
        return load(data)
    image = source.image(data)
    n0, n, m = int(np.prod(image)), data.train, data.points or data.test
    k = TARGETS[data.targets].outputs(len(data.classes or SPLITS[data.name](data)))
    span = n if data.points else n + m  # a path lies between train points
    d = min(n0, span) if data.subspace else n0
    x_train, y_train, x_test, y_test = (
        np.broadcast_to(0.0, shape) for shape in ((n, d), (n, k), (m, d), (m, k))
    )
    return Dataset(x_train, y_train, x_test, y_test, n0, image_of(image))


def fingerprint(data: Dataset) -> str:
    """sha256 over inputs and targets, first 16 hex digits; for provenance."""
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


class Source(NamedTuple):
    """A data set: `read`(config) -> its train and its test split. An input's shape as it is
    stored, `image`(config), none where the file alone knows; and a line on where it is,
    `status`(name, folder). `tfds`: TFDS prepares it. `drawn`: `read` itself draws by data.seed.
    """

    read: Callable[[Data], tuple[Images, Images]]
    image: Callable[[Data], tuple[int, ...]] | None
    status: Callable[[str, str | None], str] = lambda name, directory: "built in"
    tfds: bool = False
    drawn: bool = False


SETS = {
    DataSet.digits: Source(digits, lambda data: (8, 8, 1)),
    DataSet.gaussian: Source(gaussian, lambda data: (data.dim,), drawn=True),
    DataSet.mnist: Source(tfds_images, lambda data: (28, 28, 1), tfds_status, tfds=True),
    DataSet.cifar10: Source(tfds_images, lambda data: (32, 32, 3), tfds_status, tfds=True),
    DataSet.npz: Source(own_arrays, None, lambda name, directory: "data.path=FILE"),
}
TFDS_NAMES = [name.name for name, source in SETS.items() if source.tfds]


def status(directory: str | None) -> Iterator[str]:
    """A line on each data set: where it is, or why it can't be used."""
    for name, source in SETS.items():
        yield f"{name.name:10} {source.status(name.name, directory)}"


def prepare(name: str, directory: str | None) -> str:
    """Download and prepare with TFDS's own builder, which needs TensorFlow. Raises UserError."""
    if name not in TFDS_NAMES:
        raise UserError(f"data prepare {name}: {nearest(name, TFDS_NAMES)}")
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"data prepare {name}: preparing (not reading) needs TensorFlow; "
            "install the extra: pip install 'ntkrepro[prepare]'"
        ) from error
    try:
        builder = tfds_builder(name, directory, file_format="array_record")
        builder.download_and_prepare(file_format="array_record")
    except (OSError, ValueError) as error:
        raise UserError(
            f"data prepare {name}: {first_line(error)}; another folder may help: "
            f"ntkrepro data prepare {name}{ELSEWHERE}"
        ) from error
    return f"{name}: prepared in {builder.data_path}"


def pack(name: str, first: str, file: str, directory: str | None) -> str:
    """Write the `first` examples of both splits of a prepared data set to a file, NAME.npz in the
    current folder by default. Raises UserError."""
    if name not in TFDS_NAMES:
        raise UserError(f"data pack {name}: {nearest(name, TFDS_NAMES)}")
    if not first.isdecimal() or not int(first):
        raise UserError(f"data pack {name}: --first {first or 'N'} must be a number above 0")
    path = packs.path_of(name, Path(file).parent)
    if file and Path(file).name != path.name:
        raise UserError(f"data pack {name} {file}: must be called {path.name}, else none finds it")
    return f"{name}: {packs.write(path, reader(name, directory), int(first))}"
