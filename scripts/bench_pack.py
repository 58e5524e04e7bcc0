"""A grid that packs its points against one process for each: whole processes, nothing compiled.

  python scripts/bench_pack.py [--seeds 16] [--width 256]

Prints the seconds of `ntkrepro run -m seed=range(0,SEEDS)`, of as many single runs one after
another, and their ratio. Each side starts with an empty compile cache of its own, which its
processes share.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = Path(sys.executable).with_name("ntkrepro")


def seconds(commands: list[list[str]]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/xla"}
        began = time.perf_counter()
        for words in commands:
            command = [str(COMMAND), "run", *words, f"results={folder}"]
            subprocess.run(command, check=True, capture_output=True, env=environment)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--width", type=int, default=256)
    asked = parser.parse_args()
    words = [f"model.width={asked.width}"]
    packed = seconds([["-m", *words, f"seed=range(0,{asked.seeds})"]])
    alone = seconds([[*words, f"seed={seed}"] for seed in range(asked.seeds)])
    print(f"{asked.seeds} seeds at width {asked.width}: one grid {packed:.1f} s, ", end="")
    print(f"single runs {alone:.1f} s, {alone / packed:.2f} x")


if __name__ == "__main__":
    main()
