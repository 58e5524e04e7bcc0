"""Which run a config means: its id, and where its record is."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ntkrepro.config.schema import Experiment

# Bump by hand when the same config would give records that differ by more than rounding, which
# compilers and machines decide: then a stored record would be another run's.
RECORDS_VERSION = 2

# where, under which name and in which portions, not what
LABELS = {"name", "scale", "results", "data.dir", "data.path", "model.files", "sweep"}
LABELS |= {"model.params"}
LABELS |= {"checkpoint", "pack", "workers"}
HASHED_AS = {"data.points": "data.path"}  # a key's first name: a renamed key keeps stored runs


class Run(NamedTuple):
    """A config, its `run_id`, and the path of its record, there or to come."""

    experiment: Experiment
    id: str
    path: Path

    @classmethod
    def of(cls, experiment: Experiment) -> "Run":
        name = run_id(experiment)
        return cls(experiment, name, Path(experiment.results) / "runs" / f"{name}.parquet")

    def beside(self, what: str) -> Path:
        """Where a run keeps what is not yet its record."""
        return beside(self.path, what)


def beside(record: Path, what: str) -> Path:
    """unfinished/<id>.<what>, in the folder of runs/: there lie records, and nothing else."""
    return record.parent.parent / "unfinished" / f"{record.stem}.{what}"


def flat(experiment: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, enums by name."""
    out: dict[str, Any] = {}
    for item in fields(experiment):
        value, key = getattr(experiment, item.name), prefix + item.name
        if is_dataclass(value):
            out |= flat(value, key + ".")
        else:
            out[key] = value.name if isinstance(value, Enum) else value
    return out


def run_id(experiment: Experiment) -> str:
    """Name of the run's record: sha256 over what decides its values, first 16 hex digits.

    Labels stay out, and so does whatever equals the schema's default, so that a key added later,
    whose default is today's behaviour, keeps every stored run. A changed default needs a new
    RECORDS_VERSION.
    """
    return _hash(flat(experiment), RECORDS_VERSION)


def grid_id(runs: Iterable[Run]) -> str:
    """The id of one run, and one for all of several."""
    ids = [run.id for run in runs]
    return ids[0] if len(ids) == 1 else hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]


def stored_id(stored: dict[str, Any], version: int) -> str:
    """The run_id of a record's own config (`as_dict`) and version."""
    values: dict[str, Any] = {}
    for key, value in stored.items():
        values |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {}
        values |= {} if isinstance(value, dict) else {key: value}
    if isinstance(values.get("data.path"), int):
        values["data.points"] = values.pop("data.path")
    return _hash(values, version)


@cache
def defaults(schema: type[Experiment]) -> dict[str, Any]:
    return flat(schema())


def _hash(values: dict[str, Any], version: int) -> str:
    default = defaults(Experiment)
    identity = {
        HASHED_AS.get(key, key): value
        for key, value in values.items()
        if key not in LABELS and value != default.get(key)
    }
    text = json.dumps([version, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_dict(experiment: Experiment) -> dict[str, Any]:
    """The config for a record's metadata, JSON-ready, without the folders of this machine."""

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {k: v.name if isinstance(v, Enum) else v for k, v in items}

    out: Any = asdict(experiment, dict_factory=plain)
    del out["data"]["dir"], out["data"]["path"], out["model"]["files"], out["model"]["params"]
    return {key: value for key, value in out.items() if key not in LABELS - {"name", "scale"}}
