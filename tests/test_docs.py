"""What the documents tell to type is typed, and what they show is what comes."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import COMMAND

DOCS = sorted(Path(__file__).parents[1].glob("docs/*.md"))
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_block_runs_as_written(path, tmp_path):
    """Python blocks become the files they name; text is what the commands before it print."""
    search = os.pathsep.join((str(COMMAND.parent), os.environ["PATH"]))
    printed = ""
    blocks = BLOCK.findall(path.read_text())
    assert {language for language, _, _ in blocks} <= {"python", "sh", "text"}
    for language, name, body in blocks:
        if language == "python":
            (tmp_path / name).write_text(body)
        elif language == "text":
            assert alike(body, printed), f"shown:\n{body}\ncame:\n{printed}"
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", body],
                cwd=tmp_path,
                env=os.environ | {"PATH": search},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{body}\n{done.stderr}"
            printed = done.stdout
