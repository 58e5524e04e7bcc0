"""Training: the network, and its linearization where that is trained too, observed on the way."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro import signals
from ntkrepro.config.rules import gradient_descent
from ntkrepro.config.schema import LayerRates, Solver, Trained
from ntkrepro.errors import RunFailed
from ntkrepro.networks import functions
from ntkrepro.programs import failures, leaping
from ntkrepro.programs.observe import (
    Member,
    Point,
    Reached,
    initial_kernels,
    observe_all,
    shown,
    train_loss,
)
from ntkrepro.programs.setup import Setup
from ntkrepro.progress import Tick
from ntkrepro.theory import readout
from ntkrepro.theory.linearize import factors_of
from ntkrepro.theory.tangent import tangent
from ntkrepro.training import checkpoint, loop, measure
from ntkrepro.training.measure import Trajectory
from ntkrepro.training.recipe import Recipe, Task

FEW_OUTPUTS = 2  # up to here linearize_structured is the cheaper linearization
LAYER_RATES: dict[LayerRates, Callable[..., Any]] = {
    LayerRates.same: lambda model, params0, x: None,
    LayerRates.S33: functions.layer_rates,
}
Outcome = dict[str, Trajectory] | RunFailed
LAST = "kernel/"  # and the member, in a checkpoint


def trajectories(
    members: list[Member], names: tuple[str, ...], tick: Tick
) -> tuple[list[Outcome], float]:
    """Train the named models of every member together, from the last checkpoint if there is one.

    Returns what was seen of each up to its end (`over`), or why it failed (`failure`); and the
    seconds of training alone.
    """
    experiment, several = members[0].setup.experiment, len(members) > 1
    recipe = recipe_of(members[0].setup)
    by = by_formula if solves(members[0].setup) else SOLVERS[experiment.optimizer.solver]
    fresh, train = by(members, names)
    path = members[0].setup.run.beside("checkpoint")
    name = " ".join(member.setup.run.id for member in members)
    now, states, stored = checkpoint.load(path, name, fresh)
    seen = [unpack(stored, i) for i in range(len(members))]
    last = [stored.get(f"{LAST}{i}") for i in range(len(members))]
    keep = checkpoint.keeper(path, experiment.checkpoint, name, lambda: pack(seen, last))
    steps = members[0].setup.steps[max(map(len, seen)) :]
    trained = train(steps, tick, keep, (now, states))
    members, starts = zip(*map(with_kernels, members), strict=True)
    seconds, began = 0.0, time.perf_counter()
    with signals.deferred():
        for reached in trained:
            seconds += time.perf_counter() - began
            for i, member in enumerate(members):
                if not over(member, seen[i]):
                    omegas = loop.member(reached.omegas, i) if several else reached.omegas
                    own = reached._replace(omegas=omegas)
                    point, last[i] = observe_all(recipe, member.setup, own, starts[i], last[i])
                    seen[i].append(point)
            tick(reached.step, **shown(members[0], seen[0]))
            if all(over(member, points) for member, points in zip(members, seen, strict=True)):
                break
            began = time.perf_counter()
    return [outcome(m, p) for m, p in zip(members, seen, strict=True)], round(seconds, 3)


Train = Callable[..., Iterator[Reached]]  # of steps, tick, keep, (step, states) to resume


def by_steps(members: list[Member], names: tuple[str, ...]) -> tuple[Any, Train]:
    """Fresh states, and the steps of every model of all members at once."""
    tasks, several = [task_of(member.setup, names) for member in members], len(members) > 1
    recipe, task = recipe_of(members[0].setup), loop.stack(tasks) if several else tasks[0]
    begin = loop.start_members if several else loop.start

    def train(steps: list[int], tick: Tick, keep: checkpoint.Keep, resume: Any) -> Iterator:
        found = loop.train(recipe, task, names, steps, tick, several, keep, resume)
        return (Reached(*pair) for pair in found)

    return begin(recipe, task, names), train


def by_leaps(members: list[Member], names: tuple[str, ...]) -> tuple[Any, Train]:
    """The same of one network by leaps."""
    ((setup, theta),) = [(member.setup, member.theta) for member in members]
    return leaping.start(setup), partial(leaping.train, setup, theta)


SOLVERS = {Solver.steps: by_steps, Solver.leaps: by_leaps}


def by_formula(members: list[Member], names: tuple[str, ...]) -> tuple[Any, Train]:
    """The same of a readout, without steps."""
    fresh, _ = by_steps(members, names)

    def train(steps: list[int], tick: Tick, keep: checkpoint.Keep, resume: Any) -> Iterator:
        found = solved(members, names, steps, lambda step: keep(step, resume[1]))
        return (Reached(*pair) for pair in found)

    return fresh, train


def solves(setup: Setup) -> bool:
    """Whether every omega_t has a closed form: of a readout that gradient descent trains alone, on
    mse, and optimizer.batch is none. From the config, so that a plan on fewer examples agrees."""
    experiment = setup.experiment
    plain = gradient_descent(experiment, Trained.readout) and setup.loss.quadratic
    return plain and experiment.optimizer.batch is None


def solved(
    members: list[Member], names: tuple[str, ...], steps: list[int], keep: Callable[[int], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """As loop.train, without steps; one omega_t is that of every model."""
    paths = [readout_path(member.setup) for member in members]
    for step, *own in zip(members[0].setup.steps, *paths, strict=True):
        if step in steps:  # else it has been seen
            keep(step)
            omega = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own) if own[1:] else own[0]
            yield step, dict.fromkeys(names, omega)


def readout_path(setup: Setup) -> Iterator[Any]:
    """omega_t at every logged step, in the run's precision."""
    f, j = readout.jacobian(setup.model, setup.params0, setup.x_train)
    start = 0.0 if setup.experiment.model.centred else np.asarray(f, np.float64)
    residual = start - setup.dataset.y_train
    how = setup.lr * setup.rate, setup.experiment.optimizer.momentum
    for omega in readout.displacements(j, residual, setup.steps, *how):
        parts = {"w": omega[:-1], "b": omega[-1]}
        moved = {name: jnp.asarray(parts[name], f.dtype) for name in setup.params0["readout"]}
        yield {"readout": moved}


