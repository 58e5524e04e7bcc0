"""A config becomes a record."""

import time
from pathlib import Path

import jax
import numpy as np

from ntkrepro import convergence, ensemble, records, side_by_side
from ntkrepro.config import Experiment
from ntkrepro.provenance import provenance
from ntkrepro.side_by_side import Say
from ntkrepro.weight_space import Tick

PROGRAMS = {
    "train": side_by_side.run,
    "kernel_convergence": convergence.run,
    "ensemble": ensemble.run,
}


def run(
    experiment: Experiment,
    say: Say = lambda line: None,
    tick: Tick = lambda step, **values: None,
) -> Path:
    """Compute the record of a config and return its path.

    `say` receives lines for the user; tick(step) is called about every second of the training
    loop, tick(step, loss=..., rmse=...) at each logged step.
    Raises UserError for input that can't be meant, RunFailed where training diverges.
    """
    records.refuse_unwritable(experiment)
    began, about = time.perf_counter(), provenance()
    x64 = jax.enable_x64(experiment.precision.name == "float64")
    # a linearization may diverge where its network doesn't
    quiet = np.errstate(over="ignore", invalid="ignore")
    with x64, jax.default_matmul_precision("highest"), quiet:
        frame, extra = PROGRAMS[experiment.program.name](experiment, say, tick)
    about |= extra
    about["seconds"]["all"] = round(time.perf_counter() - began, 3)
    return records.write(experiment, frame, about)
