"""What `ntkrepro plan` says against runs in processes of their own: a table of the ratios.

    python scripts/check_plan.py ["experiment=wrn_cifar optimizer.steps=40" ...]

Memory of a run: its largest resident set (ru_maxrss) less what was resident after the imports.
Seconds: the record's own, from the config to the record. Both sides run one after the other: where
other work goes on beside them, only ratios far from 1 mean something.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from typing import Any

import psutil

from ntkrepro.config.compose import expand

CASES = [
    "experiment=digits",
    "experiment=fc_cifar model.width=3072 optimizer.steps=24 log.points=4 linearized.space=both",
    "experiment=digits data.classes=[] data.targets=onehot data.train=400 optimizer.steps=64",
    "experiment=fc_mnist optimizer.steps=256 log.points=8",
    "experiment=cnn_cifar model.width=64 optimizer.steps=16 log.points=4",
    "experiment=wrn_cifar optimizer.steps=64 log.points=8",
    "experiment=kernel_convergence model.depth=3 model.width=4096 seed=0 data.train=300 samples=16",
    "experiment=ensemble model.width=1024 samples=8 optimizer.steps=64 optimizer.train=all",
]


def planned(words: list[str]) -> dict[str, Any]:
    from ntkrepro.plan.plan import groups

    (group,) = groups(expand(words))
    return {"bytes": group.plan.bytes, "seconds": group.seconds, "piece": group.plan.peak.name}


def measured(words: list[str]) -> dict[str, float]:
    from ntkrepro.programs.run import compute
    from ntkrepro.records import store

    before = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory() as folder:
        (point,) = expand([*words, f"results={folder}"])
        record = store.read(compute(point))
    assert record
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"bytes": peak - before, "seconds": record.provenance["seconds"]["all"]}


def main() -> None:
    side, *words = sys.argv[1:] or ["all"]
    if side in ("planned", "measured"):
        print(json.dumps(planned(words) if side == "planned" else measured(words)))
        return
    print(f"{'MiB':>8}{'planned':>9}{'ratio':>7}{'s':>9}{'planned':>9}{'ratio':>7}  config")
    for case in CASES if side == "all" else [side, *words]:
        plan, run = (
            json.loads(
                subprocess.run(
                    [sys.executable, __file__, side, *case.split()],
                    check=True,
                    env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
                    stdout=subprocess.PIPE,
                ).stdout
            )
            for side in ("planned", "measured")
        )
        mib = [part["bytes"] / 2**20 for part in (run, plan)]
        s = [part["seconds"] for part in (run, plan)]
        print(
            f"{mib[0]:8.0f}{mib[1]:9.0f}{mib[1] / mib[0]:7.2f}"
            f"{s[0]:9.1f}{s[1]:9.1f}{s[1] / s[0]:7.2f}  {case} ({plan['piece']})",
            flush=True,
        )


if __name__ == "__main__":
    main()
