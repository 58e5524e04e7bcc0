"""Files that are either whole or absent, that tell when they are damaged, and a folder for those
that may be lost.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

from ntkrepro.errors import RunFailed, warn_once

MARK, DIGITS = b"\nsha256:", b"0" * 64  # JSON escapes line feeds: no config or command has the mark
BLANK = MARK + DIGITS
TAIL = 2**24  # bytes at the end of a file where its seal is looked for


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


@contextmanager
def sealed(path: Path) -> Iterator[BinaryIO]:
    """As `atomic`, for a file that has BLANK somewhere, which becomes its seal: the sha256 of its
    own bytes, with zeros for these digits. `is_whole` knows it by that, whatever its format.
    """
    with atomic(path) as file:
        yield file
        at, given, digest = _seal(file)
        assert given == DIGITS, f"{path} has no place for its seal"
        file.seek(at)
        file.write(digest)


def kept(path: Path, write: Callable[[BinaryIO], object], otherwise: str) -> bool:
    """Whether what `write` writes is kept, sealed at its end, as what can be made again. Where the
    disk refuses, a warning says what happens `otherwise`, once.
    """
    try:
        with sealed(path) as file:
            write(file)
            file.write(BLANK)
    except RunFailed as error:
        warn_once(f"{error}; {otherwise}")
        return False
    return True


def is_whole(path: Path) -> bool:
    """Whether a file has the bytes that `sealed` wrote. Raises OSError where it can't be read."""
    with path.open("rb") as file:
        _, given, digest = _seal(file)
    return given == digest


def _seal(file: BinaryIO) -> tuple[int, bytes, bytes]:
    """Where the digits of a file's seal are, those, and what they must be."""
    size = file.seek(0, os.SEEK_END)
    start, found = max(0, size - TAIL), hashlib.sha256()
    file.seek(0)
    for at in range(0, start, TAIL):
        found.update(file.read(min(TAIL, start - at)))
    head, mark, rest = file.read().rpartition(MARK)
    for part in (head, mark, DIGITS, rest[len(DIGITS) :]):
        found.update(part)
    return size - len(rest), rest[: len(DIGITS)], found.hexdigest().encode()


def remove_unfinished(path: Path) -> None:
    """What `atomic` left of files with this stem in a process that was killed."""
    for left in path.parent.glob(f".{path.stem}.*"):
        left.unlink(missing_ok=True)


def cache_folder() -> Path | None:
    """Where this user keeps what can be made again; none, with a warning, where it can't be written
    or others could put files of their own into its place: compiled programs are run as they are.
    """
    folder = platformdirs.user_cache_path("ntkrepro").absolute()
    try:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(mode=0o700, exist_ok=True)
        folder = folder.resolve()
        if _open_to_others(folder):
            why = f"others than user {os.geteuid()} can write there; nothing is kept"
        elif not os.access(folder, os.W_OK | os.X_OK):
            why = "it can't be written; nothing is kept"
        else:
            return folder
    except OSError as error:
        why = f"{error.strerror}; nothing is kept"
    warn_once(f"cache folder {folder}: {why}")
    return None


def _open_to_others(folder: Path) -> bool:
    own, above = folder.stat(), [place.stat().st_mode for place in folder.parents]
    return (
        own.st_uid != os.geteuid()
        or bool(own.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        or any(mode & stat.S_IWOTH and not mode & stat.S_ISVTX for mode in above)
    )
