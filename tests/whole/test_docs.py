"""What the documents tell to type is typed, and what they show is what comes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COMMAND

ROOT = Path(__file__).parents[2]
DOCS = sorted(ROOT.glob("docs/*.md"))
CHECKOUT = ("extend.md",)  # typed at the top of a checkout, the others in an empty folder
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TESTS = "pytest -q -p no:cacheprovider tests/whole/test_concepts.py tests/whole/test_layout.py"
TESTS += " tests/config tests/figures/test_catalog.py"
RUN = re.compile(r"[0-9a-f]{16}")


def alike(shown, came):
    """Word by word: ids of runs aside, numbers to 5 %, and whole ones (points of accuracy) to 1."""
    pair = [RUN.sub("ID", text).split() for text in (shown, came)]
    return len(pair[0]) == len(pair[1]) and all(map(same, *pair))


def same(shown, came):
    try:
        pair = [float(word.strip("(),;")) for word in (shown, came)]
    except ValueError:
        return shown == came
    return pair[1] == pytest.approx(pair[0], 0.05, 1 if pair[0].is_integer() else 1e-9)


def changed(text, diff):
    """The text with the lines of a diff added where its other lines stand."""
    lines = diff.splitlines(keepends=True)
    old, new = ("".join(line[1:] for line in lines if line[0] in signs) for signs in (" ", " +"))
    assert text.count(old) == 1, diff
    return text.replace(old, new)


@pytest.fixture
def folder(path, tmp_path):
    """Where a document's blocks are typed."""
    if path.name in CHECKOUT:
        for part in ("ntkrepro", "configs", "tests", "scripts"):
            shutil.copytree(ROOT / part, tmp_path / part)
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_block_runs_as_written(path, folder):
    """Named blocks become the files they name; text is what the commands before it print. What is
    added to a checkout leaves its tests green.
    """
    printed = ""
    blocks = BLOCK.findall(path.read_text())
    assert {language for language, _, _ in blocks} <= {"python", "yaml", "diff", "sh", "text"}
    for language, name, body in blocks:
        if language in ("python", "yaml"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(body)
        elif language == "diff":
            (folder / name).write_text(changed((folder / name).read_text(), body))
        elif language == "text":
            assert alike(body, printed), f"shown:\n{body}\ncame:\n{printed}"
        else:
            printed = typed(body, folder)
    if path.name in CHECKOUT:
        typed(f"{sys.executable} -m {TESTS}", folder)


def typed(words, folder):
    """What these commands print."""
    search = os.pathsep.join((str(COMMAND.parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", words],
        cwd=folder,
        env=os.environ | {"PATH": search, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}{done.stderr}"
    return done.stdout
