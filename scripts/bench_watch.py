"""Whether a step or a kernel lost speed since the numbers in scripts/speeds.json.

    python scripts/bench_watch.py [--kernels] [--write] [--repeats 7]

Measures the rows of bench_step.py and, with --kernels, this package's own of bench_kernels.py. A
row's number is its time in 4096^3 products of the same moment, so the machine's own speed drops
out; what is kept is kept for a machine class: the processor's model and its cores. Exit 1 where a
row takes more than 1.2 times what was kept. --write keeps the rows measured: on quiet cores, and
with the commit that changes them. Not for CI, whose machines are shared.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import joblib

KEPT = Path(__file__).with_name("speeds.json")
MOST = 1.2  # times what was kept

Worths = dict[str, float]  # of every row, in products


def machine(cpuinfo: str, cores: int) -> str:
    """The class, from /proc/cpuinfo: virtual machines' model names alone don't tell generations."""
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in reversed(list(pairs))}
    name = facts.get("model name") or platform.processor() or platform.machine()
    model = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([name, *model, f"{cores} cores"])


def compare(kept: Worths, now: Worths) -> tuple[list[str], bool]:
    """A line a row, and whether any row lost."""
    lines, lost = [], False
    for row in kept | now:
        note = "not measured" if row in kept else f"{now[row]:.4f} products, new"
        if row in now and row in kept:
            slower = not now[row] <= MOST * kept[row]
            note = f"{now[row]:.4f} products, {now[row] / kept[row]:.2f} x what was kept"
            note += "  SLOWER" * slower
            lost |= slower
        lines.append(f"{row:30} {note}")
    return lines, lost


def measured(kernels: bool, repeats: int) -> Worths:
    import bench_kernels  # beside this file, where a script finds them
    import bench_step
    import jax

    def clock(row: str) -> bench_step.Clock:
        work = bench_kernels.work(row)
        jax.block_until_ready(work())
        return lambda: bench_step.seconds(work)

    jax.config.update("jax_default_matmul_precision", "highest")
    clocks = bench_step.connected(bench_step.options().parse_args([]))[0]
    clocks |= bench_step.convolutional()
    clocks |= {row: clock(row) for row in bench_kernels.ROWS if kernels}
    return {name: row.worth for name, row in bench_step.measure(clocks, repeats).items()}


def watch(path: Path, name: str, now: Worths, write: bool) -> int:
    """The exit status; with `write`, `path` has `now` from here on."""
    known = json.loads(path.read_text()) if path.exists() else {}
    kept = known.get(name, {})
    lines, lost = compare(kept, now)
    print(*lines, sep="\n")
    if write:
        known[name] = kept | {row: float(f"{worth:.4g}") for row, worth in now.items()}
        path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
        return 0
    if not kept:
        print(f"{path.name} has no numbers of this machine: {name}; --write keeps these")
    return int(lost)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    cpuinfo = Path("/proc/cpuinfo")
    name = machine(cpuinfo.read_text() if cpuinfo.exists() else "", joblib.cpu_count())
    sys.exit(watch(KEPT, name, measured(args.kernels, args.repeats), args.write))


if __name__ == "__main__":
    main()
