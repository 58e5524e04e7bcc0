"""The program `ensemble`: many networks along a path of inputs, and the Gaussian processes that
they approach (Figures 3 and S4).

Member i is the network of seed + i. Members are trained in blocks, on every device as many at once
as memory.at_once says; a finished block waits in a file, a checkpoint of its end, so that a run
that was cut off goes on with the next.
"""

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro import signals
from ntkrepro.compilation import jit
from ntkrepro.config.identity import Run
from ntkrepro.config.schema import Solver, Trained
from ntkrepro.data import inputs, load
from ntkrepro.errors import RunFailed
from ntkrepro.networks import architectures, functions
from ntkrepro.programs import failures, function_space, leaping, memory, observe
from ntkrepro.programs.calls import (
    MEASURED,
    Call,
    HostCall,
    draw,
    evaluate,
    reading,
    record,
    struct,
    task_shapes,
)
from ntkrepro.programs.memory import Need, data, of_host
from ntkrepro.programs.observe import Result
from ntkrepro.programs.setup import Setup, nbytes, prepare
from ntkrepro.programs.weight_space import recipe_of, task_of
from ntkrepro.progress import Say, Tick
from ntkrepro.records.rows import rows
from ntkrepro.theory import dynamics, gaussian_process
from ntkrepro.training import checkpoint, loop, measure

Blocks = gaussian_process.Blocks
KERNEL = {Trained.all: "ntk_analytic", Trained.readout: "nngp"}  # what the members move by


class Process(NamedTuple):
    """Mean and standard deviation [t, points] at logged steps [t]."""

    steps: list[int]
    mean: np.ndarray
    std: np.ndarray


class Stability(NamedTuple):
    """Critical learning rates by model; rows."""

    critical: dict[str, float]
    frames: list[pd.DataFrame]


def ensemble(pack: list[Run], say: Say, tick: Tick) -> list[Result | RunFailed]:
    """Rows of split `path`: `output` of `network`, index = member * points + point; `mean` and
    `std` of `ntk_analytic` (Eq. 15, 16), `nngp` (Eq. S30, S31) and, at the last step, of the NNGP
    posterior `nngp_posterior` (Eq. 14), index = point; `alpha` of each point. And of split `train`
    `lr_critical` of both kernels, and of how many directions the posterior does without (`cut`).
    """
    (run,) = pack
    setup, began = prepare(run), time.perf_counter()
    kernels = analytic_blocks(setup)
    critical, frames = stability(setup, *kernels, say)
    found = processes(setup, *kernels)
    for name in KERNEL.values():
        squares = found[name].mean ** 2 + found[name].std ** 2
        refuse_diverged(setup, critical, name, squares)
    calculated, began = time.perf_counter() - began, time.perf_counter()
    outputs = members(setup, critical, say, tick)
    at = inputs.alphas(run.experiment.data.points)
    frames = [
        rows("data", "alpha", [0], at[None], "path"),
        rows("network", "output", setup.steps, outputs, "path"),
        *process_rows(found),
        *frames,
    ]
    trained = time.perf_counter() - began
    seconds = {"training": round(trained, 3), "processes": round(calculated, 3)}
    shutil.rmtree(folder(run), ignore_errors=True)
    about = {"data": load.fingerprint(setup.dataset), "seconds": seconds}
    return [observe.result(frames, about)]


def folder(run: Run) -> Path:
    """Where finished blocks wait."""
    return run.beside("blocks")


def members(setup: Setup, critical: dict[str, float], say: Say, tick: Tick) -> np.ndarray:
    """Outputs of every member [t, members, points] at every logged step."""
    experiment, size = setup.experiment, together(setup)
    train, done = BLOCKS[experiment.optimizer.solver], []
    for first in range(0, experiment.samples, size):
        last = min(first + size, experiment.samples)
        path = folder(setup.run) / f"{first}-{last}.npz"
        _, _, stored = checkpoint.load(path, path.stem, None)
        if stored:
            say(f"members {first} to {last - 1} are there already")
        else:
            own = share(tick, setup, first, last)
            block = train(setup, critical, first, last, path, own)
            stored = {"outputs": block}
            checkpoint.save(path, path.stem, experiment.optimizer.steps, None, stored)
        done.append(stored["outputs"])
    return np.concatenate(done, axis=1)


def together(setup: Setup) -> int:
    """Members of a block."""
    if setup.experiment.optimizer.solver is Solver.leaps:  # each at a pace of its own
        return 1
    return memory.at_once(nbytes(setup.params0))


