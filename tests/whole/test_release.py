"""What is installed from a wheel, where no checkout is near; and what its version is."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import NOT_INHERITED, TINY

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def done(command, folder, **environment):
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    given = {"cwd": folder, "env": inherited | environment, "capture_output": True, "text": True}
    ran = subprocess.run([sys.executable, *command], timeout=300, **given)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_wheel_runs_and_draws_in_an_empty_folder(tmp_path):
    place, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    done(["-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], ROOT)
    (wheel,) = tmp_path.glob(f"ntkrepro-{VERSION}-*.whl")
    install = ["-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(place)]
    done([*install, str(wheel)], empty)
    here = {"PYTHONPATH": str(place)}
    code = "import ntkrepro; print(ntkrepro.__file__)"
    assert done(["-c", code], empty, **here).strip() == f"{place}/ntkrepro/__init__.py"
    words = ["scale=smoke", *TINY]
    done(["-m", "ntkrepro", "run", *words], empty, **here)
    done(["-m", "ntkrepro", "figures", "digits", *words], empty, **here)
    done(["-m", "ntkrepro", "bundle", "digits", *words, "own.zip"], empty, **here)
    assert {path.name for path in empty.iterdir()} == {"results", "own.zip"}
    assert list(empty.glob("results/figures/smoke/digits-*.png"))


def test_the_version_is_one_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION
    heads = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line[:3] == "## "]
    assert VERSION in [head.split()[1] for head in heads]
