"""Whether two folders of records hold the same runs with the same bits; provenance aside.

    ntkrepro reproduce scale=smoke results=before      # with the code as it was
    ntkrepro reproduce scale=smoke results=after       # with the code as it is, on the same machine
    python scripts/compare_records.py before after

Exit code 1, and a line for each run that differs or that one folder lacks.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = ("model", "quantity", "split")
COLUMNS = ["step", "time", *TEXT, "index", "value"]  # `run` is the file's name


def difference(one: Path, other: Path) -> str:
    """What differs between two records; empty where nothing does."""
    a, b = (pq.read_table(path, columns=COLUMNS) for path in (one, other))
    if a.schema.metadata[b"config"] != b.schema.metadata[b"config"]:
        return "config"
    if len(a) != len(b):
        return f"{len(a)} rows, {len(b)}"
    columns = [name for name in a.schema.names if values(a, name) != values(b, name)]
    return f"columns {', '.join(columns)}" if columns else ""


def values(table: pa.Table, name: str) -> list[str] | bytes:
    column = table[name]
    return column.to_pylist() if name in TEXT else column.to_numpy().tobytes()


def main(before: str, after: str) -> None:
    folders = [Path(folder) / "runs" for folder in (before, after)]
    names = [{path.name for path in folder.glob("*.parquet")} for folder in folders]
    both = sorted(names[0] & names[1])
    found = {name: difference(*(folder / name for folder in folders)) for name in both}
    found |= dict.fromkeys(names[0] - names[1], f"not in {after}")
    found |= dict.fromkeys(names[1] - names[0], f"not in {before}")
    for name, what in found.items():
        if what:
            print(f"{name}: {what}")
    same = sum(not what for what in found.values())
    print(f"{same} of {len(found)} runs are the same")
    sys.exit(same < len(found) or not found)


if __name__ == "__main__":
    main(*sys.argv[1:])
