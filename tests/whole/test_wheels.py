"""What a machine without a network is given: all that it asks for, and no JAX."""

import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import wheels

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LEFT = {"jax", "jaxlib", "ml-dtypes", "numpy", "opt-einsum", "scipy"}


def names(found):
    return {pin.name for pin in found}


def asked(package, python):
    """What an installed package requires there, its extras aside."""
    there = wheels.LINUX | {"python_version": python, "python_full_version": f"{python}.0"}
    for one in map(Requirement, requires(package) or []):
        if one.marker is None or one.marker.evaluate(there | {"extra": ""}):
            yield canonicalize_name(one.name)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_all_is_there_that_is_asked_for_and_no_jax(python):
    wanted, left = wheels.sorted_out(wheels.pins(LOCK, python), PROJECT["dependencies"], set())
    assert names(left) == LEFT
    assert {canonicalize_name(Requirement(one).name) for one in PROJECT["dependencies"]} <= (
        names(wanted) | LEFT
    )
    for pin in wanted:
        assert set(asked(pin.name, python)) <= names(wanted) | LEFT, pin.name
    assert not names(wanted) & set(PROJECT["optional-dependencies"]["dev"])
    assert len(names(wanted)) == len(wanted)  # of two versions that of this Python
    assert all(" --hash=sha256:" in pin.line and ";" not in pin.line for pin in wanted)


def test_what_the_machine_has_is_left_out_too():
    found = wheels.pins(LOCK, "3.12")
    every, _ = wheels.sorted_out(found, PROJECT["dependencies"], set())
    wanted, left = wheels.sorted_out(found, PROJECT["dependencies"], {"pandas", "flax"})
    assert names(every) - names(wanted) == {"pandas", "flax"} == names(left) - LEFT


def test_the_script_for_an_accelerator_is_bash():
    script = ROOT / "scripts/accelerator.sh"
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & 0o111
