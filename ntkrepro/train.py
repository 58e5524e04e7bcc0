"""One loop for every model that is trained in parameter space, side by side.

`states` = {"network": ..., "linearized": ...}: the same theta_0, loss, optimizer and batches. What
is trained is the displacement omega = theta - theta_0, which float32 keeps late updates of.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntkrepro import models
from ntkrepro.compilation import jit
from ntkrepro.kernels.empirical import spread
from ntkrepro.linear import Apply, Factors, displaced, displaced_structured, from_factors
from ntkrepro.loss import LOSSES

CHUNK = 1.0  # seconds between two looks at a running program


class Program(NamedTuple):
    """What is compiled; hashable. `few` = few outputs, so that displaced_structured is the cheaper.

    `trained`, of TRAINED: what else there is stays at theta_0, and omega has no entry for it.
    `image`: the shape (h, w, c) of images that are augmented; none = they are not.
    """

    model: models.Network
    loss: str = "mse"
    loss_scale: float = 1.0
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    few: bool = False
    trained: str = "all"
    image: tuple[int, ...] | None = None


class Task(NamedTuple):
    """What the compiled program is given: theta_0, x [n, d], y [n, k], lr, batches [steps, batch].

    `schedule` none = full batch; `rates`, like theta_0, multiplies gradients (Eq. S33), none = 1;
    `key` draws the augmentation; `factors` are those of linear.py at x, where every batch is full.
    """

    params0: Any
    x: jax.Array
    y: jax.Array
    lr: jax.Array
    schedule: jax.Array | None = None
    rates: Any = None
    key: jax.Array | None = None
    factors: Factors | None = None


def applies(program: Program, params0: Any) -> dict[str, Apply]:
    """The models that can be trained, each a function of (omega, x) -> [n, k]."""
    network = partial(models.apply, program.model)
    if program.few:
        linearized = displaced_structured(program.model, params0)
    else:
        tangent = displaced(network, params0)
        linearized = lambda omega, x: tangent(fill(params0, omega), x)  # noqa: E731
    return {"network": lambda omega, x: network(add(params0, omega), x), "linearized": linearized}


def add(params0: Any, omega: Any) -> Any:
    """theta = theta_0 + omega, where omega has an entry."""
    moved = {name: jax.tree.map(jnp.add, params0[name], part) for name, part in omega.items()}
    return {**params0, **moved}


def fill(params0: Any, omega: Any) -> Any:
    """omega with zeros for the layers that are not trained."""
    still = {name: part for name, part in params0.items() if name not in omega}
    return {**jax.tree.map(jnp.zeros_like, still), **omega}


TRAINED: dict[str, Callable[[Any], Any]] = {
    "all": lambda params: params,
    "readout": lambda params: {"readout": params["readout"]},
}


def trained(program: Program, params: Any) -> Any:
    """The part of something like the parameters that is trained."""
    return TRAINED[program.trained](params)


def sgd(program: Program, lr: jax.Array) -> optax.GradientTransformation:
    steps = optax.sgd(lr, program.momentum or None)
    if program.weight_decay:
        return optax.chain(optax.add_decayed_weights(program.weight_decay), steps)
    return steps


def adam(program: Program, lr: jax.Array) -> optax.GradientTransformation:
    return optax.adamw(lr, weight_decay=program.weight_decay)


OPTIMIZERS: dict[str, Callable[[Program, Any], optax.GradientTransformation]] = {
    "sgd": sgd,
    "adam": adam,
}


def optimizer(program: Program, lr: jax.Array) -> optax.GradientTransformation:
    """optax's transform, one for every model. Weight decay pulls theta, not omega, to 0."""
    return OPTIMIZERS[program.optimizer](program, lr)


