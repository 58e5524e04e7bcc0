"""Give records from before there were seals their column `run` and a seal, in place.

    python scripts/seal_records.py results/runs

A record is replaced once its new file has the same rows, bit by bit, and the same config and
provenance. Sealed records stay as they are. Failure notes, checkpoints and damaged records that lie
among them go to where they lie now, unfinished/. Exit code 1, and a line for each record that stays
unsealed because it is damaged.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ntkrepro.config.identity import beside, stored_id
from ntkrepro.files import is_whole
from ntkrepro.records import store


def seal(path: Path) -> None:
    """Raises ValueError or one of pyarrow's errors where a record is damaged."""
    old = pq.read_table(path, page_checksum_verification=True)
    about = old.schema.metadata
    if not old.schema.equals(store.ROWS):
        raise ValueError(f"its columns are {', '.join(old.schema.names)}")
    if stored_id(json.loads(about[b"config"]), int(about[b"records_version"])) != path.stem:
        raise ValueError("its config is another run's")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        copy = Path(folder, path.name)
        store.write_rows(copy, old)
        new = pq.read_table(copy)
        same = bits(new.drop_columns("run")) == bits(old) and new.schema.metadata == about
        if not (same and is_whole(copy) and new["run"].unique().to_pylist() == [path.stem]):
            raise ValueError("its copy differs")
        os.replace(copy, path)


def bits(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, store.ROWS) as writer:
        writer.write_table(table.replace_schema_metadata(None).combine_chunks())
    return sink.getvalue().to_pybytes()


def move_others(folder: Path) -> None:
    elsewhere = beside(folder / "any", "lock").parent
    for path in folder.glob("[!.]*"):
        if path.suffix != ".parquet":
            elsewhere.mkdir(exist_ok=True)
            path.rename(elsewhere / path.name.replace(".parquet.", "."))


def main(folder: str) -> None:
    sealed, damaged = 0, 0
    move_others(Path(folder).absolute())
    for path in sorted(Path(folder).glob("*.parquet")):
        try:
            if not is_whole(path):
                seal(path)
                sealed += 1
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            print(f"{path}: {error}")
            damaged += 1
    print(f"{sealed} records sealed, {damaged} damaged")
    sys.exit(bool(damaged))


if __name__ == "__main__":
    main(*sys.argv[1:])
