"""Files that are either whole or absent."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ntkrepro.errors import RunFailed


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that becomes `path` when the block ends well, and vanishes when it doesn't.

    Raises RunFailed, naming the path, where the folder can't be written or the disk is full.
    """
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder, prefix = path.parent, f".{path.stem}."
        with tempfile.NamedTemporaryFile(dir=folder, prefix=prefix, delete=False) as file:
            name = file.name
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise RunFailed(f"can't write {path}: {error.strerror or error}") from error
    finally:
        if name:
            with suppress(FileNotFoundError):
                os.unlink(name)


def remove_unfinished(path: Path) -> None:
    """What `atomic` left of files with this stem in a process that was killed."""
    for left in path.parent.glob(f".{path.stem}.*"):
        left.unlink(missing_ok=True)
