"""Many small records in one file: RESULTS/runs.tar.xz, unpacked into RESULTS/runs at its first use.

A small record is mostly words, which thousands of them share: one file takes a sixth of theirs.
"""

import io
import os
import re
import tarfile
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from lzma import LZMAError
from pathlib import Path

from ntkrepro.errors import RunFailed
from ntkrepro.files import atomic

MEMBER = re.compile(r"[0-9a-f]{16}\.parquet")
MARKER = ".unpacked"  # in the folder: the digest of the archive that was


def path_of(folder: Path) -> Path:
    """The archive of a folder of records."""
    return folder.with_name(f"{folder.name}.tar.xz")


def unpack(folder: Path) -> None:
    """Give a folder what it lacks of the records in its archive, if there is one; once of each
    archive, so that what is removed stays so. Raises RunFailed where that fails."""
    _unpack(folder.absolute())


@lru_cache
def _unpack(folder: Path) -> None:
    archive, marker = path_of(folder), folder / MARKER
    try:
        packed = archive.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return
    digest = sha256(packed).hexdigest()
    try:
        if marker.is_file() and marker.read_text() == digest:
            return
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as new:
            extract(packed, Path(new))
            for path in Path(new).iterdir():
                if not (folder / path.name).exists():
                    os.replace(path, folder / path.name)
    except (OSError, tarfile.TarError, LZMAError, EOFError) as error:
        raise RunFailed(f"can't unpack {archive} into {folder}: {error}") from error
    with atomic(marker) as file:
        file.write(digest.encode())


def extract(packed: bytes, to: Path) -> None:
    """The records of an archive's bytes, and nothing else of it."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as archive:
        for member in archive:
            if member.isreg() and MEMBER.fullmatch(member.name):
                archive.extract(member, to, filter="data")


def pack(folder: Path, names: Sequence[str]) -> Path:
    """Write the archive of these records of a folder. The same records are the same bytes."""
    archive = path_of(folder)
    with atomic(archive) as file, tarfile.open(fileobj=file, mode="w:xz", preset=9) as packed:
        for name in sorted(names):
            content = (folder / name).read_bytes()
            about = tarfile.TarInfo(name)
            about.size = len(content)
            packed.addfile(about, io.BytesIO(content))
    return archive
