"""From a split as it is stored to what a run sees: classes, targets, inputs."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ntkrepro.config.schema import Data, Targets
from ntkrepro.config.splits import refuse_unknown
from ntkrepro.errors import UserError


class Images(NamedTuple):
    """A split as stored: images [N, ...], labels [N], and the classes' names.

    No names: `labels` are targets as they are [N, k]. `cut`: where there should be more of them, in
    which file they are, and how to have more.
    """

    images: np.ndarray
    labels: np.ndarray
    names: list[str]
    cut: str = ""


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


def take(split: Images, classes: list[str], count: int, key: str, seed: int = 0) -> Images:
    """The first `count` examples of `classes` (all if empty), labels renumbered in that order.

    seed: another than 0 draws the order of the examples; a larger count only adds to it. Raises
    UserError where there are too few, or where an order is drawn of what is cut.
    """
    refuse_unknown(classes, split.names)
    names = classes or split.names
    labels = renumber(split, names) if names else split.labels
    chosen = np.flatnonzero(labels >= 0) if names else np.arange(len(labels))
    if count > len(chosen):
        whose = names or "the file"
        most = f"at most {len(chosen)}, all there is of {whose}"
        raise UserError(f"{key}={count}: must be {most}{split.cut}")
    if seed and split.cut:
        raise UserError(
            f"data.seed={seed}: must be 0, as it draws from more than there is{split.cut}"
        )
    chosen = (np.random.default_rng(seed).permutation(chosen) if seed else chosen)[:count]
    return Images(split.images[chosen], labels[chosen], names)


def renumber(split: Images, names: list[str]) -> np.ndarray:
    """Labels [N] as places in `names`, -1 for the others."""
    order = np.full(len(split.names), -1)
    order[[split.names.index(name) for name in names]] = np.arange(len(names))
    return order[split.labels]


def targets(split: Images, data: Data) -> np.ndarray:
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


def _global(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = train.mean(), train.std() or 1
    return (train - mean) / std, (test - mean) / std


Pair = tuple[np.ndarray, np.ndarray]
NORMALIZE: dict[str, Callable[[np.ndarray, np.ndarray], Pair]] = {  # inputs of both splits
    "image": lambda a, b: (_per_image(a), _per_image(b)),
    "global": _global,
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
    r = r[:, sizes >= 1e-10 * sizes.max()]
    return r[: len(x_train)], r[len(x_train) :]


def image_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Dataset.image of inputs of this shape."""
    return shape if len(shape) > 1 else ()
