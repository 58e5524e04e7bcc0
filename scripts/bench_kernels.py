"""Kernels against neural-tangents 0.6.5 on its newest working JAX: same machine, same run.

    python scripts/bench_kernels.py [--repeats 9] [--passes 2] [ROW ...]

Installs the peer into .peer/ (Python 3.11, once). Every row runs as a fresh process of each side in
turn, `--passes` times; printed are the medians of the warm calls, the first call with its compile,
and the peer's warm median over ours. Rows: empirical:DEPTH:WIDTH:POINTS:OUTPUTS (full output axes)
of ReLU networks, cnn:DEPTH:CHANNELS:POINTS:OUTPUTS of tanh ones with global average pooling,
analytic:ACTIVATION:DEPTH:POINTS; float32, 3072 inputs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
PEER = HERE.parent / ".peer"
PINS = (
    "neural-tangents==0.6.5",
    "jax==0.4.25",
    "jaxlib==0.4.25",
    "tf2jax==0.3.6",
    "numpy==1.26.4",
    "scipy==1.12.0",
)
ROWS = (
    "empirical:5:2048:64:1",
    "empirical:5:2048:256:1",
    "empirical:3:512:256:1",
    "empirical:2:512:32:10",
    "cnn:3:128:16:1",
    "analytic:relu:5:2048",
    "analytic:erf:3:2048",
    "analytic:tanh:3:512",
    "analytic:tanh:3:2048",
)
TOO_LARGE = ("analytic:tanh:3:2048",)  # the peer asks for 31.5 GB at once

NOTHING: dict = {"first": float("nan"), "warm": [float("nan")]}


def install_peer() -> Path:
    """Python of an environment that holds the peer."""
    python = PEER / "bin" / "python"
    if not (PEER / "installed").exists():
        subprocess.run(["python3.11", "-m", "venv", PEER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
        (PEER / "installed").touch()
    return python


def work(row: str) -> Callable[[], object]:
    """The same work as peer_kernels.py, by this package."""
    import jax

    from ntkrepro.networks import architectures, functions
    from ntkrepro.theory.kernels import analytic, empirical

    kind, *numbers = row.split(":")
    if kind in ("empirical", "cnn"):
        depth, width, points, outputs = map(int, numbers)
        network, activation = (
            (architectures.CNN, "tanh") if kind == "cnn" else (architectures.FC, "relu")
        )
        model = network(depth, width, outputs, activation, "ntk", 2.0, 0.1)
        shape = (32, 32, 3) if kind == "cnn" else (3072,)
        x = jax.random.normal(jax.random.key(0), (points, *shape))
        params = functions.init(model, jax.random.key(1), x)
        return lambda: empirical.ntk(model, params, x)
    depth, points = int(numbers[1]), int(numbers[2])
    x = jax.random.normal(jax.random.key(0), (points, 3072))
    return lambda: analytic.fc(x, depth=depth, activation=numbers[0], w_var=2.0, b_var=0.1)


def ours(row: str, repeats: int) -> dict:
    """Seconds of the first call and of those after it."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    call, seconds = work(row), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return {"first": seconds[0], "warm": seconds[1:]}


def timed(command: list[str]) -> dict:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return NOTHING
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", default=ROWS)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours:
        print(json.dumps(ours(args.ours, args.repeats)))
        return
    peer, repeats = install_peer(), str(args.repeats)
    print(f"{'row':24} {'ours, ms':>9} {'peer, ms':>9} {'ratio':>6} {'first, s':>9} {'peer, s':>8}")
    for row in args.rows:
        mine, theirs = [], []
        for _ in range(args.passes):
            script = [sys.executable, __file__, "--ours", row, "--repeats", repeats]
            mine.append(timed(script))
            rival = [str(peer), str(HERE / "peer_kernels.py"), row, repeats]
            theirs.append(NOTHING if row in TOO_LARGE else timed(rival))
        warm = [1e3 * median([s for run in side for s in run["warm"]]) for side in (mine, theirs)]
        first = [median([run["first"] for run in side]) for side in (mine, theirs)]
        ratio = warm[1] / warm[0]
        cells = f"{warm[0]:9.1f} {warm[1]:9.1f} {ratio:6.2f} {first[0]:9.2f} {first[1]:8.2f}"
        print(f"{row:24} {cells}", flush=True)


if __name__ == "__main__":
    main()