@partial(jit, static_argnames=("program", "names"))
def start(program: Program, task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    """Fresh states (omega = 0, the optimizer's memory) of the named models."""
    params = trained(program, task.params0)
    omega = jax.tree.map(jnp.zeros_like, params)
    transform = optimizer(program, task.lr)
    return {name: (jax.tree.map(jnp.copy, omega), transform.init(params)) for name in names}


def objective(program: Program, apply: Apply, omega: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss that is descended: loss.scale times the mean of loss.py."""
    return program.loss_scale * LOSSES[program.loss].value(apply(omega, x), y)


def update(program: Program, task: Task, name: str, state: Any, batch: Any) -> Any:
    """One optimizer step of one model on one batch (Eq. 20)."""
    omega, memory = state
    apply = applies(program, task.params0)[name]
    factors = task.factors
    if name == "linearized" and factors is not None:
        apply = lambda omega, x: from_factors(factors, omega)  # noqa: E731
    gradient = jax.grad(objective, argnums=2)(program, apply, omega, *batch)
    if task.rates is not None:
        gradient = jax.tree.map(jnp.multiply, gradient, trained(program, task.rates))
    theta = trained(program, add(task.params0, omega))
    change, memory = optimizer(program, task.lr).update(gradient, memory, theta)
    return optax.apply_updates(omega, change), memory


def batch_at(program: Program, task: Task, i: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The examples that every model sees at step i."""
    x, y = task.x, task.y
    if task.schedule is not None:
        x, y = x[task.schedule[i]], y[task.schedule[i]]
    if program.image is not None:
        assert task.key is not None
        images = augment(jax.random.fold_in(task.key, i), x.reshape(-1, *program.image))
        x = images.reshape(x.shape)
    return x, y


def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image flipped or not, and shifted by up to h/8 pixels on zeros; [n, h, w, c]."""
    n, h, w, c = images.shape
    pad = h // 8
    keys = jax.random.split(key)
    flip = jax.random.bernoulli(keys[0], 0.5, (n, 1, 1, 1))
    corner = jax.random.randint(keys[1], (n, 2), 0, 2 * pad + 1)
    flipped = jnp.where(flip, images[:, :, ::-1], images)
    padded = jnp.pad(flipped, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    crop = jax.vmap(lambda a, at: jax.lax.dynamic_slice(a, (at[0], at[1], 0), (h, w, c)))
    return crop(padded, corner)


def step(program: Program, task: Task, states: dict[str, Any], i: jax.Array) -> dict[str, Any]:
    """Step i of every model."""
    batch = batch_at(program, task, i)
    return {name: update(program, task, name, state, batch) for name, state in states.items()}


@partial(jit, static_argnames="program", donate_argnames="states")
def _loop(
    program: Program, task: Task, states: dict[str, Any], first: jax.Array, last: jax.Array
) -> dict[str, Any]:
    """Both ends traced: one compile for all."""
    return jax.lax.fori_loop(first, last, lambda i, s: step(program, task, s, i), states)


_step = partial(jit, static_argnames="program", donate_argnames="states")(step)


def steps_in_python(program: Program) -> bool:
    return program.model.convolutional and jax.default_backend() == "cpu"


def advance(
    program: Program, task: Task, states: dict[str, Any], first: int, last: int
) -> dict[str, Any]:
    """Every model from step `first` to step `last`.

    One compiled loop, but on a CPU for convolutions a loop over a compiled step: there XLA runs
    their gradients within loops ten to thirty times slower.
    """
    if steps_in_python(program):
        for i in range(first, last):
            states = _step(program, task, states, i)
        return states
    return _loop(program, task, states, first, last)


_MEMBER: Any = {name: None if name in ("x", "y") else 0 for name in Task._fields}
AXES = Task(**_MEMBER)  # of `stack`: members share x and y


def stack(tasks: list[Task]) -> Task:
    """One task for networks that differ in theta_0, lr, batches or augmentation: an axis in front.

    The members are spread over all devices where their number allows.
    """
    shared = tasks[0]
    nothing: Any = None
    own = [task._replace(x=nothing, y=nothing) for task in tasks]
    whole = jax.tree.map(spread, _stacked(own))
    return whole._replace(x=shared.x, y=shared.y)


@jit
def _stacked(own: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)


@jit
def member(stacked: Any, i: int) -> Any:
    """One network's part of what has their axis in front."""
    return jax.tree.map(lambda leaf: leaf[i], stacked)


@partial(jit, static_argnames="program", donate_argnames="states")
def advance_members(
    program: Program, task: Task, states: dict[str, Any], first: jax.Array, last: jax.Array
) -> dict[str, Any]:
    """As `advance`, for a stacked task."""
    loop = partial(_loop, program)
    return jax.vmap(loop, (AXES, 0, None, None))(task, states, first, last)


def start_members(program: Program, task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    return jax.tree.map(spread, _started(program, task, names))


@partial(jit, static_argnames=("program", "names"))
def _started(program: Program, task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    return jax.vmap(lambda t: start(program, t, names), (AXES,))(task)


def run(
    program: Program,
    task: Task,
    names: tuple[str, ...],
    steps: list[int],
    tick: Callable[[int], None] = lambda step: None,
    members: bool = False,
    keep: Callable[[int, Any], None] = lambda step, states: None,
    resume: tuple[int, Any] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (step, {name: omega}) at each of `steps`, ascending; tick(step) about every second.

    `members`: a stacked task; omega then has its axis. `keep` gets what `resume` goes on from, as
    often as `tick`. Where a chunk ends changes no bit of the result. omega lives until the next is
    asked for.
    """
    begin, forward = (start_members, advance_members) if members else (start, advance)
    now, states = resume or (0, begin(program, task, names))
    size = 1
    for target in steps:
        while now < target:
            stop, began = min(target, now + size), time.perf_counter()
            states = jax.block_until_ready(forward(program, task, states, now, stop))
            seconds = time.perf_counter() - began
            size = max(1, min(2 * size, round((stop - now) * CHUNK / max(seconds, 1e-6))))
            now = stop
            tick(now)
            keep(now, states)
        yield now, {name: state[0] for name, state in states.items()}


def batch_schedule(seed: int, n: int, batch: int | None, steps: int) -> np.ndarray | None:
    """Indices [steps, batch] into n examples: epochs without replacement; none for a full batch.

    An epoch's last n mod batch examples sit out.
    """
    if batch is None or batch == n:
        return None
    rng, per_epoch = np.random.default_rng([seed, 1]), n // batch
    epochs = -(-steps // per_epoch) if steps else 0
    rows = [rng.permutation(n)[: per_epoch * batch].reshape(-1, batch) for _ in range(epochs)]
    return np.concatenate([np.empty((0, batch), int), *rows])[:steps].astype(np.int32)
