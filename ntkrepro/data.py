"""Data sets as NumPy arrays: TFDS without TensorFlow, scikit-learn's digits, Gaussian inputs."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs

from ntkrepro import config, npz
from ntkrepro.config import DataSet, Targets
from ntkrepro.errors import UserError
from ntkrepro.files import atomic

FIRST = 4096  # examples of a split that are decoded where they are enough: a tenth of the time
DIGITS_TRAIN = 1200  # scikit-learn's digits have no split: the first 1200 of 1797 train


class Images(NamedTuple):
    """A split as stored: images [N, ...], labels [N], and the classes' names.

    No names: `labels` are targets as they are [N, k].
    """

    images: np.ndarray
    labels: np.ndarray
    names: list[str]


class Dataset(NamedTuple):
    """What a run sees: inputs [n, d], [m, d], targets [n, k], [m, k], and n0 of Eq. S4.

    d is n0, or less where the inputs were rotated into their span. `image` is an input's shape
    before it was flattened, (h, w, c), c = 1 for grey; in the user's own file whatever it is there;
    empty where it was never more than [d].
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n0: int
    image: tuple[int, ...] = ()


def load(data: config.Data) -> Dataset:
    """The data of a config, flattened, float64. Raises UserError where there isn't enough."""
    train, test = SETS[data.name].read(data)
    train = take(train, data.classes, data.train, "data.train")
    test = train if data.points else take(test, data.classes, data.test, "data.test")
    x_train, x_test = normalize(train.images, test.images, data.normalize.name)
    n0 = x_train.shape[1]
    y_train, y_test = (targets(split, data) for split in (train, test))
    if data.points:
        x_test = path(*ends(x_train, y_train), alphas(data.points))
        y_test = np.full((data.points, y_train.shape[1]), np.nan)
    if data.subspace:
        x_train, x_test = subspace(x_train, x_test)
    return Dataset(x_train, y_train, x_test, y_test, n0, image_of(train.images.shape[1:]))


def alphas(count: int) -> np.ndarray:
    """Where along the path of Figure 3 its points lie, from -2 to 3; its ends are at 0 and 1."""
    return np.linspace(-2.0, 3.0, count)


