"""Who computes which run: a lock file beside the record, which the system frees when its process
dies, on one machine or over a shared folder.
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ntkrepro.errors import RunFailed


@contextmanager
def claimed(paths: list[Path]) -> Iterator[bool]:
    """Whether all of these locks are ours until the block ends; false where another holds one.

    Raises RunFailed where the folder can't be written.
    """
    with ExitStack() as stack:
        yield all(_claim(path, stack) for path in paths)


def _claim(path: Path, stack: ExitStack) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(FileLock(path, blocking=False))
    except Timeout:
        return False
    except OSError as error:
        raise RunFailed(f"can't write {path}: {error.strerror or error}") from error
    stack.callback(path.unlink, missing_ok=True)  # while it is ours: filelock looks at the inode
    with suppress(OSError):  # a full disk doesn't take the lock away
        path.write_text(json.dumps(_about()))
    return True


def _about() -> dict[str, str | int]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "pid": os.getpid(), "since": now}


def holder(path: Path) -> str | None:
    """Where a run is being computed and since when; none if it is not."""
    if not path.exists():
        return None
    try:
        with FileLock(path, blocking=False):
            return None  # its process is dead
    except Timeout:
        pass
    except OSError:  # a folder that may only be read: no way to know
        return None
    try:
        about = json.loads(path.read_text())
        return f"{about['host']} (process {about['pid']}) since {about['since']}"
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return "another process"
