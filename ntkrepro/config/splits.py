"""How many examples the data sets have: what `all` means, and which number is too large."""

from collections.abc import Callable, Mapping
from math import inf

from ntkrepro.config.schema import Data, DataSet
from ntkrepro.errors import UserError, nearest

Counts = Mapping[str, tuple[float, float]]  # class -> examples in train, in test; "": no classes


def available(data: Data) -> tuple[float, float]:
    """Examples of the classes chosen, in train and in test; inf where there is no end of them.

    Raises UserError for a class that there isn't, and for a file of the user's own.
    """
    counts = SPLITS[data.name](data)
    refuse_unknown(data.classes, [name for name in counts if name])
    train, test = zip(*(counts[name] for name in data.classes or counts), strict=True)
    return sum(train), sum(test)


def refuse_unknown(classes: list[str], names: list[str]) -> None:
    """Raises UserError for classes that aren't among the names; no names: there are targets."""
    if classes and not names:
        raise UserError(f"data.classes={classes}: must be [] where y holds targets, not classes")
    for unknown in (name for name in classes if name not in names):
        raise UserError(f"data.classes={unknown}: {nearest(unknown, names)}")


def own(data: Data) -> Counts:
    from ntkrepro.config import npz  # NumPy

    return npz.counts(data.path or "")


def numbered(train: str, test: str) -> Counts:
    """Of the classes 0, 1, ..."""
    pairs = zip(map(int, train.split()), map(int, test.split()), strict=True)
    return {str(i): pair for i, pair in enumerate(pairs)}


DIGITS = numbered("119 121 117 121 120 123 120 118 119 122", "59 61 60 62 61 59 61 61 55 58")
MNIST = numbered(
    "5923 6742 5958 6131 5842 5421 5918 6265 5851 5949",
    "980 1135 1032 1010 982 892 958 1028 974 1009",
)
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"

SPLITS: dict[DataSet, Callable[[Data], Counts]] = {
    DataSet.digits: lambda data: DIGITS,
    DataSet.gaussian: lambda data: dict.fromkeys(["positive", "negative"], (inf, inf)),
    DataSet.mnist: lambda data: MNIST,
    DataSet.cifar10: lambda data: dict.fromkeys(CIFAR10.split(), (5000, 1000)),
    DataSet.npz: own,
}
