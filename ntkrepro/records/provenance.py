"""Where and with what a run was computed."""

import platform
import subprocess
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDERS = ("data.dir=", "results=", "hydra.run.dir=", "hydra.sweep.dir=")
PACKAGES = ("ntkrepro", "jax", "jaxlib", "flax", "optax", "numpy")


def provenance(command: str | None, device: dict[str, Any]) -> dict[str, Any]:
    """For a record's metadata; JSON-ready, without folders of this machine.

    `command`: the command line, none where the library was called; `device`: what computes.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        **device,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "command": without_folders(command) if command else None,
    }


def without_folders(command: str) -> str:
    return " ".join(word for word in command.split(" ") if not word.startswith(FOLDERS))


def commit() -> str | None:
    """The checkout's commit, with `+` where files differ from it; none outside a checkout."""
    here = Path(__file__).parent
    git = partial(subprocess.run, capture_output=True, text=True, cwd=here, check=True)
    try:
        head = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        look = ["git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no"]
        changed = git(look).stdout.strip()  # without its lock, which would fail a commit beside it
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
