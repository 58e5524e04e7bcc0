"""The program `ensemble`: many networks along a path of inputs, and the Gaussian processes that
they approach (Figures 3 and S4).

Member i is the network of seed + i. Members are trained in blocks, on every device as many at once
as memory.at_once says; a finished block waits in a file, a checkpoint of its end, so that a run
that was cut off goes on with the next. Where the readout alone is trained a member takes no steps,
but one forward pass (theory/readout.py).
"""

import shutil
import time
from collections.abc import Callable, Iterator
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
from ntkrepro.programs import (
    failures,
    function_space,
    kernel_costs,
    leaping,
    leaping_costs,
    memory,
    observe,
)
from ntkrepro.programs.calls import (
    MEASURED,
    Call,
    HostCall,
    both,
    draw,
    evaluate,
    reading,
    readout_solution,
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
from ntkrepro.theory import dynamics, gaussian_process, readout
from ntkrepro.theory.gaussian_process import distance
from ntkrepro.training import checkpoint, loop, measure

Blocks = gaussian_process.Blocks


# `outputs` [t, members, points]; `loss` of the train points [t, members]; by leaps `spent`
# [t, members, 3]
Seen = dict[str, np.ndarray]
# of setup, critical rates, first and last member, the block's file, tick
Block = Callable[[Setup, dict[str, float], int, int, Path, Tick], Seen]
LEVEL, DRAWS = 0.95, 4000  # of `noise`
DIRECTIONS = 50  # of the process on a path, over four steps


class Process(NamedTuple):
    """A Gaussian process at logged steps."""

    steps: list[int]
    of: gaussian_process.Ensemble

    @property
    def mean(self) -> np.ndarray:
        """[t, points]."""
        return self.of.mean[..., 0]

    @property
    def std(self) -> np.ndarray:
        """[t, points]."""
        return self.of.std


class Stability(NamedTuple):
    """Critical learning rates by model; rows."""

    critical: dict[str, float]
    frames: list[pd.DataFrame]


def ensemble(pack: list[Run], say: Say, tick: Tick) -> list[Result | RunFailed]:
    """Rows of split `path`: `output` of `network`, index = member * points + point; `mean` and
    `std` of `ntk_analytic` (Eq. 15, 16), `nngp` (Eq. S30, S31) and, at the last step, of the NNGP
    posterior `nngp_posterior` (Eq. 14), index = point; `noise` of the first two; `alpha` of each
    point. And of split `train` the `loss` of `network`, mean over members; `lr_critical` of both
    kernels, and of how many directions the posterior does without (`cut`). By leaps,
    observe.SPENT of every member.
    """
    (run,) = pack
    setup = prepare(run)
    train = TRAINED[run.experiment.optimizer.train].blocks[run.experiment.optimizer.solver]

    def frames(seen: Seen) -> list[pd.DataFrame]:
        return [
            rows("network", "output", setup.steps, seen["outputs"], "path"),
            *observe.spent_rows("network", setup.steps, seen.get("spent")),
        ]

    return [beside_processes(setup, train, together(setup), frames, say, tick)]


def beside_processes(
    setup: Setup,
    train: Block,
    size: int,
    frames: Callable[[Seen], list[pd.DataFrame]],
    say: Say,
    tick: Tick,
) -> Result | RunFailed:
    """What a record holds: `frames` of the members, who are trained in blocks of `size`, and the
    processes. Raises RunFailed where one of them diverges."""
    run, began = setup.run, time.perf_counter()
    kernels = analytic_blocks(setup)
    critical, stable = stability(setup, *kernels, say)
    found = processes(setup, *kernels)
    for name in (trained.kernel for trained in TRAINED.values()):
        squares = found[name].mean ** 2 + found[name].std ** 2
        refuse_diverged(setup, critical, name, squares)
    own = [*process_rows(found), *noise_rows(found, run.experiment.samples)]
    calculated, began = time.perf_counter() - began, time.perf_counter()
    seen = members(setup, critical, train, size, say, tick)
    at = inputs.alphas(run.experiment.data.points)
    every = [
        rows("data", "alpha", [0], at[None], "path"),
        *frames(seen),
        rows("network", "loss", setup.steps, seen["loss"].mean(1), "train"),
        *own,
        *stable,
    ]
    trained = time.perf_counter() - began
    seconds = {"training": round(trained, 3), "processes": round(calculated, 3)}
    shutil.rmtree(folder(run), ignore_errors=True)
    about = {"data": load.fingerprint(setup.dataset), "seconds": seconds}
    return observe.result(every, about)


def folder(run: Run) -> Path:
    """Where finished blocks wait."""
    return run.beside("blocks")


def members(
    setup: Setup, critical: dict[str, float], train: Block, size: int, say: Say, tick: Tick
) -> Seen:
    """Of every member at every logged step; by blocks of `size`."""
    experiment, done = setup.experiment, []
    for first in range(0, experiment.samples, size):
        last = min(first + size, experiment.samples)
        path = folder(setup.run) / f"{first}-{last}.npz"
        _, _, seen = checkpoint.load(path, path.stem, None)
        if seen:
            say(f"members {first} to {last - 1} are there already")
        else:
            own = share(tick, setup, first, last)
            seen = train(setup, critical, first, last, path, own)
            checkpoint.save(path, path.stem, experiment.optimizer.steps, None, seen)
        done.append(seen)
    return {name: np.concatenate([seen[name] for seen in done], axis=1) for name in done[0]}


def together(setup: Setup) -> int:
    """Members of a block."""
    return SIZES[setup.experiment.optimizer.solver](setup)


SIZES: dict[Solver, Callable[[Setup], int]] = {
    Solver.steps: lambda setup: memory.at_once(nbytes(setup.params0)),
    Solver.leaps: lambda setup: 1,  # each at a pace of its own
}


def share(tick: Tick, setup: Setup, first: int, last: int) -> Tick:
    """Progress of one block as its share of the whole."""
    count, steps = setup.experiment.samples, setup.experiment.optimizer.steps
    return lambda step: tick((first * steps + (last - first) * step) // count)


def train_block(
    setup: Setup, critical: dict[str, float], first: int, last: int, path: Path, tick: Tick
) -> Seen:
    """Of members `first` to `last` - 1; `path` is the block's file.

    Raises RunFailed where one diverges.
    """
    recipe, task = recipe_of(setup), task_of(setup, ("network",))
    task = loop.stack([task._replace(params0=member(setup, i)) for i in range(first, last)])
    title = f"members {first} to {last - 1} of {setup.experiment.samples}"
    fresh = loop.start_members(recipe, task, ("network",))

    def train(steps: list[int], keep: checkpoint.Keep, resume: Any) -> Iterator[Seen]:
        for _, omegas in loop.train(
            recipe, task, ("network",), steps, tick, members=True, keep=keep, resume=resume
        ):
            now = partial(on, setup.model, task.params0, omegas["network"])
            yield seen_at(setup, now(setup.x_train), now(setup.x_test))

    return followed(setup, critical, path, title, fresh, train)


def leap_block(
    setup: Setup, critical: dict[str, float], first: int, last: int, path: Path, tick: Tick
) -> Seen:
    """As `train_block`, of one member by leaps."""
    own = setup._replace(params0=member(setup, first))
    theta, title = function_space.empirical_kernels(own), f"member {first} by leaps"

    def train(steps: list[int], keep: checkpoint.Keep, resume: Any) -> Iterator[Seen]:
        for reached in leaping.train(own, theta, steps, tick, keep, resume):
            theta_t = loop.add(own.params0, reached.omegas["network"])
            now = (measure.apply(own.model, theta_t, x).T for x in (own.x_train, own.x_test))
            assert reached.spent is not None, "by leaps"
            yield {**seen_at(setup, *now), "spent": reached.spent[None]}

    return followed(setup, critical, path, title, leaping.start(own), train)


def followed(
    setup: Setup,
    critical: dict[str, float],
    path: Path,
    title: str,
    fresh: Any,
    train: Callable[[list[int], checkpoint.Keep, Any], Iterator[Seen]],
) -> Seen:
    """What train(steps, keep, resume) yields at the logged steps, from the last checkpoint of the
    block `title` if there is one, else from `fresh` states."""
    path = path.with_suffix(".checkpoint")
    now, states, stored = checkpoint.load(path, title, fresh)
    seen = {name: list(values) for name, values in stored.items()}
    done = len(seen.get("outputs", ()))
    keep = checkpoint.keeper(path, setup.experiment.checkpoint, title, lambda: stacked(seen))
    with signals.deferred():
        for point in train(setup.steps[done:], keep, (now, states)):
            for name, values in point.items():
                seen.setdefault(name, []).append(values)
            refuse_diverged(setup, critical, "network", np.stack(seen["outputs"]) ** 2)
    return stacked(seen)


def seen_at(setup: Setup, train: Any, path: Any) -> Seen:
    """At a step, of the outputs [members, n] on the train points and on the path."""
    f, y = np.asarray(train, np.float64)[..., None], setup.dataset.y_train
    return {"outputs": np.asarray(path), "loss": setup.loss.per_example(f, y).mean(-1)}


def stacked(seen: dict[str, list[np.ndarray]]) -> Seen:
    return {name: np.stack(values) for name, values in seen.items()}


BLOCKS: dict[Solver, Block] = {Solver.steps: train_block, Solver.leaps: leap_block}


def solve_block(
    setup: Setup, critical: dict[str, float], first: int, last: int, file: Path, tick: Tick
) -> Seen:
    """As train_block, of members whose readout alone is trained, one after the other. Too short for
    a checkpoint of its own.

    Raises RunFailed where one diverges.
    """
    opt, n = setup.experiment.optimizer, len(setup.x_train)
    x, done = jnp.concatenate([setup.x_train, setup.x_test]), []
    y, how = setup.dataset.y_train, (setup.lr * setup.rate, opt.momentum)
    for i in range(first, last):
        f, j = readout.jacobian(setup.model, member(setup, i), x)
        f, j = np.asarray(f, np.float64), np.asarray(j, np.float64)
        moved = readout.displacements(j[:n], f[:n] - y, setup.steps, *how)
        pairs = [(f[:n] + j[:n] @ omega, f[n:] + j[n:] @ omega) for omega in moved]
        train, path = (np.stack(part)[..., 0] for part in zip(*pairs, strict=True))
        refuse_diverged(setup, critical, "network", path**2)
        done.append(seen_at(setup, train, path))
        tick(opt.steps * (i + 1 - first) // (last - first))
    return {name: np.stack([seen[name] for seen in done], axis=1) for name in done[0]}


def member(setup: Setup, i: int) -> Any:
    """theta_0 of member i."""
    return functions.init(setup.model, jax.random.key(setup.experiment.seed + i), setup.x_train)


@partial(jit, static_argnames="model")
def on(model: architectures.Network, params0: Any, omega: Any, x: jax.Array) -> jax.Array:
    """Outputs of every member on points x [members, points]: k = 1."""

    def one(params0: Any, omega: Any) -> jax.Array:
        return functions.apply(model, loop.add(params0, omega), x)[:, 0]

    return jax.vmap(one)(params0, omega)


def processes(setup: Setup, nngp: Blocks, theta: Blocks) -> dict[str, Process]:
    """The outputs of infinitely wide networks."""
    y, rate = setup.dataset.y_train, setup.lr * setup.rate
    momentum, flow = setup.experiment.optimizer.momentum, setup.experiment.linearized.flow
    last, found = setup.steps[-1:], {}
    for name, steps, process in (
        ("ntk_analytic", setup.steps, (nngp, theta, y, setup.steps, rate, flow, momentum)),
        ("nngp", setup.steps, (nngp, nngp, y, setup.steps, rate, flow, momentum)),
        ("nngp_posterior", last, (nngp, nngp, y, [np.inf], rate)),
    ):
        found[name] = Process(steps, gaussian_process.ensemble(*process))
    return found


def process_rows(found: dict[str, Process]) -> list[pd.DataFrame]:
    return [
        rows(name, quantity, process.steps, getattr(process, quantity), "path")
        for name, process in found.items()
        for quantity in ("mean", "std")
    ]


def noise_rows(found: dict[str, Process], members: int) -> list[pd.DataFrame]:
    """How far the moments of so many networks lie from the process that they are draws of, in 95
    of 100 ensembles at most. At step 0: the largest |s / sigma - 1| over points. At the last: the
    largest gaussian_process.distance over the steps after 0, each over that of the two processes,
    NTK and NNGP. None of a single network, nor where the two are one."""
    if members < 2:
        return []
    pair, frames = (found["ntk_analytic"], found["nngp"]), []
    apart = distance(pair[0].mean, pair[0].std, (pair[1].mean, pair[1].std))[1:]
    for name, own in zip(("ntk_analytic", "nngp"), pair, strict=True):
        mean, std = gaussian_process.moments(own.of, members, DRAWS)
        off = np.abs(std[:, 0] / own.std[0] - 1).max(1)
        frames.append(rows(name, "noise", [0], [np.quantile(off, LEVEL)], "path"))
        if apart.size and apart.all():
            off = (distance(mean, std, (own.mean, own.std))[:, 1:] / apart).max(1)
            last = own.steps[-1:]
            frames.append(rows(name, "noise", last, [np.quantile(off, LEVEL)], "path"))
    return frames


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
    critical["network"] = critical[TRAINED[setup.experiment.optimizer.train].kernel]
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
    t, n, m = len(setup.steps), len(setup.x_train), len(setup.x_test)
    dataset = of_host(nbytes(setup.dataset[:4]))
    held = nbytes((setup.x_train, setup.x_test)) + dataset
    outputs = setup.experiment.samples * m
    kernels = 8 * (n + m) ** 2
    processes = t * (m * (n + m) * 3 + m * m) * 8
    return [
        reading(setup),
        *TRAINED[setup.experiment.optimizer.train].calls(setup, held),
        *gaussian_processes(setup, dataset + of_host(6 * kernels + processes)),
        record(setup, t * outputs + (4 * t + 3) * m, t * outputs * 8),  # and processes, alpha
    ]


def train_calls(setup: Setup, held: int) -> list[Call | HostCall]:
    """Of all blocks."""
    return BLOCK_CALLS[setup.experiment.optimizer.solver](setup, held)


def leap_calls(setup: Setup, held: int) -> list[Call | HostCall]:
    """A member after another."""
    count, t, x = setup.experiment.samples, len(setup.steps), setup.x_test
    held += nbytes(setup.params0) + leaping_costs.held(setup)
    every = both(setup.x_train, x)
    own = [
        draw(setup, held),
        *kernel_costs.tangent_kernel(setup, "Theta_0(x, X)", 1, every, held),
        kernel_costs.eigenvalues(setup.dataset.y_train.size, held),
        *leaping_costs.calls(setup, held),
        *(
            Call("outputs", t, partial(functions.apply, setup.model), (setup.params0, points), held)
            for points in (setup.x_train, x)
        ),
    ]
    return [call._replace(calls=count * call.calls) for call in own]


def step_calls(setup: Setup, held: int) -> list[Call | HostCall]:
    experiment = setup.experiment
    size = min(together(setup), experiment.samples)
    blocks = experiment.samples / size
    recipe, task = recipe_of(setup), task_shapes(setup, ("network",))
    task = jax.eval_shape(lambda one: loop.stack([one] * size), task)
    states = jax.eval_shape(partial(loop.start_members, recipe, names=("network",)), task)
    held += nbytes((task, states))
    call = lambda task, states, i: loop.advance_members(recipe, task, states, 0, i)  # noqa: E731
    args = (task, states, struct((), jnp.int32))
    steps = blocks * experiment.optimizer.steps
    one = partial(evaluate, recipe, "network")
    seen = (task.params0, states["network"][0])
    return [
        draw(setup, held, experiment.samples),
        Call(f"steps, {size} networks", steps, call, args, held, (1,), True),
        *(
            Call("outputs", len(setup.steps) * blocks, jax.vmap(one, (0, 0, None)), own, held)
            for own in ((*seen, setup.x_train), (*seen, setup.x_test))
        ),
    ]


BLOCK_CALLS = {Solver.steps: step_calls, Solver.leaps: leap_calls}


def solve_calls(setup: Setup, held: int) -> list[Call | HostCall]:
    """Of all members."""
    count, x = setup.experiment.samples, both(setup.x_train, setup.x_test)
    held += nbytes(setup.params0)
    return [draw(setup, held, count), *readout_solution(setup, "outputs", count, x, held)]


def gaussian_processes(setup: Setup, held: int) -> list[HostCall]:
    """Analytic kernels and gaussian_process.ensemble, on random points of a measurable size; and
    the draws that `noise` is a quantile of, in about as many directions as paths have."""
    t, n, m = len(setup.steps), len(setup.x_train), len(setup.x_test)
    count, size = setup.experiment.samples, min(n + m, MEASURED)
    share = (n + m) / size
    rng = np.random.default_rng(0)
    small = setup.dataset._replace(
        x_train=rng.standard_normal((round(n / share), setup.x_train.shape[1])),
        x_test=rng.standard_normal((round(m / share), setup.x_train.shape[1])),
        y_train=np.ones((round(n / share), 1)),
    )
    given = setup._replace(dataset=small)
    call = lambda: process_rows(processes(given, *analytic_blocks(given)))  # noqa: E731
    root = rng.standard_normal((t, round(m / share), DIRECTIONS))
    of = gaussian_process.Ensemble(np.zeros((*root.shape[:2], 1)), root)
    draws = partial(gaussian_process.moments, of, max(count, 2), DRAWS // 100)
    return [
        HostCall("Gaussian processes", 1, call, share**3, held),
        HostCall("noise of ensembles", 2 * (count > 1), draws, 100 * share, held),
    ]


def needs(setup: Setup) -> list[Need]:
    """One member at least, and the analytic kernels over train points and path."""
    points = len(setup.x_train) + len(setup.x_test)
    what, copies = TRAINED[setup.experiment.optimizer.train].alive
    return [
        data(setup),
        Need(what, "model.width", copies * nbytes(setup.params0)),
        Need("analytic kernels", "data.train", 4 * 8 * points**2, host=True),
        *leaping_costs.NEEDS[setup.experiment.optimizer.solver](setup),
    ]


def models(setup: Setup) -> tuple[str, ...]:
    """Those that are trained by steps."""
    return TRAINED[setup.experiment.optimizer.train].models


class Way(NamedTuple):
    """How a member is trained: the `kernel` that it moves by, what gives `blocks` of members, by
    solver, and what that `calls`; what is `alive` of the size of its parameters; the `models` that
    take steps.
    """

    kernel: str
    blocks: dict[Solver, Block]
    calls: Callable[[Setup, int], list[Call | HostCall]]
    alive: tuple[str, int]
    models: tuple[str, ...]


WHOLE = "parameters and their gradients"
TRAINED = {
    Trained.all: Way("ntk_analytic", BLOCKS, train_calls, (WHOLE, 3), ("network",)),
    Trained.readout: Way(
        "nngp", dict.fromkeys(Solver, solve_block), solve_calls, ("parameters", 1), ()
    ),
}
