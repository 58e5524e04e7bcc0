"""Wheels for a Linux x86-64 machine without a network that has a JAX of its own.

    python scripts/wheels.py 3.12 [PACKAGE ...]

Fills accelerator/wheels/ with what requirements.lock pins for that Python, and this project's own
wheel. Left out are JAX, what JAX itself brings (NumPy and SciPy among it), and each PACKAGE that
that machine is known to have. Needs pip's package index.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "accelerator/wheels"
GLIBC = range(5, 29)  # whose second number is at most this
JAX = {"jax", "jaxlib"}
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
LINUX |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}


class Pin(NamedTuple):
    """A package of the lock file: its name, those that ask for it, and a line for pip, without its
    marker, which pip would hold against the Python that runs it."""

    name: str
    via: set[str]
    line: str


def pins(lock: str, python: str) -> list[Pin]:
    """Those that are for Linux and this Python ("3.12")."""
    here = LINUX | {"python_version": python, "python_full_version": f"{python}.0"}
    found = []
    for lines in re.findall(r"^\w.*\n(?: .*\n?)*", lock, re.M):
        text, *comments = lines.split("#")
        first, *hashes = text.replace("\\", "").splitlines()
        asked = Requirement(first)
        via = {word for c in comments for word in c.split()[:2] if word != "via"}
        if asked.marker is None or asked.marker.evaluate(here):
            line = " ".join([f"{asked.name}{asked.specifier}", *map(str.strip, hashes)])
            found.append(Pin(canonicalize_name(asked.name), via, line))
    return found


def sorted_out(found: list[Pin], project: list[str], had: set[str]) -> tuple[list[Pin], list[Pin]]:
    """Pins that the project's own requirements lead to: wanted, and left out."""
    wanted: set[str] = {canonicalize_name(Requirement(one).name) for one in project}
    size = 0
    while size < len(wanted):
        size = len(wanted)
        wanted |= {pin.name for pin in found if pin.via & wanted}
    mine = [pin for pin in found if pin.name in wanted]
    left = [pin for pin in mine if pin.name in JAX | had or pin.via & JAX]
    return [pin for pin in mine if pin not in left], left


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)


def fill(wanted: list[Pin], python: str) -> None:
    """Wheels for that machine; what has none is built here, and must then be for any machine."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in reversed(GLIBC)]
    target = ["--implementation=cp", f"--python-version={python}", *platforms]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pin.line for pin in wanted))
        file.flush()
        pip(
            "download",
            "-q",
            "--no-deps",
            f"-d{FOLDER}",
            *target,
            "--require-hashes",
            "-r",
            file.name,
        )
    if len(list(FOLDER.iterdir())) != len(wanted):
        sys.exit("pip has left some out")
    sources = [path for path in FOLDER.iterdir() if path.suffix != ".whl"]
    for source in (*sources, ROOT):
        before = set(FOLDER.iterdir())
        pip("wheel", "-q", "--no-deps", f"-w{FOLDER}", str(source))
        (built,) = set(FOLDER.iterdir()) - before
        if not built.name.endswith("-none-any.whl"):
            sys.exit(
                f"{source.name}: there is no wheel for Python {python}; name it to leave it out"
            )
    for source in sources:
        source.unlink()


def main() -> None:
    python, *had = sys.argv[1:] or sys.exit(__doc__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = pins((ROOT / "requirements.lock").read_text(), python)
    wanted, left = sorted_out(found, project, {canonicalize_name(name) for name in had})
    fill(wanted, python)
    size = sum(path.stat().st_size for path in FOLDER.iterdir()) / 2**20
    print(f"{FOLDER}: {len(wanted) + 1} wheels for Python {python}, {size:.0f} MiB")
    print(f"left out, that machine has its own: {' '.join(pin.name for pin in left)}")


if __name__ == "__main__":
    main()
