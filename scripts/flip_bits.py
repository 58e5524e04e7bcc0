"""Flip one random bit of each kind of file that the program reads back, and count what comes of it.

    python scripts/flip_bits.py [--flips 5000] [--seed 0]

Right is what the file held, or that it is made anew and one line says so. Exit code 1 if anything
else came of a flip: another result, an exception, a silent loss, or a file that the program's own
next writing doesn't mend.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
import pyarrow.parquet as pq

from ntkrepro.config import compose
from ntkrepro.data import tfds
from ntkrepro.programs import weight_space
from ntkrepro.programs.run import compute
from ntkrepro.programs.setup import prepare
from ntkrepro.records import store
from ntkrepro.training import checkpoint, loop

RUN = ("data.train=4", "data.test=4", "model.width=4", "model.depth=1", "optimizer.steps=4")
LITTLE = ("linearized.analytic=false", "log.kernel=false", "log.outputs=2", "log.weights=2")
RIGHT = ("as it was", "made anew")


class Case(NamedTuple):
    """A file, what the program reads from it, what that is where it makes it anew, and how."""

    path: Path
    read: Callable[[], Any]
    anew: Any
    write: Callable[[], Any]


def record(folder: Path) -> Case:
    path = compute(compose.compose([*RUN, *LITTLE, f"results={folder}"]))
    rows = pq.read_table(path, columns=store.ROWS.names)

    def read() -> Any:
        done, found = store.is_done(path), store.read(path)
        return done, found and (found.rows.to_dict("list"), *found[1:])

    return Case(path, read, (False, None), lambda: store.write_rows(path, rows))


def checkpoint_(folder: Path) -> Case:
    """Of a network and its linearization, after two steps."""
    setup, names = prepare(compose.compose([*RUN, *LITTLE])), ("network", "linearized")
    recipe, task = weight_space.recipe_of(setup), weight_space.task_of(setup, names)
    states = loop.advance(recipe, task, loop.start(recipe, task, names), 0, 2)
    seen = {"0/network/train": np.asarray(setup.dataset.y_train)}
    return stand(folder / "run.checkpoint", 2, states, loop.start(recipe, task, names), seen)


def block(folder: Path) -> Case:
    outputs = np.random.default_rng(0).standard_normal((3, 2, 11)).astype(np.float32)
    return stand(folder / "0-2.npz", 8, None, None, {"outputs": outputs})


def stand(path: Path, step: int, states: Any, fresh: Any, seen: checkpoint.Seen) -> Case:
    def write() -> None:
        checkpoint.save(path, path.stem, step, states, seen)

    def read() -> Any:
        return bits(*checkpoint.load(path, path.stem, fresh))

    write()
    return Case(path, read, bits(0, fresh, {}), write)


def bits(*values: Any) -> Any:
    leaves, shape = jax.tree.flatten(values)
    arrays = [np.asarray(leaf) for leaf in leaves]
    return str(shape), [(a.dtype, a.shape, a.tobytes()) for a in arrays]


class Builder(list[dict[str, Any]]):
    """A data set as TFDS's builders are: random images, and how often they were decoded."""

    name, version, decoded = "noise", "1.0.0", 0

    def __init__(self, folder: Path) -> None:
        images = np.random.default_rng(0).integers(256, size=(6, 4, 4, 3), dtype=np.uint8)
        super().__init__({"image": image, "label": i % 2} for i, image in enumerate(images))
        self.data_path = str(folder)
        self.info = SimpleNamespace(features={"label": SimpleNamespace(names=["a", "b"])})

    def as_data_source(self, split: str) -> "Builder":
        self.decoded += 1
        return self

    def __getitems__(self, places: range) -> list[dict[str, Any]]:
        return [self[i] for i in places]

    def read(self) -> Any:
        """What a run reads."""
        found = tfds._split(self, "train", None)
        return np.asarray(found.images).tolist(), np.asarray(found.labels).tolist(), found.names


def data(folder: Path, part: str = "images") -> Case:
    builder = Builder(folder)
    right = builder.read()
    (path,) = folder.rglob(f"*-{part}-*.npy")
    return Case(path, builder.read, right, builder.read)


def config(folder: Path) -> Case:
    words = ["experiment=digits", "scale=smoke"]
    right = compose._compose(words)
    (path,) = folder.rglob("configs/*.json")

    def read() -> Any:
        with mock.patch.object(compose, "_composed", return_value=right):  # not 0.1 s each
            return compose._compose(words)

    return Case(path, read, right, read)


CASES = {
    "record": record,
    "checkpoint": checkpoint_,
    "block": block,
    "images": data,
    "labels": lambda folder: data(folder, "labels"),
    "config": config,
}


def flip(name: str, folder: Path, flips: int, seed: int) -> Counter[str]:
    """What came of so many flips in a file of one kind, made below `folder`, where the cache folder
    must be too."""
    case, rng = CASES[name](folder), np.random.default_rng(seed)
    whole, right = case.path.read_bytes(), case.read()
    found: Counter[str] = Counter()
    for place in rng.integers(8 * len(whole), size=flips):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        case.path.write_bytes(damaged)
        found[outcome(case, right)] += 1
        with contextlib.redirect_stderr(io.StringIO()):
            case.write()
        if not is_right(case, right):
            found["only deletion mends it"] += 1
            case.path.unlink()
    return found


def outcome(case: Case, right: Any) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            found = case.read()
        except Exception as error:
            return f"{type(error).__name__}"
    if found == right and not told.getvalue():
        return "as it was"
    if found == case.anew:
        return "made anew" if told.getvalue().count("\n") == 1 else "made anew without a word"
    return "wrong"


def is_right(case: Case, right: Any) -> bool:
    try:
        return bool(case.read() == right)
    except Exception:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    asked, bad = parser.parse_args(), 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache").resolve())
        for name in CASES:
            found = flip(name, Path(folder), asked.flips, asked.seed)
            print(f"{name}: " + ", ".join(f"{n} {what}" for what, n in found.items()), flush=True)
            bad += sum(n for what, n in found.items() if what not in RIGHT)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
