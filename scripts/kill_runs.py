"""Kill a grid with SIGKILL at random moments, start it again, and compare what it wrote.

  python scripts/kill_runs.py [--kills 50] [--experiments weight_change,wrn_cifar] [--signal KILL]

The grid runs once undisturbed; then again and again with kills at times drawn over that run's
length, from an empty folder each time it comes to its end. Checkpoints are written at every look
at the running program. Exit code 1 if a record is lost or differs in any bit from the undisturbed
one, or a lock, checkpoint or temporary file is left at an end.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

COMMAND = Path(sys.executable).with_name("ntkrepro")


def start(results: Path, words: list[str]) -> "subprocess.Popen[bytes]":
    command = [str(COMMAND), "run", "-m", *words, "checkpoint=0", f"results={results}"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet)


def complete(results: Path, words: list[str]) -> float:
    """Run to the end; seconds."""
    began = time.monotonic()
    code = start(results, words).wait()
    if code:
        sys.exit(f"ntkrepro run -m {' '.join(words)}: exit code {code}")
    return time.monotonic() - began


def rows(results: Path) -> dict[str, bytes]:
    """Record name -> its table, to the bit."""
    out = {}
    for path in (results / "runs").glob("*.parquet"):
        table = pq.read_table(path).replace_schema_metadata(None)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        out[path.name] = sink.getvalue().to_pybytes()
    return out


def compare(results: Path, whole: dict[str, bytes]) -> tuple[int, int, int]:
    """Records that are lost, that differ, and other files that are left."""
    found = rows(results)
    lost = len(whole.keys() - found.keys())
    differ = sum(found[name] != whole[name] for name in whole.keys() & found.keys())
    files = [*(results / "runs").iterdir(), *(results / "unfinished").iterdir()]
    others = [path for path in files if path.suffix != ".parquet"]
    return lost, differ, len(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--experiments", default="weight_change,wrn_cifar")
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE of the grid; default: scale=smoke")
    asked = parser.parse_args()
    words = [f"experiment={asked.experiments}", *(asked.overrides or ["scale=smoke"])]
    rng, number = random.Random(asked.seed), signal.Signals[f"SIG{asked.signal}"]
    with tempfile.TemporaryDirectory() as folder:
        reference, results = Path(folder, "whole"), Path(folder, "killed")
        complete(reference, words)  # compiles
        whole = rows(reference)
        shutil.rmtree(reference)
        seconds = complete(reference, words)
        print(f"{len(whole)} records in {seconds:.1f} s undisturbed", flush=True)
        kills = ends = 0
        totals = (0, 0, 0)
        while kills < asked.kills or results.exists():
            process = start(results, words)
            try:
                code = process.wait(rng.uniform(0, seconds) if kills < asked.kills else None)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                code = process.wait()
                kills += code in (-number, 128 + number)
            if code == 0:
                ends += 1
                now = compare(results, whole)
                totals = tuple(a + b for a, b in zip(totals, now, strict=True))  # type: ignore
                shutil.rmtree(results)
            elif code not in (-number, 128 + number):
                sys.exit(f"exit code {code}")
    lost, differ, left = totals
    print(
        f"{kills} x SIG{asked.signal}, {ends} grids completed: {lost} records lost, "
        f"{differ} with different bits, {left} files left"
    )
    sys.exit(any(totals))


if __name__ == "__main__":
    main()
