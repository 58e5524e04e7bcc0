"""What a record says of where it comes from: the program's own commit, and no folder."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ntkrepro
from ntkrepro.records.provenance import KEYS, provenance

PROJECT = '[project]\nname = "{}"\n'
ASK = "from ntkrepro.records import provenance; print(provenance.commit())"
PLACES = ("results", "data.dir", "data.path", "hydra.run.dir", "hydra.launcher.submitit_folder")


@pytest.fixture
def installed(tmp_path):
    """installed(folder): the package, copied into a folder of a user's repository."""

    def copy(folder):
        shutil.copytree(
            Path(ntkrepro.__file__).parent,
            tmp_path / folder / "ntkrepro",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        git(tmp_path, "init", "--quiet")
        return tmp_path / folder

    return copy


def git(folder, *words):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(root, **environment):
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def committed(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["mine", "ntkrepro"])
@pytest.mark.parametrize("folder", [".", "vendor"])
def test_the_commit_is_that_of_this_project_or_none(tmp_path, installed, name, folder):
    """Whatever repository the package was installed into, or copied into and committed to."""
    root = installed(folder)
    (root / "pyproject.toml").write_text(PROJECT.format(name))
    head = committed(tmp_path)
    own = (name, folder) == ("ntkrepro", ".")
    assert commit(root) == (head if own else "None")
    (root / "pyproject.toml").write_text(PROJECT.format(name) + "# changed")
    assert commit(root) == (f"{head}+" if own else "None")


def test_a_package_that_its_repository_does_not_track_has_no_commit(tmp_path, installed):
    (tmp_path / ".gitignore").write_text("ntkrepro")
    (tmp_path / "pyproject.toml").write_text(PROJECT.format("ntkrepro"))
    root = installed(".")
    committed(tmp_path)
    assert commit(root) == "None"


def test_a_hook_of_another_repository_lends_no_commit(tmp_path, installed):
    """Git gives its hooks the repository in the environment. That one has the same files."""
    for folder in ("elsewhere", "here"):
        root = installed(folder)
        (root / "pyproject.toml").write_text(PROJECT.format("ntkrepro"))
        git(root, "init", "--quiet")
        committed(root)
        git(root, "commit", "--quiet", "--allow-empty", "--message", folder)
    head = git(root, "rev-parse", "HEAD")
    assert commit(root, GIT_DIR=str(tmp_path / "elsewhere/.git")) == head


FOLDER = st.sampled_from(["/home/me", "/home/my data", "~/me", "C:\\me", "../me", "/me/seed=1"])
FORMS = st.sampled_from(["{}", "'{}'", "[{}]", "[a.txt,{}]", "{{path: {}}}", "x,{}", "{}/x.npz"])


@given(
    st.sampled_from(["", "+", "++", "~"]),
    st.sampled_from([*PLACES, "hydra.sweep.dir", "model.files", *sorted(KEYS)]),
    FORMS,
    FOLDER,
)
def test_no_folder_stays_in_the_command(prefix, key, form, folder):
    """Whatever the prefix, the key and the way it is written; and the other words stay."""
    word = f"{prefix}{key}={form.format(folder)}"
    words = ["ntkrepro", "run", "seed=1", word, "--config-dir", folder, f"-cd={folder}", "-m"]
    assert provenance(words, {})["command"] == "ntkrepro run seed=1 -m"


@given(st.sampled_from(["", "+", "++", "~"]), st.sampled_from(PLACES))
def test_no_place_stays_in_the_command(prefix, key):
    """Be it a name in the current folder."""
    words = ["ntkrepro", "run", f"{prefix}{key}=mine", f"{prefix}{key}"]
    assert provenance(words, {})["command"] == "ntkrepro run"


def test_what_says_what_is_computed_stays():
    words = ["-m", "--force", "experiment=fc_cifar", "scale=smoke", "model.factory=nets:MyNet"]
    words += ["model=custom", "seed=0,1", "optimizer={lr: 0.1}", "++pack=2"]
    words += ["hydra/launcher=joblib", "+log.points=3", "~sweep"]
    words = ["ntkrepro", "run", *words]
    assert shlex.split(provenance(words, {})["command"]) == words
