"""What the documents tell to type is typed, and what they show is what comes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ntkrepro.cli import options_of
from ntkrepro.config.keys import KEYS
from ntkrepro.config.words import read, split_hydra
from ntkrepro.figures import asked
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


ASKED = [ROOT / "README.md", ROOT / "results/claims.md", *DOCS]
ASKED += [path for path in ROOT.glob("configs/**/*.yaml") if path.parent.name != "claims"]
ASKED += [ROOT / "ntkrepro/figures/reasons.yaml"]
SET = re.compile(rf"(?<![\w.'\"])(?:{'|'.join(map(re.escape, KEYS))})=[^\s|]+")


@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.name)
def test_no_word_that_is_shown_means_something_to_bash(path):
    """Of KEY=VALUE in prose, comments and commands; what stands in quotes is not looked at."""
    text = re.sub(r"^```(python|yaml|diff).*?^```$", "", path.read_text(), flags=re.M | re.S)
    found = [word.rstrip("`.,;:)") for word in SET.findall(text.replace("=paper]", "=paper"))]
    assert [word for word in found if shlex.quote(word) != word] == []


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results/claims.md", *DOCS]
LINES = [  # of blocks without a language, which are only read
    line
    for path in (ROOT / "README.md", *DOCS)
    for block in re.findall(r"^```\n(.*?)^```$", path.read_text(), re.M | re.S)
    for line in block.splitlines()
    if line.startswith("ntkrepro")
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize("line", LINES)
def test_what_is_only_shown_is_read(line):
    """As bash hands it over: each command, its options, and every word."""
    script = f"ntkrepro() {{ printf '%s\\0' \"$@\" $'\\n'; }}; {line}"
    for typed in subprocess.check_output(["bash", "-c", script], text=True).split("\n\0")[:-1]:
        read_one(*typed.split("\0")[:-1])


def read_one(command, *words):
    _, words = options_of(command, words)
    if "grid" in words:  # x=KEY and the like are no keys of a config
        _, words = asked.read([word for word in words if "=" in word])
    hydra, _ = split_hydra(words)
    assert len(hydra) == sum("hydra" in word for word in words)
    of_command = ("budget=",) if command == "reproduce" else ()  # no key of a config
    read(word for word in words if "=" in word and not word.startswith(of_command))


def test_the_readmes_python_runs(tmp_path, monkeypatch, capsys):
    """One block after another, as cells of a notebook; text is what the one before printed."""
    monkeypatch.chdir(tmp_path)
    printed, cells = "", {}
    for language, name, body in BLOCK.findall((ROOT / "README.md").read_text()):
        if language == "python":
            exec(compile(body, name, "exec"), cells)
            printed = capsys.readouterr().out
        elif language == "text":
            assert alike(body, printed), f"shown:\n{body}\ncame:\n{printed}"
    assert "split" in printed


LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    """To a file of the checkout, and to a heading of it."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", path.read_text(), flags=re.M | re.S)
    links = {"".join(found) for found in LINK.findall(text)}
    lost = [link for link in links if not link.startswith("http") and not there(path, link)]
    assert lost == []


def there(path, link):
    file, _, heading = link.partition("#")
    to = path.parent / file if file else path
    return to.exists() and (not heading or heading in anchors(to.read_text()))


def anchors(text):
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_key_stands_on_its_page():
    page = (ROOT / "docs/keys.md").read_text()
    assert [name for name in KEYS if f"\n| `{name}` | `" not in page] == []


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
