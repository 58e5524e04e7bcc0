"""A pack: the first examples of a TFDS data set in one small file, read as the set itself where its
folder has no TFDS copy. For machines that data are carried to.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ntkrepro.config.schema import Data, DataSet
from ntkrepro.config.splits import available
from ntkrepro.data.inputs import Images
from ntkrepro.errors import UserError
from ntkrepro.files import BLANK, is_whole, sealed

SPLITS = ("train", "test")


class Pack(NamedTuple):
    """The examples of both splits that a file has."""

    path: Path
    splits: dict[str, Images]

    def read(self, split: str, count: int | None) -> Images:
        """The first `count` examples of a split, or all; `cut` where the pack has fewer."""
        size, held = sizes(self.path.stem)[split], self.splits[split]
        asked, there = min(count or size, size), len(held.labels)
        cut = (
            f" in {self.path}, which holds the first {there} of {size} {split} examples; pack more "
            f"of them: ntkrepro data pack {self.path.stem} --first N"
        )
        part = Images(held.images[:asked], held.labels[:asked], held.names)
        return part._replace(cut=cut) if there < asked else part

    def __str__(self) -> str:
        whole = sizes(self.path.stem)
        held = (f"{s} {len(images.labels)} of {whole[s]}" for s, images in self.splits.items())
        return f"packed in {self.path} ({', '.join(held)})"


def sizes(name: str) -> dict[str, int]:
    """Examples of each split of the whole set."""
    return {s: int(n) for s, n in zip(SPLITS, available(Data(name=DataSet[name])), strict=True)}


def path_of(name: str, folder: Path) -> Path:
    return folder / f"{name}.npz"


def write(path: Path, read: Callable[[str, int], Images], count: int) -> Pack:
    """Of the first `count` examples of both splits. Raises RunFailed where it can't be written."""
    splits = {split: read(split, count) for split in SPLITS}
    arrays: dict[str, Any] = {"pack": path.stem, "names": splits["train"].names}
    for split, part in splits.items():
        arrays |= {f"x_{split}": part.images, f"y_{split}": part.labels}
    with sealed(path) as file:
        np.savez_compressed(file, **arrays)
        file.write(BLANK)
    return Pack(path, splits)


def load(name: str, folder: Path) -> Pack:
    """Raises UserError where it is damaged, or no pack of this data set."""
    path = path_of(name, folder)
    try:
        if not is_whole(path):
            raise ValueError("it is damaged, or something else's")
        with np.load(path) as file:
            if str(file["pack"]) != name:
                raise ValueError(f"it is a pack of {file['pack']}")
            names = [str(one) for one in file["names"]]
            return Pack(path, {s: Images(file[f"x_{s}"], file[f"y_{s}"], names) for s in SPLITS})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"data.name={name}: can't read the pack {path} ({error}); make it anew with "
            f"`ntkrepro data pack {name} --first N`"
        ) from error
