"""Training: the network, and its linearization where that is trained too, observed on the way."""

import time
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro import checkpoint, measure, models, records, termination, train
from ntkrepro.compilation import jit
from ntkrepro.config import LayerRates, Space, run_id
from ntkrepro.errors import RunFailed
from ntkrepro.linear import factors_of
from ntkrepro.loss import LOSSES
from ntkrepro.measure import Trajectory
from ntkrepro.setup import Setup, fits

FEW_OUTPUTS = 2  # up to here displaced_structured is the cheaper linearization
LAYER_RATES: dict[LayerRates, Callable[..., Any]] = {
    LayerRates.same: lambda model, params0, x: None,
    LayerRates.S33: models.layer_rates,
}

Tick = Callable[..., None]
Kernels = dict[str, jax.Array]


class Member(NamedTuple):
    """One run of a pack: its critical learning rate, nan if unknown, and the linearization that was
    predicted, for the RMSE that `tick` shows.
    """

    setup: Setup
    critical: float
    reference: Trajectory | None


Point = dict[str, Trajectory]  # of every model at one step
Outcome = dict[str, Trajectory] | RunFailed


def trajectories(
    members: list[Member], names: tuple[str, ...], tick: Tick
) -> tuple[list[Outcome], float]:
    """Train the named models of every member together, from the last checkpoint if there is one.

    Returns what was seen of each up to its end (`over`), or for a member whose outputs are no
    longer finite a RunFailed that names lr over `critical`; and the seconds of training alone.
    """
    experiment = members[0].setup.experiment
    compilations = [compiled(member.setup, names) for member in members]
    program, several = compilations[0][0], len(members) > 1
    task = train.stack([t for _, t in compilations]) if several else compilations[0][1]
    path = records.beside(experiment, "checkpoint")
    name = " ".join(run_id(member.setup.experiment) for member in members)
    begin = train.start_members if several else train.start
    now, states, stored = checkpoint.load(path, name, begin(program, task, names))
    seen = [unpack(stored, i) for i in range(len(members))]
    keep = checkpoint.keeper(path, experiment.checkpoint, name, lambda: pack(seen))
    steps = members[0].setup.steps[max(map(len, seen)) :]
    trained = train.run(program, task, names, steps, tick, several, keep, (now, states))
    starts = [initial_kernels(member.setup) for member in members]
    seconds, began = 0.0, time.perf_counter()
    with termination.deferred():
        for step, omegas in trained:
            seconds += time.perf_counter() - began
            for i, member in enumerate(members):
                if not over(member, seen[i]):
                    own = train.member(omegas, i) if several else omegas
                    seen[i].append(observe_all(program, member.setup, own, starts[i]))
            tick(step, **shown(members[0], seen[0]))
            if all(over(member, points) for member, points in zip(members, seen, strict=True)):
                break
            began = time.perf_counter()
    return [outcome(m, p) for m, p in zip(members, seen, strict=True)], round(seconds, 3)


