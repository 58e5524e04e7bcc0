"""One loop for every model that is trained in parameter space, side by side.

`states` = {"network": ..., "linearized": ...}: the same theta_0, loss, optimizer and batches. What
is trained is the displacement omega = theta - theta_0, which float32 keeps late updates of.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ntkrepro.compilation import jit
from ntkrepro.networks import functions
from ntkrepro.theory.kernels.empirical import spread
from ntkrepro.theory.linearize import Apply, from_factors, linearize, linearize_structured
from ntkrepro.theory.losses import LOSSES
from ntkrepro.training.batches import batch_at
from ntkrepro.training.optimizers import optimizer
from ntkrepro.training.recipe import Recipe, Task

CHUNK = 1.0  # seconds between two looks at a running program


def applies(recipe: Recipe, params0: Any) -> dict[str, Apply]:
    """The models that can be trained, each a function of (omega, x) -> [n, k]."""
    network = partial(functions.apply, recipe.model)
    tangent = linearize(network, params0)
    found: dict[str, Apply] = {
        "network": lambda omega, x: network(add(params0, omega), x),
        "linearized": linearize_structured(recipe.model, params0)
        if recipe.few
        else lambda omega, x: tangent(fill(params0, omega), x),
    }
    return {name: about_start(recipe, apply) for name, apply in found.items()}


def about_start(recipe: Recipe, apply: Apply) -> Apply:
    """The same, or, where that is asked for, minus what it is at theta_0."""
    if not recipe.centred:
        return apply
    return lambda omega, x: apply(omega, x) - apply({}, x)


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


def trained(recipe: Recipe, params: Any) -> Any:
    """The part of something like the parameters that is trained."""
    return TRAINED[recipe.trained](params)


@partial(jit, static_argnames=("recipe", "names"))
def start(recipe: Recipe, task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    """Fresh states (omega = 0, the optimizer's memory) of the named models."""
    params = trained(recipe, task.params0)
    omega = jax.tree.map(jnp.zeros_like, params)
    transform = optimizer(recipe, task.lr)
    return {name: (jax.tree.map(jnp.copy, omega), transform.init(params)) for name in names}


def objective(recipe: Recipe, apply: Apply, omega: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss that is descended: loss.scale times the mean of losses.py."""
    return recipe.loss_scale * LOSSES[recipe.loss].value(apply(omega, x), y)


def update(recipe: Recipe, task: Task, name: str, state: Any, batch: Any) -> Any:
    """One optimizer step of one model on one batch (Eq. 20)."""
    omega, memory = state
    apply = applies(recipe, task.params0)[name]
    factors = task.factors
    if name == "linearized" and factors is not None:
        apply = about_start(recipe, lambda omega, x: from_factors(factors, omega))
    gradient = jax.grad(objective, argnums=2)(recipe, apply, omega, *batch)
    if task.rates is not None:
        gradient = jax.tree.map(jnp.multiply, gradient, trained(recipe, task.rates))
    theta = trained(recipe, add(task.params0, omega))
    change, memory = optimizer(recipe, task.lr).update(gradient, memory, theta)
    return optax.apply_updates(omega, change), memory


def step(recipe: Recipe, task: Task, states: dict[str, Any], i: jax.Array) -> dict[str, Any]:
    """Step i of every model."""
    batch = batch_at(recipe, task, i)
    return {name: update(recipe, task, name, state, batch) for name, state in states.items()}


@partial(jit, static_argnames="recipe", donate_argnames="states")
def in_loop(
    recipe: Recipe, task: Task, states: dict[str, Any], first: jax.Array, last: jax.Array
) -> dict[str, Any]:
    """As `advance`, in a compiled loop. Both ends traced: one compile for all."""
    return jax.lax.fori_loop(first, last, lambda i, s: step(recipe, task, s, i), states)


_step = partial(jit, static_argnames="recipe", donate_argnames="states")(step)


def steps_in_python(recipe: Recipe) -> bool:
    return recipe.model.convolutional and jax.default_backend() == "cpu"


def in_python(
    recipe: Recipe, task: Task, states: dict[str, Any], first: int, last: int
) -> dict[str, Any]:
    """As `advance`, in a loop over a compiled step."""
    for i in range(first, last):
        states = _step(recipe, task, states, i)
    return states


def advance(
    recipe: Recipe, task: Task, states: dict[str, Any], first: int, last: int
) -> dict[str, Any]:
    """Every model from step `first` to step `last`.

    One compiled loop, but on a CPU for convolutions a loop over a compiled step: there XLA runs
    their gradients within loops ten to thirty times slower.
    """
    forward = in_python if steps_in_python(recipe) else in_loop
    return forward(recipe, task, states, first, last)


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


@partial(jit, static_argnames="recipe", donate_argnames="states")
def advance_members(
    recipe: Recipe, task: Task, states: dict[str, Any], first: jax.Array, last: jax.Array
) -> dict[str, Any]:
    """As `advance`, for a stacked task."""
    loop = partial(in_loop, recipe)
    return jax.vmap(loop, (AXES, 0, None, None))(task, states, first, last)


def start_members(recipe: Recipe, task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    return jax.tree.map(spread, _started(recipe, task, names))


@partial(jit, static_argnames=("recipe", "names"))
def _started(recipe: Recipe, task: Task, names: tuple[str, ...]) -> dict[str, Any]:
    return jax.vmap(lambda t: start(recipe, t, names), (AXES,))(task)


def train(
    recipe: Recipe,
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
    now, states = resume or (0, begin(recipe, task, names))
    size = 1
    for target in steps:
        while now < target:
            stop, began = min(target, now + size), time.perf_counter()
            states = jax.block_until_ready(forward(recipe, task, states, now, stop))
            seconds = time.perf_counter() - began
            size = max(1, min(2 * size, round((stop - now) * CHUNK / max(seconds, 1e-6))))
            now = stop
            tick(now)
            keep(now, states)
        yield now, {name: state[0] for name, state in states.items()}
