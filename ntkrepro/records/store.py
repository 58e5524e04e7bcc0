"""One parquet file per run: long and tidy, with its config and provenance in the metadata.

Columns: step int32, time float64 (lr * step), model, quantity, split (dictionary-encoded strings),
index int32, value float64. Readable by pandas, polars or DuckDB without this package. A file that
exists is done; it appears whole or not at all.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ntkrepro.config.identity import RECORDS_VERSION, Run, as_dict, stored_id
from ntkrepro.errors import RunFailed
from ntkrepro.files import atomic, remove_unfinished

T = TypeVar("T")
TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("time", pa.float64()),
        ("model", TEXT),
        ("quantity", TEXT),
        ("split", TEXT),
        ("index", pa.int32()),
        ("value", pa.float64()),
    ]
)


class Record(NamedTuple):
    """A run: its rows, the config that names it, and where and with what it was computed.

    `id` names its file. `paper`: its numbers are the paper's own, all of them; set by who asked for
    the record.
    """

    rows: pd.DataFrame
    config: dict[str, Any]
    provenance: dict[str, Any]
    id: str = ""
    paper: bool = False

    @property
    def lr(self) -> float:
        """The learning rate of the run, which optimizer.lr_over_critical may have set."""
        return self.provenance.get("lr", self.config["optimizer"]["lr"])


def write(run: Run, frame: pd.DataFrame, provenance: dict[str, Any]) -> None:
    """Write a finished run. Raises RunFailed where the disk refuses; no part of it remains then."""
    experiment = run.experiment
    lr = provenance.get("lr", experiment.optimizer.lr)
    frame = frame.assign(time=lr * frame["step"])
    table = pa.Table.from_pandas(frame[SCHEMA.names], SCHEMA, preserve_index=False)
    metadata = {
        "config": json.dumps(as_dict(experiment)),
        "provenance": json.dumps(provenance),
        "records_version": str(RECORDS_VERSION),
    }
    with atomic(run.path) as file:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            file,
            compression="zstd",
            compression_level=9,
            use_dictionary=[name for name in SCHEMA.names if name != "value"],
            use_byte_stream_split=["value"],  # a third smaller
            write_page_checksum=True,
        )


def refuse_unwritable(run: Run) -> None:
    """Raises RunFailed where the record could not be written: before the work, not after it."""
    folder = run.path.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise RunFailed(f"can't write {folder}: {there} is no folder that may be written to")


def tidy(run: Run) -> None:
    """Remove what only a run on its way needs. For who holds its lock."""
    run.beside("checkpoint").unlink(missing_ok=True)
    remove_unfinished(run.path)


def remove_empty_folders(run: Run) -> None:
    """Those that a run made which was refused before it wrote anything."""
    folder = run.path.parent
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def is_done(path: Path) -> bool:
    """Whether a run is stored, by its file's footer. A damaged file is set aside as `.corrupt`."""
    return path.is_file() and _read(path, lambda: _named(pq.read_schema(path), path)) is not None


def read(path: Path) -> Record | None:
    """A stored run, or none where there is none. A damaged file is set aside as `.corrupt`."""
    return _read(path, lambda: _record(path)) if path.is_file() else None


def _record(path: Path) -> Record:
    table = pq.read_table(path, page_checksum_verification=True)
    config, provenance = _named(table.schema, path)
    return Record(table.to_pandas(), config, provenance, path.stem)


def _named(schema: pa.Schema, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and provenance. Raises ValueError or KeyError where they are not this file's."""
    metadata = schema.metadata or {}
    config, provenance = (json.loads(metadata[key]) for key in (b"config", b"provenance"))
    if stored_id(config, int(metadata[b"records_version"])) != path.stem:
        raise ValueError("its config is another run's")
    return config, provenance


def _read(path: Path, what: Callable[[], T]) -> T | None:
    try:
        return what()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        aside = path.with_suffix(path.suffix + ".corrupt")
        path.replace(aside)
        print(f"warning: {path} is damaged ({error}); set aside as {aside}", file=sys.stderr)
        return None
