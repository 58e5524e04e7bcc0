"""Digests of the user's own files: what a config points to decides a record, not only its name."""

import ast
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ntkrepro.config import held
from ntkrepro.errors import UserError


def regular(key: str, path: str) -> os.stat_result:
    """A device or a pipe is never opened: it may have no end. Raises UserError."""
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{key}={path}: {why}; give the path of a file") from error
    if not stat.S_ISREG(about.st_mode):
        raise UserError(f"{key}={path}: must be a regular file")
    return about


def of_file(key: str, path: str) -> str:
    """Digest of a file's content. Raises UserError where it can't be read."""
    if there := held.find(key, path):
        return there.digest
    about = regular(key, path)
    try:
        return _of_file(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{key}={path}: {error.strerror}; give the path of a file") from error


@lru_cache
def _of_file(path: str, size: int, changed: int) -> str:
    """Cached, as a sweep asks for each of its points."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


CHECKPOINT = "_METADATA"  # a file that every orbax checkpoint has


def of_params(path: str) -> str:
    """Digest of the parameters that model.params names: a file, or the folder of a checkpoint, by
    the names and contents of all its files. Raises UserError where there are none."""
    key, folder = "model.params", Path(path)
    if not folder.is_dir():
        return of_file(key, path)
    if not (folder / CHECKPOINT).is_file():
        raise UserError(f"{key}={path}: has no {CHECKPOINT}: must be an orbax checkpoint's folder")
    digest = hashlib.sha256()
    for own in sorted(own for own in folder.rglob("*") if not own.is_dir()):
        digest.update(f"{own.relative_to(folder)} {of_file(key, str(own))}\n".encode())
    return digest.hexdigest()[:16]


def of_factory(factory: str, read: Iterable[str] = ()) -> str:
    """Digest of the source of MODULE:NAME: the module's file and whatever it imports beside it; and
    of the files that it is said to `read`.

    Found by reading, nothing is imported. Installed packages other than its own don't count, nor
    does `ntkrepro`. Raises UserError where there is no such module, or no such file.
    """
    if there := held.find("model.factory", factory):
        return there.digest
    digest = hashlib.sha256()
    for name, path in sorted(files(factory).items()):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    for own in read:
        digest.update(f"{of_file('model.files', own)}\n".encode())
    return digest.hexdigest()[:16]


def files(factory: str) -> dict[str, Path]:
    """{module: file} of what of_factory reads."""
    module, colon, name = factory.partition(":")
    if not (colon and name and all(part.isidentifier() for part in module.split("."))):
        raise UserError(
            f"model.factory={factory}: must be MODULE:NAME, as in my_package.nets:MyNet"
        )
    top, home = module.split(".")[0], folder(module)
    if home is None or file_of(module, home) is None:
        places = f"{Path.cwd()} or among the installed packages"
        raise UserError(f"model.factory={factory}: no module {module} in {places}")
    alone = "site-packages" in home.parts  # what lies beside it there is others'
    found: dict[str, Path] = {}
    todo = {module}
    while todo:
        here = todo.pop()
        path = file_of(here, home)
        if path and here not in found:
            found[here] = path
            todo |= {
                n
                for n in (*parents(here), *imported(here, path, factory))
                if n.split(".")[0] == top or not (alone or n.split(".")[0] == "ntkrepro")
            }
    return found


def folder(module: str) -> Path | None:
    """Where the module's top package lies; the current folder comes first, as with python -m."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    top = module.split(".")[0]
    try:
        spec = find_spec(top) if top != "__main__" else None  # the command's own, not the user's
    except ValueError:  # a module that was made, not found
        spec = None
    if spec is None:
        return None
    inside = list(spec.submodule_search_locations or [])
    return Path(inside[0] if inside else spec.origin or "").parent


def file_of(module: str, home: Path) -> Path | None:
    stem = home.joinpath(*module.split("."))
    return next((p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file()), None)


def parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def imported(module: str, path: Path, factory: str) -> Iterator[str]:
    """Full names of all that a file's import statements may mean."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UserError(f"model.factory={factory}: {path} is no Python: {error}") from error
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
