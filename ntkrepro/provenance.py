"""Where and with what a run was computed."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

FOLDERS = ("data.dir=", "results=", "hydra.run.dir=", "hydra.sweep.dir=")
PACKAGES = ("ntkrepro", "jax", "jaxlib", "flax", "optax", "numpy")


def provenance() -> dict[str, Any]:
    """For a record's metadata; JSON-ready, without folders of this machine."""
    device = jax.devices()[0]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "device": device.device_kind,
        "platform": device.platform,
        "devices": jax.device_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "matmul_precision": "highest",
        "command": command(),
    }


def command() -> str | None:
    """The command line, without folders; none where the library was called."""
    words = [word for word in sys.argv if not word.startswith(FOLDERS)]
    return " ".join(words) if words[0].startswith("ntkrepro ") else None


def commit() -> str | None:
    """The checkout's commit, with `+` where files differ from it; none outside a checkout."""
    here = Path(__file__).parent
    git = partial(subprocess.run, capture_output=True, text=True, cwd=here, check=True)
    try:
        head = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
