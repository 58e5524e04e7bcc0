"""Composed configs, kept between commands: a report asks for thirty, and Hydra takes 0.1 s each."""

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

from ntkrepro.listing import configs_dir

Compose = Callable[[list[str]], Any]


def composed(compose: Compose, words: list[str]) -> Any:
    """compose(words), from the user's cache folder where no file that decides it has changed.

    Only what a report asks for is kept: an experiment at a scale.
    """
    if not all(word.startswith(("experiment=", "scale=")) for word in words):
        return compose(words)
    from joblib import Memory  # 0.1 s

    try:
        memory = Memory(platformdirs.user_cache_path("ntkrepro"), verbose=0)
    except OSError:  # no folder that can be written
        return compose(words)
    return memory.cache(_composed, ignore=["compose"])(compose, words, digest())


def _composed(compose: Compose, words: list[str], digest: str) -> Any:
    return compose(words)


@cache
def digest() -> str:
    """Digest of all that decides a composed config: the YAML, the schema and who composes."""
    found = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
    for path in (*sorted(configs_dir().rglob("*.yaml")), Path(__file__).with_name("config.py")):
        found.update(str(path).encode() + path.read_bytes())
    return found.hexdigest()
