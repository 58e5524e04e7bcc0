"""The program `ensemble`: many networks along a path of inputs, and the Gaussian processes that
they approach (Figures 3 and S4).

Member i is the network of seed + i. Members are trained in blocks, on every device as many at once
as footprint.at_once says; a finished block waits in a file beside the record to come, so that a run
that was cut off goes on with the next.
"""

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from ntkrepro import (
    checkpoint,
    data,
    footprint,
    function_space,
    gp,
    measure,
    models,
    records,
    termination,
    train,
)
from ntkrepro.compilation import jit
from ntkrepro.config import Experiment
from ntkrepro.errors import RunFailed
from ntkrepro.files import atomic
from ntkrepro.setup import Setup, nbytes, prepare
from ntkrepro.side_by_side import Say
from ntkrepro.weight_space import Tick, compiled


def run(experiment: Experiment, say: Say, tick: Tick) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows, all of split `path`: `output` of `network`, index = member * points + point; `mean` and
    `std` of `ntk_analytic` (Eq. 15, 16), `nngp` (Eq. S30, S31) and, at the last step, of the NNGP
    posterior `nngp_posterior` (Eq. 14), index = point; `alpha` of each point.
    """
    setup, began = prepare(experiment), time.perf_counter()
    outputs = members(setup, say, tick)
    trained, began = time.perf_counter() - began, time.perf_counter()
    processes = gaussian_rows(setup)
    at = data.alphas(experiment.data.points)
    frames = [
        measure.rows("data", "alpha", [0], at[None], "path"),
        measure.rows("network", "output", setup.steps, outputs, "path"),
        *processes,
    ]
    seconds = {"training": round(trained, 3), "processes": round(time.perf_counter() - began, 3)}
    shutil.rmtree(folder(experiment), ignore_errors=True)
    about = {"data": data.fingerprint(setup.dataset), "seconds": seconds}
    return pd.concat(frames, ignore_index=True), about


def folder(experiment: Experiment) -> Path:
    """Where finished blocks wait."""
    return records.beside(experiment, "blocks")


def members(setup: Setup, say: Say, tick: Tick) -> np.ndarray:
    """Outputs of every member [t, members, points] at every logged step."""
    experiment, size = setup.experiment, footprint.at_once(nbytes(setup.params0))
    done = []
    for first in range(0, experiment.samples, size):
        last = min(first + size, experiment.samples)
        path = folder(experiment) / f"{first}-{last}.npy"
        if path.is_file():
            say(f"members {first} to {last - 1} are there already")
        else:
            block = train_block(setup, first, last, path, share(tick, setup, first, last))
            with atomic(path) as file:
                np.save(file, block)
        done.append(np.load(path))
    return np.concatenate(done, axis=1)


def share(tick: Tick, setup: Setup, first: int, last: int) -> Tick:
    """Progress of one block as its share of the whole."""
    count, steps = setup.experiment.samples, setup.experiment.optimizer.steps
    return lambda step: tick((first * steps + (last - first) * step) // count)


def train_block(setup: Setup, first: int, last: int, path: Path, tick: Tick) -> np.ndarray:
    """Outputs [t, members, points] of members `first` to `last` - 1; `path` is the block's file."""
    experiment = setup.experiment
    program, task = compiled(setup, ("network",))
    task = train.stack([task._replace(params0=member(setup, i)) for i in range(first, last)])
    title = f"members {first} to {last - 1} of {experiment.samples}"
    path, fresh = path.with_suffix(".checkpoint"), train.start_members(program, task, ("network",))
    now, states, stored = checkpoint.load(path, title, fresh)
    seen = list(stored.get("outputs", ()))
    keep = checkpoint.keeper(
        path, experiment.checkpoint, title, lambda: {"outputs": np.stack(seen)} if seen else {}
    )
    steps = setup.steps[len(seen) :]
    with termination.deferred():
        for step, omegas in train.run(
            program, task, ("network",), steps, tick, members=True, keep=keep, resume=(now, states)
        ):
            f = np.asarray(on_path(setup.model, task.params0, omegas["network"], setup.x_test))
            if not np.isfinite(f).all():
                raise RunFailed(
                    f"{title}: training diverged before step {step}; lower optimizer.lr"
                )
            seen.append(f)
    return np.stack(seen)


def member(setup: Setup, i: int) -> Any:
    """theta_0 of member i."""
    return models.init(setup.model, jax.random.key(setup.experiment.seed + i), setup.x_train)


@partial(jit, static_argnames="model")
def on_path(model: models.Network, params0: Any, omega: Any, x: jax.Array) -> jax.Array:
    """Outputs of every member [members, points]: k = 1."""

    def one(params0: Any, omega: Any) -> jax.Array:
        return models.apply(model, train.add(params0, omega), x)[:, 0]

    return jax.vmap(one)(params0, omega)


def gaussian_rows(setup: Setup) -> list[pd.DataFrame]:
    """Mean and standard deviation of the processes of infinitely wide networks."""
    nngp, theta = analytic_blocks(setup)
    y, rate = setup.dataset.y_train, setup.lr * setup.rate
    momentum, flow = setup.experiment.optimizer.momentum, setup.experiment.linearized.flow
    last, frames = setup.steps[-1:], []
    for name, steps, process in (
        ("ntk_analytic", setup.steps, (nngp, theta, y, setup.steps, rate, flow, momentum)),
        ("nngp", setup.steps, (nngp, nngp, y, setup.steps, rate, flow, momentum)),
        ("nngp_posterior", last, (nngp, nngp, y, [np.inf], rate)),
    ):
        found = gp.ensemble(*process)
        frames.append(measure.rows(name, "mean", steps, found.mean[..., 0], "path"))
        frames.append(measure.rows(name, "std", steps, found.std, "path"))
    return frames


def analytic_blocks(setup: Setup) -> tuple[gp.Blocks, gp.Blocks]:
    """K and Theta of the infinitely wide network over train points and the path."""
    x_train, x_test = setup.dataset.x_train, setup.dataset.x_test
    k = function_space.analytic_kernel(setup)(np.concatenate([x_train, x_test]))
    return gp.blocks(np.asarray(k.nngp), len(x_train)), gp.blocks(np.asarray(k.ntk), len(x_train))
