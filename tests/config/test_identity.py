import hashlib
import json
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.config import identity
from ntkrepro.config.catalog import experiments
from ntkrepro.config.compose import compose, expand
from ntkrepro.config.identity import (
    LABELS,
    RECORDS_VERSION,
    Run,
    as_dict,
    flat,
    grid_id,
    run_id,
    stored_id,
)
from ntkrepro.config.rules import USES, check
from ntkrepro.config.schema import Data, Experiment, Log, Scale
from ntkrepro.errors import UserError

# valid with another key, or with files of the user's own
NOT_ALONE = {"data.name", "data.digest", "model.factory", "model.digest"}
NOT_ALONE |= {key for key, use in USES.items() if not use.holds(Experiment())}
FIELDS = [key for key in flat(Experiment()) if key not in LABELS]
GOLDEN = json.loads(Path(__file__).parents[1].joinpath("golden_ids.json").read_text())


def base():
    """Two classes and images as they are, so that every field has another valid value."""
    return Experiment(data=Data(classes=["3", "8"], test=100, subspace=False))


def another(value):
    """A valid value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    if isinstance(value, list):
        return value[::-1] or [1]
    if value is None:
        return 1
    return value + (1 if isinstance(value, int) else 0.25)


def perturbed(key):
    experiment = base()
    *path, name = key.split(".")
    owner = attrgetter(*path)(experiment) if path else experiment
    setattr(owner, name, another(getattr(owner, name)))
    return experiment


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("name", experiments())
def test_ids_of_stored_runs_stay(name, scale):
    runs = expand([f"experiment={name}", f"scale={scale.name}"])
    assert [run.id for run in runs] == GOLDEN[name][scale.name], "scripts/write_golden.py"
    assert {(run.experiment.name, run.experiment.scale) for run in runs} == {(name, scale)}
    assert len({run.id for run in runs}) == len(runs)


NUMBERS = st.floats(1e-6, 1e6) | st.integers(1, 99).map(float)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 10**9),
        "model.w_var": NUMBERS,
        "optimizer.lr": NUMBERS,
        "data.classes": st.lists(st.integers(0, 9), min_size=2, max_size=2, unique=True),
    },
)
LABELLED = ["results=there", "data.dir=there", "name=mine", "checkpoint=1", "pack=4", "workers=3"]


@settings(max_examples=20, deadline=None)
@given(st.data(), VALUES, st.sets(st.sampled_from(LABELLED)))
def test_run_id_does_not_depend_on_notation_order_and_labels(data, values, labels):
    def otherwise(value):
        if isinstance(value, float):
            return f"{value:{data.draw(st.sampled_from(['.17g', '.17e']))}}"
        return [str(item) for item in value] if isinstance(value, list) else value

    words = [*(f"{key}={otherwise(value)}" for key, value in values.items()), *labels]
    plain = compose(f"{key}={value}" for key, value in values.items())
    assert compose(data.draw(st.permutations(words))).id == plain.id


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["model.width=64", "model.width=512"], []),
        (["optimizer.batch=null"], []),
        (["experiment=digits", "model.activation=relu", "data.seed=0"], []),
        (["scale=laptop"], ["scale=paper"]),  # the digits have the same numbers at both
    ],
)
def test_run_id_does_not_depend_on_what_changes_nothing(first, second):
    assert compose(first).id == compose(second).id


@pytest.mark.parametrize("key", FIELDS)
def test_run_id_depends_on(key):
    if key not in NOT_ALONE:
        check(perturbed(key))
    assert run_id(perturbed(key)) != run_id(base())


def test_run_ids_of_all_these_differ_from_one_another():
    assert len({run_id(perturbed(key)) for key in FIELDS}) == len(FIELDS)


def test_run_id_is_the_hash_of_what_is_not_default(monkeypatch):
    """Spelled out: any other text would orphan every stored record."""
    monkeypatch.setattr(identity, "RECORDS_VERSION", 1)
    text = b'[1, {"data.classes": ["3", "8"], "seed": 3}]'
    experiment = Experiment(seed=3, data=Data(classes=["3", "8"]))
    assert run_id(experiment) == hashlib.sha256(text).hexdigest()[:16]


def test_run_id_keeps_the_first_name_of_a_renamed_key():
    """Of data.points, once data.path: the text that is hashed, and a record's own config."""
    text = f'[{RECORDS_VERSION}, {{"data.path": 11}}]'.encode()
    now = Experiment(data=Data(points=11))
    assert run_id(now) == hashlib.sha256(text).hexdigest()[:16]
    stored = {"data": {"path": 11}}, {"data": {"path": 0}, "seed": 0}, as_dict(now)
    expected = run_id(now), run_id(Experiment()), run_id(now)
    assert tuple(stored_id(s, RECORDS_VERSION) for s in stored) == expected


def test_run_id_stays_when_a_later_version_adds_a_key(monkeypatch):
    before = run_id(base())

    @dataclass
    class LaterLog(Log):
        later: int = 0

    @dataclass
    class Later(Experiment):
        log: LaterLog = field(default_factory=LaterLog)
        later: str = "as before"

    monkeypatch.setattr(identity, "Experiment", Later)
    assert run_id(Later(data=base().data)) == before
    assert run_id(Later(data=base().data, later="new")) != before
    assert run_id(Later(data=base().data, log=LaterLog(later=1))) != before


def test_run_id_changes_with_the_records_version(monkeypatch):
    before = run_id(base())
    monkeypatch.setattr(identity, "RECORDS_VERSION", RECORDS_VERSION + 1)
    assert run_id(base()) != before


@pytest.mark.parametrize("key", ["optimizer.tolerance", "optimizer.floor"])
def test_how_leaps_are_taken_names_a_run_by_leaps_alone(key):
    steps, leaps = compose([]), ["optimizer.solver=leaps"]
    usual = attrgetter(key)(steps.experiment)
    assert compose([f"{key}={usual}"]).id == compose(["optimizer.solver=steps"]).id == steps.id
    assert compose([*leaps, f"{key}={usual}"]).id == compose(leaps).id
    assert len({steps.id, compose(leaps).id, compose([*leaps, f"{key}={2 * usual}"]).id}) == 3
    with pytest.raises(UserError, match=key):
        compose([f"{key}={2 * usual}"])


def test_the_id_of_a_grid_is_that_of_all_its_runs():
    alone, both = (grid_id(expand([f"seed={s}"])) for s in ("5", "5,6"))
    assert alone == compose(["seed=5"]).id != both


def test_a_run_is_found_by_its_id_in_the_folder_of_results():
    run = Run.of(Experiment(results="there"))
    assert run.id == run_id(run.experiment)
    assert run.path == Path("there/runs", f"{run.id}.parquet")
    assert run.beside("lock") == Path("there/unfinished", f"{run.id}.lock")
