"""Work for a worker that is cut off: it needs the checkpoint that SIGTERM makes it write.

    python tests/whole/cut_off.py -m seed=0,1 hydra/launcher=slurm_local

The first start of a seed waits for SIGTERM, notes it in results/SEED and exits with code 143, as a
run of `ntkrepro` does; the second finds the note, and is done.
"""

import signal
import sys
import time
from pathlib import Path
from types import FrameType

import hydra
from omegaconf import DictConfig

from ntkrepro.config.catalog import configs_dir
from ntkrepro.config.compose import register


def work(chosen: DictConfig) -> None:
    note = Path(chosen.results, str(chosen.seed))

    def stop(signum: int, frame: FrameType | None) -> None:
        note.write_text("checkpoint")
        sys.exit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    if note.exists() and note.read_text() == "checkpoint":
        note.write_text("done")
        return
    note.write_text("started")
    time.sleep(60)


if __name__ == "__main__":
    register()
    hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name="run")(work)()
