"""Training: the network, and its linearization where that is trained too, observed on the way."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro import measure, models, train
from ntkrepro.errors import RunFailed
from ntkrepro.linear import factors_of
from ntkrepro.loss import example_losses
from ntkrepro.measure import Trajectory
from ntkrepro.setup import Setup, fits

FEW_OUTPUTS = 2  # up to here displaced_structured is the cheaper linearization

Tick = Callable[..., None]


def trajectories(
    setup: Setup, names: tuple[str, ...], critical: float, reference: Trajectory | None, tick: Tick
) -> tuple[dict[str, Trajectory], float]:
    """Train the named models together; what was seen of each, and the seconds of training alone.

    `reference` is the linearization that was predicted, for the RMSE that `tick` shows. Raises
    RunFailed, naming lr over `critical`, where outputs are no longer finite.
    """
    program, task = compiled(setup, names)
    points: dict[str, list[Trajectory]] = {name: [] for name in names}
    seconds, began = 0.0, time.perf_counter()
    kernels0: dict[str, jax.Array] | None = None
    for step, omegas in train.run(program, task, names, setup.steps, tick):
        seconds += time.perf_counter() - began
        for name in names:
            points[name].append(observe(program, setup, name, omegas[name]))
        refuse_divergence(setup, points["network"], step, critical)
        if setup.experiment.log.kernel:
            kernels = kernels_of(setup, omegas["network"])
            kernels0 = kernels0 or kernels
            points["network"][-1] = with_kernels(setup, points["network"][-1], kernels, kernels0)
        linear = reference.test[len(points["network"]) - 1] if reference else None
        tick(step, **shown(setup, {name: seen[-1] for name, seen in points.items()}, linear))
        began = time.perf_counter()
    return {name: measure.stack(seen) for name, seen in points.items()}, round(seconds, 3)


def with_kernels(
    setup: Setup, point: Trajectory, now: dict[str, jax.Array], start: dict[str, jax.Array]
) -> Trajectory:
    """How far the kernels have moved; the distance of Eq. S48 where the bound can be measured."""
    point = point._replace(kernel_change=measure.relative_change(now, start))
    experiment = setup.experiment
    bounded = experiment.loss.name.name == "mse" and experiment.linearized.space.name != "none"
    if bounded and fits(setup) and experiment.log.outputs >= len(setup.x_train):
        point = point._replace(kernel_distance=measure.distance(now, start))
    return point


def compiled(setup: Setup, names: tuple[str, ...]) -> tuple[train.Program, train.Task]:
    """What train.py compiles, and what it is given."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    dtype = setup.x_train.dtype
    structured = models.is_structured(setup.model)
    same = setup.schedule is None and not experiment.data.augment  # x at every step
    s33 = opt.layer_rates.name == "S33"
    program = train.Program(
        setup.model,
        experiment.loss.name.name,
        experiment.loss.scale,
        opt.name.name,
        opt.momentum,
        opt.weight_decay,
        readout=opt.train.name == "readout",
        few=structured and setup.dataset.y_train.shape[1] <= FEW_OUTPUTS,
        image=setup.dataset.image if experiment.data.augment else None,
    )
    task = train.Task(
        setup.params0,
        setup.x_train,
        jnp.asarray(setup.dataset.y_train, dtype),
        jnp.asarray(opt.lr, dtype),
        None if setup.schedule is None else jnp.asarray(setup.schedule),
        models.layer_rates(setup.model, setup.params0, setup.x_train) if s33 else None,
        jax.random.fold_in(jax.random.key(experiment.seed), 1),
        factors_of(setup.model, setup.params0, setup.x_train)
        if same and "linearized" in names
        else None,
    )
    return program, task


def observe(program: train.Program, setup: Setup, name: str, omega: Any) -> Trajectory:
    """Outputs and weights of one model at one step."""
    log = setup.experiment.log
    f = partial(_outputs, program, name, setup.params0, omega)
    full = train.fill(setup.params0, omega)
    entries, changes = measure.displacement(full, setup.pick, setup.norms)
    train_f, test_f = (
        np.concatenate([np.asarray(f(part)) for part in parts(x, log.batch)])
        for x in (setup.x_train[: log.train], setup.x_test)
    )
    return Trajectory(train_f, test_f, np.asarray(entries), np.asarray(changes))


def parts(x: jax.Array, size: int | None) -> list[jax.Array]:
    """x in batches of `size` rows, in order; none = in one."""
    return [x[i : i + size] for i in range(0, len(x), size)] if size else [x]


@partial(jax.jit, static_argnames=("program", "name"))
def _outputs(
    program: train.Program, name: str, params0: Any, omega: Any, x: jax.Array
) -> jax.Array:
    return train.applies(program, params0)[name](omega, x)


def kernels_of(setup: Setup, omega: Any) -> dict[str, jax.Array]:
    """Empirical NTK and NNGP on the first `log.outputs` train points."""
    x = setup.x_train[: setup.experiment.log.outputs]
    return measure.kernels(setup.model, train.add(setup.params0, omega), x)


def refuse_divergence(setup: Setup, seen: list[Trajectory], step: int, critical: float) -> None:
    if not all(np.isfinite(f).all() for f in (seen[-1].train, seen[-1].test)):
        lr, last = setup.experiment.optimizer.lr, setup.steps[max(len(seen) - 2, 0)]
        known = f" is {lr / critical:.3g} x the critical learning rate {critical:.4g}"
        raise RunFailed(
            f"training diverged between step {last} and step {step}: optimizer.lr={lr:g}"
            f"{known if np.isfinite(critical) else ''}; lower optimizer.lr"
        )


def shown(setup: Setup, now: dict[str, Trajectory], linear: np.ndarray | None) -> dict[str, float]:
    """Train loss of the network and test RMSE to its linearization, for the progress bar."""
    network, name = now["network"], setup.experiment.loss.name.name
    y = setup.dataset.y_train[: len(network.train)]
    values = {"loss": float(example_losses(name, network.train, y).mean())}
    if linear is None and "linearized" in now:
        linear = now["linearized"].test
    if linear is not None:
        values["rmse"] = float(np.sqrt(np.mean((network.test - linear) ** 2)))
    return values
