"""Where and with what a run was computed."""

import platform
import shlex
import subprocess
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ntkrepro.config.identity import LABELS, flat
from ntkrepro.config.schema import Experiment

PACKAGES = ("ntkrepro", "jax", "jaxlib", "flax", "optax", "numpy")
FLAGS = {"-m", "--multirun", "--force"}  # those that say what is computed
KEYS = {*flat(Experiment()), *vars(Experiment())} - LABELS
KEYS |= {"experiment", "scale", "sweep", "pack", "hydra/launcher"}  # labels, but no places


def provenance(command: Sequence[str] | None, device: dict[str, Any]) -> dict[str, Any]:
    """For a record's metadata; JSON-ready, without folders of this machine.

    `command`: the words typed, none where the library was called; `device`: what computes.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        **device,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "command": shlex.join([*command[:2], *filter(is_kept, command[2:])]) if command else None,
    }


def is_kept(word: str) -> bool:
    """Whether a word says what is computed, and not where things are."""
    key, _, value = word.lstrip("+~").partition("=")
    return word in FLAGS or (key in KEYS and not set("/\\~") & set(value))


def commit() -> str | None:
    """The checkout's commit, with `+` where files differ from it; none outside a checkout.

    A repository counts that this package is the project of, not one that it was installed into.
    """
    root = Path(__file__).parents[2]
    command = ["git", "--git-dir", root / ".git", "--work-tree", root, "--no-optional-locks"]
    git = partial(subprocess.run, capture_output=True, text=True, cwd=root, check=True)
    try:
        if tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] != "ntkrepro":
            return None
        git([*command, "ls-files", "--error-unmatch", __file__])
        head = git([*command, "rev-parse", "HEAD"]).stdout.strip()
        look = [*command, "status", "--porcelain", "--untracked-files=no"]
        changed = git(look).stdout.strip()  # without its lock, which would fail a commit beside it
    except (OSError, subprocess.CalledProcessError, ValueError, LookupError, TypeError):
        return None
    return head + ("+" if changed else "")
