"""docs/records.md names every quantity that a record holds."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.programs.run import compute

ROOT = Path(__file__).parents[2]
STORED = sorted((ROOT / "results" / "runs").glob("*.parquet"))

TODAY = ("program=ensemble data.points=5 samples=2", "optimizer.solver=leaps")
TODAY += ("log.norms=true log.fidelity=true log.behaviour=true log.points=8",)
TODAY += ("log.diverged=true optimizer.lr=40", "log.coordinates=true")
TODAY += ("program=drawn_ensemble data.points=5 samples=2",)


def documented(page):
    """{program: names in the first column of the table that follows `program=...`}."""
    parts = re.split(r"^With `program=(\w+)`", page, flags=re.MULTILINE)[1:]
    cells = [re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE) for part in parts[1::2]]
    named = [{name for cell in own for name in re.findall(r"`(\w+)`", cell)} for own in cells]
    return dict(zip(parts[::2], named, strict=True))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """{program: quantities of its committed records, of an ensemble and of leaps of today}."""
    words = ("scale=smoke", "model.width=8", f"results={tmp_path_factory.mktemp('today')}")
    today = [compute(compose([*words, *more.split()])) for more in TODAY]
    found = {}
    for path in (*today, *STORED):
        table = pq.read_table(path, columns=["quantity"])
        program = json.loads(table.schema.metadata[b"config"])["program"]
        found.setdefault(program, set()).update(table["quantity"].unique().to_pylist())
    return found


def test_every_quantity_is_in_the_dictionary(stored):
    names = documented((ROOT / "docs" / "records.md").read_text())
    assert {program: own - names[program] for program, own in stored.items()} == {
        program: set() for program in names
    }


def test_the_dictionary_has_no_quantity_that_no_record_has(stored):
    names = documented((ROOT / "docs" / "records.md").read_text())
    assert {program: own - stored[program] for program, own in names.items()} == {
        program: set() for program in names
    }