def share(tick: Tick, setup: Setup, first: int, last: int) -> Tick:
    """Progress of one block as its share of the whole."""
    count, steps = setup.experiment.samples, setup.experiment.optimizer.steps
    return lambda step: tick((first * steps + (last - first) * step) // count)


def train_block(
    setup: Setup, critical: dict[str, float], first: int, last: int, path: Path, tick: Tick
) -> np.ndarray:
    """Outputs [t, members, points] of members `first` to `last` - 1; `path` is the block's file.

    Raises RunFailed where one diverges.
    """
    experiment = setup.experiment
    recipe, task = recipe_of(setup), task_of(setup, ("network",))
    task = loop.stack([task._replace(params0=member(setup, i)) for i in range(first, last)])
    title = f"members {first} to {last - 1} of {experiment.samples}"
    path, fresh = path.with_suffix(".checkpoint"), loop.start_members(recipe, task, ("network",))
    now, states, stored = checkpoint.load(path, title, fresh)
    seen = list(stored.get("outputs", ()))
    keep = checkpoint.keeper(
        path, experiment.checkpoint, title, lambda: {"outputs": np.stack(seen)} if seen else {}
    )
    steps = setup.steps[len(seen) :]
    with signals.deferred():
        for _, omegas in loop.train(
            recipe, task, ("network",), steps, tick, members=True, keep=keep, resume=(now, states)
        ):
            f = np.asarray(on_path(setup.model, task.params0, omegas["network"], setup.x_test))
            seen.append(f)
            refuse_diverged(setup, critical, "network", np.stack(seen) ** 2)
    return np.stack(seen)


def leap_block(
    setup: Setup, critical: dict[str, float], first: int, last: int, path: Path, tick: Tick
) -> np.ndarray:
    """As `train_block`, of one member by leaps."""
    own, path = setup._replace(params0=member(setup, first)), path.with_suffix(".checkpoint")
    theta, title = function_space.empirical_kernels(own), f"member {first} by leaps"
    now, state, stored = checkpoint.load(path, title, leaping.start(own))
    seen = list(stored.get("outputs", ()))
    keep = checkpoint.keeper(
        path,
        setup.experiment.checkpoint,
        title,
        lambda: {"outputs": np.stack(seen)} if seen else {},
    )
    with signals.deferred():
        for reached in leaping.train(
            own, theta, setup.steps[len(seen) :], tick, keep, (now, state)
        ):
            theta_t = loop.add(own.params0, reached.omegas["network"])
            seen.append(np.asarray(measure.apply(own.model, theta_t, own.x_test)).T)
            refuse_diverged(setup, critical, "network", np.stack(seen) ** 2)
    return np.stack(seen)


BLOCKS = {Solver.steps: train_block, Solver.leaps: leap_block}


def member(setup: Setup, i: int) -> Any:
    """theta_0 of member i."""
    return functions.init(setup.model, jax.random.key(setup.experiment.seed + i), setup.x_train)


@partial(jit, static_argnames="model")
def on_path(model: architectures.Network, params0: Any, omega: Any, x: jax.Array) -> jax.Array:
    """Outputs of every member [members, points]: k = 1."""

    def one(params0: Any, omega: Any) -> jax.Array:
        return functions.apply(model, loop.add(params0, omega), x)[:, 0]

    return jax.vmap(one)(params0, omega)


def processes(setup: Setup, nngp: Blocks, theta: Blocks) -> dict[str, Process]:
    """Mean and standard deviation of the outputs of infinitely wide networks."""
    y, rate = setup.dataset.y_train, setup.lr * setup.rate
    momentum, flow = setup.experiment.optimizer.momentum, setup.experiment.linearized.flow
    last, found = setup.steps[-1:], {}
    for name, steps, process in (
        ("ntk_analytic", setup.steps, (nngp, theta, y, setup.steps, rate, flow, momentum)),
        ("nngp", setup.steps, (nngp, nngp, y, setup.steps, rate, flow, momentum)),
        ("nngp_posterior", last, (nngp, nngp, y, [np.inf], rate)),
    ):
        own = gaussian_process.ensemble(*process)
        found[name] = Process(steps, own.mean[..., 0], own.std)
    return found


def process_rows(found: dict[str, Process]) -> list[pd.DataFrame]:
    return [
        rows(name, quantity, process.steps, getattr(process, quantity), "path")
        for name, process in found.items()
        for quantity in ("mean", "std")
    ]


def stability(setup: Setup, nngp: Blocks, theta: Blocks, say: Say) -> Stability:
    """Critical learning rates, and rows of them and of what nngp_posterior leaves out."""
    critical, frames = {}, []
    for name, kernel in (("ntk_analytic", theta), ("nngp", nngp)):
        values = dynamics.spectrum(kernel.train_train).values
        own = dynamics.critical_lr(values[-1], setup.rate, setup.experiment.optimizer.momentum)
        critical[name] = own
        frames.append(observe.stability_rows(name, setup, values, own))
    cut = int(gaussian_process.small(values).sum())
    if cut:
        say(
            f"nngp_posterior leaves out {cut} of {len(values)} directions of its kernel, whose "
            f"eigenvalues are at most {gaussian_process.SMALL:g} of the largest"
        )
    frames.append(rows("nngp_posterior", "cut", [0], [cut], "train"))
    critical["network"] = critical[KERNEL[setup.experiment.optimizer.train]]
    return Stability(critical, frames)


def refuse_diverged(setup: Setup, critical: dict[str, float], model: str, f: np.ndarray) -> None:
    """Raises RunFailed for outputs whose squares [t, ..., points] run away."""
    for index in np.flatnonzero(failures.outputs_diverged(f, setup.dataset.y_train)):
        raise failures.divergence(setup, critical, model, int(index))


def analytic_blocks(setup: Setup) -> tuple[Blocks, Blocks]:
    """K and Theta of the infinitely wide network over train points and the path. Raises RunFailed
    where they are not finite."""
    x_train, x_test = setup.dataset.x_train, setup.dataset.x_test
    x = np.concatenate([x_train, x_test])
    k = failures.analytic(setup.experiment, function_space.analytic_kernel(setup), x)
    failures.finite(setup.experiment, "analytic kernel", np.asarray(k.ntk), x_train, x_test)
    nngp, theta = (gaussian_process.blocks(part, len(x_train)) for part in (k.nngp, k.ntk))
    return nngp, theta


def calls(setup: Setup) -> list[Call | HostCall]:
    experiment, t = setup.experiment, len(setup.steps)
    n, m = len(setup.x_train), len(setup.x_test)
    size = min(together(setup), experiment.samples)
    blocks = experiment.samples / size
    recipe, task = recipe_of(setup), task_shapes(setup, ("network",))
    task = jax.eval_shape(lambda one: loop.stack([one] * size), task)
    states = jax.eval_shape(partial(loop.start_members, recipe, names=("network",)), task)
    dataset = of_host(nbytes(setup.dataset[:4]))
    held = nbytes((setup.x_train, setup.x_test, task, states)) + dataset
    call = lambda task, states, i: loop.advance_members(recipe, task, states, 0, i)  # noqa: E731
    args = (task, states, struct((), jnp.int32))
    steps = blocks * experiment.optimizer.steps
    one = partial(evaluate, recipe, "network")
    seen = (task.params0, states["network"][0], setup.x_test)
    outputs = experiment.samples * m
    kernels = 8 * (n + m) ** 2
    processes = len(setup.steps) * (m * (n + m) * 3 + m * m) * 8
    return [
        reading(setup),
        draw(setup, held, experiment.samples),
        Call(f"steps, {size} networks", steps, call, args, held, (1,), True),
        Call("outputs", t * blocks, jax.vmap(one, (0, 0, None)), seen, held),
        gaussian_processes(setup, dataset + of_host(6 * kernels + processes)),
        record(setup, t * outputs + (4 * t + 3) * m, t * outputs * 8),  # and processes, alpha
    ]


def gaussian_processes(setup: Setup, held: int) -> HostCall:
    """Analytic kernels and gaussian_process.ensemble, on random points of a measurable size."""
    n, m = len(setup.x_train), len(setup.x_test)
    size = min(n + m, MEASURED)
    share = (n + m) / size
    rng = np.random.default_rng(0)
    small = setup.dataset._replace(
        x_train=rng.standard_normal((round(n / share), setup.x_train.shape[1])),
        x_test=rng.standard_normal((round(m / share), setup.x_train.shape[1])),
        y_train=np.ones((round(n / share), 1)),
    )
    given = setup._replace(dataset=small)
    call = lambda: process_rows(processes(given, *analytic_blocks(given)))  # noqa: E731
    return HostCall("Gaussian processes", 1, call, share**3, held)


def needs(setup: Setup) -> list[Need]:
    """One member at least, and the analytic kernels over train points and path."""
    points = len(setup.x_train) + len(setup.x_test)
    return [
        data(setup),
        Need("parameters and their gradients", "model.width", 3 * nbytes(setup.params0)),
        Need("analytic kernels", "data.train", 4 * 8 * points**2, host=True),
    ]