def ends(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first train point of the first class [d], and that of the other."""
    first = y[:, 0] > 0
    if first.all() or not first.any():
        raise UserError("data.points: the train points are of one class; raise data.train")
    return x[first][0], x[~first][0]


def path(start: np.ndarray, end: np.ndarray, at: np.ndarray) -> np.ndarray:
    """x(alpha) = (1 - alpha) start + alpha end, rescaled to |x|^2 = |start|^2, [alpha, d]."""
    x = (1 - at[:, None]) * start + at[:, None] * end
    return x * np.linalg.norm(start) / np.linalg.norm(x, axis=1, keepdims=True)


def take(split: Images, classes: list[str], count: int, key: str) -> Images:
    """The first `count` examples of `classes` (all if empty), labels renumbered in that order."""
    if classes and not split.names:
        raise UserError(f"data.classes={classes}: must be [] where y holds targets, not classes")
    names = classes or split.names
    labels = renumber(split, names) if names else split.labels
    chosen = np.flatnonzero(labels >= 0) if names else np.arange(len(labels))
    if count > len(chosen):
        whose = names or "the file"
        raise UserError(f"{key}={count}: must be at most {len(chosen)}, all there is of {whose}")
    chosen = chosen[:count]
    return Images(split.images[chosen], labels[chosen], names)


def renumber(split: Images, names: list[str]) -> np.ndarray:
    """Labels [N] as places in `names`, -1 for the others."""
    unknown = [name for name in names if name not in split.names]
    if unknown:
        raise UserError(f"data.classes={unknown[0]}: {config.nearest(unknown[0], split.names)}")
    order = np.full(len(split.names), -1)
    order[[split.names.index(name) for name in names]] = np.arange(len(names))
    return order[split.labels]


def targets(split: Images, data: config.Data) -> np.ndarray:
    """Labels as data.targets asks, or where they are targets already, those; [n, k]."""
    if not split.names:
        return split.labels
    return TARGETS[data.targets].of(split.labels, len(split.names))


class Encoding(NamedTuple):
    """Targets `of`(labels [n], classes) -> [n, k], and k = `outputs`(classes)."""

    of: Callable[[np.ndarray, int], np.ndarray]
    outputs: Callable[[int], int]


TARGETS = {
    Targets.signs: Encoding(lambda labels, _: 1.0 - 2.0 * labels[:, None], lambda _: 1),
    Targets.onehot: Encoding(lambda labels, classes: np.eye(classes)[labels], lambda n: n),
}


def normalize(train: np.ndarray, test: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Flattened inputs [n, d], [m, d], float64; see config.Normalize."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (train, test))
    if train.dtype == np.uint8:
        a, b = a / 255, b / 255
    return NORMALIZE[how](a, b)


def _per_image(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(1, keepdims=True)
    std = centred.std(1, keepdims=True)
    return centred / np.where(std > 0, std, 1)


Pair = tuple[np.ndarray, np.ndarray]
NORMALIZE: dict[str, Callable[[np.ndarray, np.ndarray], Pair]] = {  # inputs of both splits
    "image": lambda a, b: (_per_image(a), _per_image(b)),
    "global": lambda a, b: ((a - a.mean()) / a.std(), (b - a.mean()) / a.std()),
    "none": lambda a, b: (a, b),
}


def subspace(x_train: np.ndarray, x_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All inputs in an orthonormal basis Q of their span: X = R Q^T, returns R's two parts.

    Training W on X and Q^T W on R give the same outputs at every step, Q^T W is again i.i.d.
    Gaussian, and the part of W orthogonal to Q never moves. Unchanged where d <= n + m; directions
    that no input has but by rounding are left out.
    """
    x = np.concatenate([x_train, x_test])
    if x.shape[1] <= len(x):
        return x_train, x_test
    r = np.asarray(np.linalg.qr(x.T, mode="r")).T
    sizes = np.linalg.norm(r, axis=0)
    r = r[:, sizes > 1e-10 * sizes.max()]
    return r[: len(x_train)], r[len(x_train) :]


def digits(data: config.Data) -> tuple[Images, Images]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    names = [str(name) for name in bunch.target_names]
    cut = slice(None, DIGITS_TRAIN), slice(DIGITS_TRAIN, None)
    train, test = (Images(bunch.images[c][..., None] / 16, bunch.target[c], names) for c in cut)
    return train, test


def gaussian(data: config.Data) -> tuple[Images, Images]:
    """x ~ N(0, 1) of data.dim inputs; the class is the sign of a random linear function."""
    rng = np.random.default_rng(data.seed)
    teacher = rng.standard_normal(data.dim)

    def split(count: int) -> Images:
        # enough for `count` of one class alone
        x = rng.standard_normal((4 * count + 64, data.dim))
        return Images(x, (x @ teacher < 0).astype(int), ["positive", "negative"])

    return split(data.train), split(data.test)


def own_arrays(data: config.Data) -> tuple[Images, Images]:
    """The user's own, by class or with targets as they are."""
    arrays = npz.read(data.path or "")
    y_train, y_test, names = arrays.y_train, arrays.y_test, np.empty(0)
    if arrays.has_classes:
        names, labels = np.unique(np.concatenate([y_train, y_test]), return_inverse=True)
        y_train, y_test = labels[: len(y_train)], labels[len(y_train) :]
    classes = [str(name) for name in names]
    return Images(arrays.x_train, y_train, classes), Images(arrays.x_test, y_test, classes)


def tfds_images(data: config.Data) -> tuple[Images, Images]:
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


def shapes(data: config.Data) -> Dataset:
    """What `load` gives, as arrays that take no memory: only their shapes mean something.

    A user's own file is read: it alone knows. Where inputs span less than as many dimensions as
    there are, `load` leaves the missing ones out.
    """
    source = SETS[data.name]
    if source.image is None:
        return load(data)
    image = source.image(data)
    n0, n, m = int(np.prod(image)), data.train, data.points or data.test
    k = TARGETS[data.targets].outputs(len(data.classes) or source.classes)
    span = n if data.points else n + m  # a path lies between train points
    d = min(n0, span) if data.subspace else n0
    x_train, y_train, x_test, y_test = (
        np.broadcast_to(0.0, shape) for shape in ((n, d), (n, k), (m, d), (m, k))
    )
    return Dataset(x_train, y_train, x_test, y_test, n0, image_of(image))


def image_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Dataset.image of inputs of this shape."""
    return shape if len(shape) > 1 else ()


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


def fingerprint(data: Dataset) -> str:
    """sha256 over inputs and targets, first 16 hex digits; for provenance."""
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def tfds_status(name: str, directory: str | None) -> str:
    """Where a data set is, or why it can't be used."""
    try:
        builder = prepared(name, directory)
    except UserError as error:
        return str(error)
    sizes = ", ".join(f"{s} {i.num_examples}" for s, i in builder.info.splits.items())
    return f"prepared in {builder.data_path} ({sizes})"


class Source(NamedTuple):
    """A data set: `read`(config) -> its train and its test split. An input's shape as it is
    stored, `image`(config), none where the file alone knows; the number of `classes`; and a line
    on where it is, `status`(name, folder). `tfds`: TFDS prepares it.
    """

    read: Callable[[config.Data], tuple[Images, Images]]
    image: Callable[[config.Data], tuple[int, ...]] | None
    classes: int
    status: Callable[[str, str | None], str] = lambda name, directory: "built in"
    tfds: bool = False


SETS = {
    DataSet.digits: Source(digits, lambda data: (8, 8, 1), 10),
    DataSet.gaussian: Source(gaussian, lambda data: (data.dim,), 2),
    DataSet.mnist: Source(tfds_images, lambda data: (28, 28, 1), 10, tfds_status, tfds=True),
    DataSet.cifar10: Source(tfds_images, lambda data: (32, 32, 3), 10, tfds_status, tfds=True),
    DataSet.npz: Source(own_arrays, None, 0, lambda name, directory: "data.path=FILE"),
}
TFDS_NAMES = [name.name for name, source in SETS.items() if source.tfds]


def status(directory: str | None) -> Iterator[str]:
    """A line on each data set: where it is, or why it can't be used."""
    for name, source in SETS.items():
        yield f"{name.name:10} {source.status(name.name, directory)}"


def prepare(name: str, directory: str | None) -> str:
    """Download and prepare with TFDS's own builder, which needs TensorFlow. Raises UserError."""
    if name not in TFDS_NAMES:
        raise UserError(f"data prepare {name}: {config.nearest(name, TFDS_NAMES)}")
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
            f"data prepare {name}: {config.first_line(error)}; another folder may help: "
            f"ntkrepro data prepare {name}{ELSEWHERE}"
        ) from error
    return f"{name}: prepared in {builder.data_path}"
