"""One parquet file per run: long and tidy, with its config and provenance in the metadata.

Columns: run (the id), step int32, time float64 (lr * step), model, quantity, split, index int32,
value float64; texts are dictionary-encoded. Readable by pandas, polars or DuckDB without this
package, one file or the folder. A file that exists is done; it appears whole or not at all, and a
seal (files.py) over all of its bytes tells whether it still is.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ntkrepro.config.identity import RECORDS_VERSION, Run, as_dict, beside, stored_id
from ntkrepro.errors import RunFailed, UserError, warn
from ntkrepro.files import BLANK, MARK, is_whole, remove_unfinished, sealed
from ntkrepro.records import archive

T = TypeVar("T")
TEXT = pa.dictionary(pa.int32(), pa.string())
ROWS = pa.schema(
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


class Damaged(Exception):
    """A file that is not what was written: proven, not guessed from an error on reading it."""


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
        moved = self.rows.loc[self.rows["step"] > 0, ["step", "time"]]
        if moved.empty:  # no step was made: the rows don't know
            return self.provenance.get("lr", self.config["optimizer"]["lr"])
        first = moved.loc[moved["step"].idxmin()]
        return float(first["time"] / first["step"])


def write(run: Run, frame: pd.DataFrame, provenance: dict[str, Any]) -> None:
    """Write a finished run. Raises RunFailed where the disk refuses; no part of it remains then."""
    experiment = run.experiment
    lr = provenance.get("lr", experiment.optimizer.lr)
    frame = frame.assign(time=lr * frame["step"])
    table = pa.Table.from_pandas(frame[ROWS.names], ROWS, preserve_index=False)
    metadata = {
        "config": json.dumps(as_dict(experiment)),
        "provenance": json.dumps(provenance),
        "records_version": str(RECORDS_VERSION),
    }
    write_rows(run.path, table.replace_schema_metadata(metadata))


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write a record of these rows, with its id as their first column, and a seal."""
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), [path.stem])
    table = rows.add_column(0, "run", ids)
    with (
        sealed(path) as file,
        pq.ParquetWriter(
            file,
            table.schema,
            compression="zstd",
            compression_level=9,
            use_dictionary=[name for name in table.schema.names if name != "value"],
            use_byte_stream_split=["value"],  # a third smaller
            write_page_checksum=True,
        ) as writer,
    ):
        writer.write_table(table)
        writer.add_key_value_metadata({"digest": BLANK.decode()})


def refuse_unwritable(run: Run) -> None:
    """Raises RunFailed where the record could not be written: before the work, not after it."""
    folder = run.path.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise RunFailed(f"can't write {folder}: {there} is no folder that may be written to")


def tidy(run: Run) -> None:
    """Remove what only a run on its way needs. For who holds its lock."""
    checkpoint = run.beside("checkpoint")
    checkpoint.unlink(missing_ok=True)
    for path in (run.path, checkpoint):
        remove_unfinished(path)


def remove_empty_folders(run: Run) -> None:
    """Those that a run made which was refused before it wrote anything."""
    records = run.path.parent
    with suppress(OSError):
        if records.exists():
            records.rmdir()
        run.beside("lock").parent.rmdir()
        records.parent.rmdir()


def is_done(path: Path) -> bool:
    """Whether a run is stored. Sets aside and raises as `read` does."""
    return _read(path, lambda: _about(path)) is not None


def read(path: Path) -> Record | None:
    """A stored run, or none where there is none. A damaged file is set aside, as <id>.corrupt.

    Raises RunFailed where the disk keeps it from being read or set aside, UserError for a record
    from before there were seals.
    """
    return _read(path, lambda: _record(path))


def _record(path: Path) -> Record:
    config, provenance = _about(path)
    rows = pq.read_table(path, columns=ROWS.names).to_pandas()
    return Record(rows, config, provenance, path.stem)


def _about(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and provenance of a whole record. Raises Damaged, OSError, UserError."""
    if not is_whole(path):
        refuse_unsealed(path)
        raise Damaged("its bytes are not those that were written")
    metadata = pq.read_schema(path).metadata
    config, provenance = (json.loads(metadata[key]) for key in (b"config", b"provenance"))
    if stored_id(config, int(metadata[b"records_version"])) != path.stem:
        raise Damaged("its config is another run's")
    return config, provenance


def refuse_unsealed(path: Path) -> None:
    """Raises UserError for a record from before there were seals: it has no column `run`."""
    content = path.read_bytes()
    if MARK in content:
        return
    try:
        old = pq.read_schema(pa.BufferReader(content)).names == ROWS.names
    except (pa.ArrowException, OSError, ValueError):
        return
    if old:
        raise UserError(
            f"{path}: a record from before records had seals; "
            f"`python scripts/seal_records.py {path.parent}` gives it one"
        )


def _read(path: Path, what: Callable[[], T]) -> T | None:
    try:
        archive.unpack(path.parent)
        return what()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Damaged as error:
        set_aside(path, str(error))
        return None
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or error
        raise RunFailed(f"can't read {path}: {why}") from error


def set_aside(path: Path, why: str) -> None:
    """Raises RunFailed where the disk refuses: the file stays then."""
    aside = beside(path, "corrupt")
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        path.replace(aside)
    except FileNotFoundError:  # another process did it
        return
    except OSError as error:
        raise RunFailed(
            f"{path} is damaged ({why}) and can't be set aside: {error.strerror or error}"
        ) from error
    warn(f"{path} is damaged ({why}); set aside as {aside}")
