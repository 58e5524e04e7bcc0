"""Configs become records."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from ntkrepro.config.identity import Run
from ntkrepro.config.schema import Experiment, Precision
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.files import cache_folder
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.memory import backend, refuse_too_large
from ntkrepro.programs.setup import shapes
from ntkrepro.progress import Say, Tick
from ntkrepro.records import store
from ntkrepro.records.provenance import provenance

X64 = {Precision.float32: False, Precision.float64: True}
PINNED = {  # else $JAX_... changes the network of a seed, its bits, or ends in an exception
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_enable_custom_prng": False,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_legacy_prng_key": "allow",
    "jax_softmax_custom_jvp": False,
    "jax_use_direct_linearize": True,
    "jax_allow_f16_reductions": True,
    "jax_disable_most_optimizations": False,
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,
    "jax_transfer_guard": "allow",
}
COMPILATION = 0.2  # seconds from which on a compiled program is kept


def share_compilations() -> None:
    """Keep compiled programs for later processes, unless $JAX_COMPILATION_CACHE_DIR says where."""
    chosen = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if chosen is None and (folder := cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILATION)


def pin() -> None:
    """The flags of JAX on which a record's numbers depend, of those that this version has."""
    for flag, value in PINNED.items():
        now = getattr(jax.config, flag, value)
        if str(getattr(now, "value", now)) != str(value):
            jax.config.update(flag, value)


@contextmanager
def numerics(experiment: Experiment) -> Iterator[None]:
    """The run's precision. What overflows does so quietly: failures.py tells it.

    LAPACK's threads, which decide the last bits, are this machine's cores: in a launcher's worker,
    whose environment asks for fewer, too. Raises UserError where there is no device.
    """
    backend()
    pin()
    x64 = jax.enable_x64(X64[experiment.precision])
    quiet = np.errstate(over="ignore", invalid="ignore")
    threads = threadpool_limits(joblib.cpu_count(), user_api="blas")
    with x64, jax.default_matmul_precision("highest"), quiet, threads:
        yield


Outcome = Path | UserError  # of a run: its record, or why there is none


def compute(
    run: Run,
    say: Say = lambda line: None,
    tick: Tick = lambda step, **values: None,
    command: Sequence[str] | None = None,
) -> Path:
    """Compute the record of a run and return its path.

    `say` receives lines for the user; tick(step) is called about every second of the training
    loop, tick(step, loss=..., rmse=...) at each logged step; the words of `command` go into its
    provenance. Raises UserError for input that can't be meant, RunFailed where training diverges.
    """
    (outcome,) = compute_pack([run], say, tick, command)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def compute_pack(
    pack: list[Run],
    say: Say,
    tick: Tick,
    command: Sequence[str] | None = None,
    asked: Collection[str] | None = None,
) -> list[Outcome]:
    """The records of runs that differ in seed and learning rate alone, by one program.

    Those whose id is `asked` for are written; none: all. Raises UserError for what concerns all of
    them.
    """
    store.refuse_unwritable(pack[0])
    share_compilations()
    began, about = time.perf_counter(), provenance(command, device())
    experiment = pack[0].experiment
    program = PROGRAMS[experiment.program]
    with numerics(experiment):
        setup = shapes(pack[0])
        program.models(setup)  # refuses what the sizes alone rule out, before any data are read
        refuse_too_large(experiment, program.needs(setup))
        results = program.run(pack, say, tick)
    seconds = round((time.perf_counter() - began) / len(pack), 3)
    outcomes: list[Outcome] = []
    for run, result in zip(pack, results, strict=True):
        if isinstance(result, RunFailed):
            outcomes.append(result)
            continue
        if asked is None or run.id in asked:
            took = {"seconds": result.about["seconds"] | {"all": seconds}}
            store.write(run, result.rows, about | result.about | took)
        outcomes.append(run.path)
    for run in pack:
        store.tidy(run)
    return outcomes


def device() -> dict[str, Any]:
    """What computes, for provenance."""
    first = jax.devices()[0]
    facts = {"device": first.device_kind, "platform": first.platform}
    return {**facts, "devices": jax.device_count(), "matmul_precision": "highest"}
