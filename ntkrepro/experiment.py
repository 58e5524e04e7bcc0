"""Configs become records."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import joblib
import numpy as np
import platformdirs
from threadpoolctl import threadpool_limits

from ntkrepro import records
from ntkrepro.config import Experiment, Precision
from ntkrepro.errors import RunFailed
from ntkrepro.footprint import refuse_too_large
from ntkrepro.programs import PROGRAMS
from ntkrepro.provenance import provenance
from ntkrepro.setup import shapes
from ntkrepro.side_by_side import Say
from ntkrepro.weight_space import Tick

X64 = {Precision.float32: False, Precision.float64: True}
COMPILATION = 0.2  # seconds from which on a compiled program is kept


def share_compilations() -> None:
    """Keep compiled programs for later processes, unless $JAX_COMPILATION_CACHE_DIR says where."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        folder = platformdirs.user_cache_path("ntkrepro") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILATION)


@contextmanager
def numerics(experiment: Experiment) -> Iterator[None]:
    """The run's precision. A linearization may diverge where its network doesn't: quietly.

    LAPACK's threads, which decide the last bits, are this machine's cores: in a launcher's worker,
    whose environment asks for fewer, too.
    """
    x64 = jax.enable_x64(X64[experiment.precision])
    quiet = np.errstate(over="ignore", invalid="ignore")
    threads = threadpool_limits(joblib.cpu_count(), user_api="blas")
    with x64, jax.default_matmul_precision("highest"), quiet, threads:
        yield


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
    (outcome,) = run_pack([experiment], say, tick)
    if isinstance(outcome, RunFailed):
        raise outcome
    return outcome


def run_pack(pack: list[Experiment], say: Say, tick: Tick) -> list[Path | RunFailed]:
    """The records of configs that differ in seed and learning rate alone, by one program.

    In a pack a record that is there already stays. Raises UserError for what concerns all of them.
    """
    first = pack[0]
    records.refuse_unwritable(first)
    share_compilations()
    began, about = time.perf_counter(), provenance()
    with numerics(first):
        refuse_too_large(first, PROGRAMS[first.program].needs(shapes(first)))
        results = PROGRAMS[first.program].run(pack, say, tick)
    seconds = round((time.perf_counter() - began) / len(pack), 3)
    outcomes: list[Path | RunFailed] = []
    for experiment, result in zip(pack, results, strict=True):
        if isinstance(result, RunFailed):
            outcomes.append(result)
            continue
        frame, own = result
        own["seconds"]["all"] = seconds
        path, others = records.path_of(experiment), len(pack) > 1
        there = others and path.is_file()
        outcomes.append(path if there else records.write(experiment, frame, about | own))
    for experiment in pack:
        records.tidy(experiment)
    return outcomes