def pack(seen: list[list[Point]]) -> checkpoint.Seen:
    """What checkpoint.py stores of all members: an array for each member, model and quantity."""
    return {
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
    """Whether a run has ended: it diverged, or optimizer.stop or optimizer.plateau was reached."""
    if not points:
        return False
    setup, opt = member.setup, member.setup.experiment.optimizer
    if not finite(points[-1]["network"]):
        return True
    if not (opt.stop or opt.plateau):
        return False
    now, loss = setup.steps[len(points) - 1], train_loss(setup, points[-1]["network"])
    if loss < opt.stop:
        return True
    if not opt.plateau or now < 1 / opt.plateau:
        return False
    half = bisect_right(setup.steps, now / 2) - 1
    return abs(loss / train_loss(setup, points[half]["network"]) - 1) < opt.plateau


def outcome(member: Member, points: list[Point]) -> Outcome:
    """The trajectories of a member, with how far its kernels have moved."""
    setup, critical = member.setup, member.critical
    if not finite(points[-1]["network"]):
        lr, steps = setup.lr, [0, *setup.steps]
        known = f" is {lr / critical:.3g} x the critical learning rate {critical:.4g}"
        return RunFailed(
            f"training diverged between step {steps[len(points) - 1]} and step "
            f"{steps[len(points)]}: optimizer.lr={lr:g}"
            f"{known if np.isfinite(critical) else ''}; lower optimizer.lr"
        )
    return {name: measure.stack([point[name] for point in points]) for name in points[0]}


def finite(point: Trajectory) -> bool:
    return bool(np.isfinite(point.train).all() and np.isfinite(point.test).all())


def observe_all(
    program: train.Program, setup: Setup, omegas: dict[str, Any], start: Kernels | None
) -> Point:
    """Every model at one step, and how far the network's kernels have moved."""
    point = {name: observe(program, setup, name, omega) for name, omega in omegas.items()}
    if start and finite(point["network"]):
        now = kernels_of(setup, omegas["network"])
        point["network"] = with_kernels(setup, point["network"], now, start)
    return point


def initial_kernels(setup: Setup) -> Kernels | None:
    """The kernels at theta_0, where their change is logged."""
    if not setup.experiment.log.kernel:
        return None
    return kernels_of(setup, jax.tree.map(jnp.zeros_like, setup.params0))


def with_kernels(setup: Setup, point: Trajectory, now: Kernels, start: Kernels) -> Trajectory:
    """How far the kernels have moved; the distance of Eq. S48 where the bound can be measured."""
    point = point._replace(kernel_change=measure.relative_change(now, start))
    if has_bound(setup):
        point = point._replace(kernel_distance=measure.distance(now, start))
    return point


def has_bound(setup: Setup) -> bool:
    """Whether the bound of SM F can be measured: on mse, with the kernel of all train points."""
    experiment = setup.experiment
    compared = experiment.linearized.space is not Space.none
    quadratic = compared and LOSSES[experiment.loss.name.name].quadratic
    return quadratic and fits(setup) and experiment.log.outputs >= len(setup.x_train)


def recipe(setup: Setup) -> train.Program:
    """What train.py compiles."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    return train.Program(
        setup.model,
        experiment.loss.name.name,
        experiment.loss.scale,
        opt.name.name,
        opt.momentum,
        opt.weight_decay,
        trained=opt.train.name,
        few=setup.model.structured and setup.dataset.y_train.shape[1] <= FEW_OUTPUTS,
        image=setup.dataset.image if experiment.data.augment else None,
    )


def compiled(setup: Setup, names: tuple[str, ...]) -> tuple[train.Program, train.Task]:
    """That, and what it is given."""
    experiment, dtype = setup.experiment, setup.x_train.dtype
    rates = LAYER_RATES[experiment.optimizer.layer_rates]
    same = setup.schedule is None and not experiment.data.augment  # x at every step
    task = train.Task(
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
    return recipe(setup), task


def observe(program: train.Program, setup: Setup, name: str, omega: Any) -> Trajectory:
    """Outputs and weights of one model at one step."""
    log = setup.experiment.log
    if name == "network":
        f = partial(measure.apply, setup.model, train.add(setup.params0, omega))
    else:
        f = partial(_linearized, program, setup.params0, omega)
    points = setup.x_train[: log.train], setup.x_test
    seen = measure.outputs(f, points, log.batch, setup.model.mixes_examples)
    if not log.weights:
        return Trajectory(*seen)
    full = train.fill(setup.params0, omega)
    entries, changes = measure.displacement(full, setup.pick, setup.norms)
    return Trajectory(*seen, np.asarray(entries), np.asarray(changes))


@partial(jit, static_argnames="program")
def _linearized(program: train.Program, params0: Any, omega: Any, x: jax.Array) -> jax.Array:
    return train.applies(program, params0)["linearized"](omega, x)


def kernels_of(setup: Setup, omega: Any) -> Kernels:
    """Empirical NTK and NNGP on the first `log.outputs` train points."""
    x = setup.x_train[: setup.experiment.log.outputs]
    return measure.kernels(setup.model, train.add(setup.params0, omega), x)


def train_loss(setup: Setup, network: Trajectory) -> float:
    """The mean loss that is descended, without loss.scale, on the train points that are logged."""
    y = setup.dataset.y_train[: len(network.train)]
    loss = LOSSES[setup.experiment.loss.name.name]
    return float(loss.per_example(network.train, y).mean())


def shown(member: Member, points: list[Point]) -> dict[str, float]:
    """Train loss of the network and test RMSE to its linearization, for the progress bar."""
    network = points[-1]["network"]
    values = {"loss": train_loss(member.setup, network)}
    linear = member.reference.test[len(points) - 1] if member.reference else None
    if linear is None and "linearized" in points[-1]:
        linear = points[-1]["linearized"].test
    if linear is not None:
        values["rmse"] = float(np.sqrt(np.mean((network.test - linear) ** 2)))
    return values
