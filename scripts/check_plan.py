"""What `ntkrepro plan` says against real runs: a table of planned over real, exit 1 where one is
outside.

    python scripts/check_plan.py [--memory] ["experiment=wrn_cifar seed=0 optimizer.steps=40" ...]

Five small runs and five large; each plan and each run is a process of its own, one after the other.
Memory of a run: the largest resident set of its process. Seconds: the record's own, from the config
to the record. Where other work goes on beside them, seconds mean nothing: --memory leaves them out.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY, SECONDS = 1.2, 1.5  # planned over real, or real over planned, at most
SMALL = [
    "experiment=digits scale=smoke",
    "experiment=fc_mnist seed=0 scale=smoke",
    "experiment=cnn_cifar seed=0 scale=smoke",
    "experiment=ensemble scale=smoke optimizer.train=all",
    "experiment=wrn_cifar seed=0 scale=smoke",
]
LARGE = [
    "data.name=gaussian data.train=2000 data.test=2000 model.width=64 model.depth=1 "
    "optimizer.steps=1000 log.points=600 log.outputs=2000 log.kernel=false data.targets=signs "
    "data.classes=[positive,negative] linearized.analytic=false",
    "experiment=kernel_convergence model.depth=3 model.width=1024 seed=0 data.seed=0 "
    "data.train=2048 samples=8",
    "experiment=fc_cifar seed=0 model.width=4096 optimizer.steps=8 optimizer.solver=steps "
    "log.points=3 linearized.space=both",
    "experiment=fc_mnist seed=0 data.train=20000 data.test=10000 optimizer.steps=64 log.points=8 "
    "linearized.space=weights",
    "experiment=ensemble model.width=1024 samples=8 optimizer.steps=64 optimizer.train=all",
]
PLAN = """
import json, sys
from ntkrepro.config.compose import expand
from ntkrepro.plan.plan import groups
(group,) = groups(expand(sys.argv[1:]))
print(json.dumps([group.plan.bytes, group.seconds, group.plan.peak.name]))
"""


def planned(words: list[str]) -> tuple[float, float, str]:
    """Bytes, seconds, and what has them alive."""
    found = subprocess.run([sys.executable, "-c", PLAN, *words], check=True, stdout=subprocess.PIPE)
    return tuple(json.loads(found.stdout.splitlines()[-1]))


def measured(words: list[str]) -> tuple[float, float]:
    """Bytes and seconds of the run."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ntkrepro", "run", *words, f"results={folder}"]
        run = os.posix_spawn(sys.executable, command, os.environ)
        _, code, used = os.wait4(run, 0)
        if code:
            sys.exit(f"failed: {' '.join(command)}")
        (path,) = Path(folder).glob("runs/*.parquet")
        provenance = json.loads(pq.read_schema(path).metadata[b"provenance"])
    return 1024 * used.ru_maxrss, provenance["seconds"]["all"]


def main() -> None:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    cases = [word for word in sys.argv[1:] if word != "--memory"]
    outside = 0
    print(f"{'MiB':>8}{'planned':>9}{'ratio':>7}{'s':>9}{'planned':>9}{'ratio':>7}  config")
    for case in cases or SMALL + LARGE:
        (size, seconds), plan = measured(case.split()), planned(case.split())
        memory, time = plan[0] / size, plan[1] / seconds
        wrong = not 1 / MEMORY <= memory <= MEMORY
        wrong |= "--memory" not in sys.argv and not 1 / SECONDS <= time <= SECONDS
        outside += wrong
        print(
            f"{size / 2**20:8.0f}{plan[0] / 2**20:9.0f}{memory:7.2f}{seconds:9.1f}{plan[1]:9.1f}"
            f"{time:7.2f}  {case} ({plan[2]}){' OUTSIDE' if wrong else ''}",
            flush=True,
        )
    sys.exit(bool(outside))


if __name__ == "__main__":
    main()