def with_kernels(member: Member) -> tuple[Member, measure.Empirical | None]:
    """A member and its kernels at theta_0; without any it ends at once."""
    setup, experiment = member.setup, member.setup.experiment
    leaps = experiment.log.kernel and experiment.optimizer.solver is Solver.leaps
    try:
        kernel = tangent(setup.model, setup.params0, setup.x_train).kernel if leaps else None
        return member, initial_kernels(setup, kernel)
    except RunFailed as error:
        return member._replace(end=member.end or (0, error)), None


def pack(seen: list[list[Point]], last: list[np.ndarray | None]) -> checkpoint.Seen:
    """What checkpoint.py stores of all members: an array for each member, model and quantity, and
    the last tangent kernel where it is compared with the next."""
    kernels = {f"{LAST}{i}": theta for i, theta in enumerate(last) if theta is not None}
    return kernels | {
        f"{i}/{name}/{field}": values
        for i, points in enumerate(seen)
        for name in (points[0] if points else ())
        for field, values in measure.stack([p[name] for p in points])._asdict().items()
        if values is not None
    }


def unpack(stored: checkpoint.Seen, i: int) -> list[Point]:
    """The points of member i."""
    own = {tuple(key.split("/")[1:]): v for key, v in stored.items() if key.startswith(f"{i}/")}
    count = len(next(iter(own.values()))) if own else 0
    names = list(dict.fromkeys(name for name, _ in own))
    return [
        {
            name: Trajectory(**{field: v[t] for (n, field), v in own.items() if n == name})
            for name in names
        }
        for t in range(count)
    ]


def over(member: Member, points: list[Point]) -> bool:
    """Whether a run has ended: it failed, or optimizer.stop or optimizer.plateau was reached."""
    setup, opt = member.setup, member.setup.experiment.optimizer
    if failure(member, points) or (points and away(member, points, "network")):
        return True
    if not points or not (opt.stop or opt.plateau):
        return False
    now, loss = setup.steps[len(points) - 1], train_loss(setup, points[-1]["network"])
    if loss < opt.stop:
        return True
    if not opt.plateau or now < 1 / opt.plateau:
        return False
    half = bisect_right(setup.steps, now / 2) - 1
    return abs(loss / train_loss(setup, points[half]["network"]) - 1) < opt.plateau


def failure(member: Member, points: list[Point]) -> RunFailed | None:
    """Why a run fails: as was known beforehand, or for a model that is seen to have diverged."""
    if member.end and len(points) >= member.end[0]:
        return member.end[1]
    index = len(points) - 1
    for name in points[-1] if points else ():
        if away(member, points, name) and not failures.recorded(member.setup, index):
            return failures.divergence(member.setup, member.critical, name, index)
    return None


def away(member: Member, points: list[Point], name: str) -> bool:
    """Whether a model is seen to have diverged at the last point."""
    return bool(failures.diverged(member.setup, points[-1][name], points[0][name]))


def outcome(member: Member, points: list[Point]) -> Outcome:
    """The trajectories of a member, with how far its kernels have moved."""
    why = failure(member, points)
    return why or {name: measure.stack([p[name] for p in points]) for name in points[0]}


def recipe_of(setup: Setup) -> Recipe:
    """What the loop compiles."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    return Recipe(
        setup.model,
        experiment.loss.name.name,
        experiment.loss.scale,
        opt.name.name,
        opt.momentum,
        opt.weight_decay,
        trained=opt.train.name,
        few=setup.model.structured and setup.k <= FEW_OUTPUTS,
        image=setup.dataset.image if experiment.data.augment else None,
        centred=experiment.model.centred,
    )


def task_of(setup: Setup, names: tuple[str, ...]) -> Task:
    """What that is given."""
    experiment, dtype = setup.experiment, setup.x_train.dtype
    rates = LAYER_RATES[experiment.optimizer.layer_rates]
    same = setup.schedule is None and not experiment.data.augment  # x at every step
    return Task(
        setup.params0,
        setup.x_train,
        jnp.asarray(setup.dataset.y_train, dtype),
        jnp.asarray(setup.lr, dtype),
        None if setup.schedule is None else jnp.asarray(setup.schedule),
        rates(setup.model, setup.params0, setup.x_train),
        jax.random.fold_in(jax.random.key(experiment.seed), 1),
        factors_of(setup.model, setup.params0, setup.x_train)
        if same and "linearized" in names
        else None,
    )
