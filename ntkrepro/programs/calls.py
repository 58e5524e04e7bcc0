"""What a run calls, how often, on which shapes: the run's own functions, for the plan."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.config.identity import Run
from ntkrepro.data import inputs
from ntkrepro.networks import functions
from ntkrepro.programs.memory import of_host
from ntkrepro.programs.setup import Setup, nbytes
from ntkrepro.programs.weight_space import task_of
from ntkrepro.records import store
from ntkrepro.records.rows import joined, rows
from ntkrepro.theory import readout
from ntkrepro.training import loop
from ntkrepro.training.recipe import Recipe, Task

ROWS = 2**16  # of a record, while its writing is measured
MEASURED = 1024  # rows at most of a matrix that NumPy works on while it is measured


class Call(NamedTuple):
    """A function that XLA compiles, and the shapes of its arguments.

    `calls`: of one run. `held`: bytes alive in the device's memory at a call, its arguments among
    them. With `loop` the last argument is a number of steps that one call takes.
    """

    name: str
    calls: float
    function: Callable[..., Any]
    args: tuple[Any, ...]
    held: int
    donated: tuple[int, ...] = ()
    loop: bool = False


class HostCall(NamedTuple):
    """A function that runs in NumPy, or compiles for itself, at a size to measure it by; `share`
    is the time at the run's size over it. `held`: as of a Call, during one of the run's."""

    name: str
    calls: float
    function: Callable[[], Any]
    share: float
    held: int


def reading(setup: Setup) -> HostCall:
    """Normalization holds three float64 copies of all inputs. What is read, start-up reads too."""
    count, n0 = len(setup.x_train) + len(setup.x_test), setup.dataset.n0
    size = min(count, MEASURED)
    images = np.random.default_rng(0).integers(256, size=(size, n0)).astype(np.uint8)
    how = setup.experiment.data.normalize.name
    call = partial(inputs.normalize, images, images[:1], how)
    return HostCall("data", 1, call, count / size, of_host(3 * 8 * count * n0))


def record(setup: Setup, count: int, numbers: int) -> HostCall:
    """So many rows made of so many bytes of numbers, joined, written and read for the summary.

    Joining holds each row twice; reading has them, their times and Arrow's copy, beside what
    Arrow keeps of the one that was written.
    """
    values = np.random.default_rng(0).standard_normal((1, min(count, ROWS)))
    frame = rows("network", "output", [0], values)
    row = int(frame.memory_usage(index=False).sum()) // values.size
    arrow = sum(column.type.bit_width for column in store.ROWS) // 8

    def write() -> int:
        with tempfile.TemporaryDirectory() as folder:
            run = Run.of(replace(setup.experiment, results=folder))
            store.write(run, joined([frame, frame[:0]]), {})
        return values.size

    alive = max(numbers + 2 * row * count, (row + 8 + 2 * arrow) * count)
    held = of_host(nbytes(setup.dataset[:4]) + alive)
    return HostCall("record", 1, write, count / values.size, held)


def task_shapes(setup: Setup, names: tuple[str, ...]) -> Task:
    """What `task_of` gives of shapes."""

    def make(params0: Any, x: Any, y: Any, schedule: Any) -> Task:
        dataset = setup.dataset._replace(y_train=y)
        given = setup._replace(params0=params0, x_train=x, dataset=dataset, schedule=schedule)
        return task_of(given, names)

    given = setup.params0, setup.x_train, setup.dataset.y_train, setup.schedule
    return jax.eval_shape(make, *given)


def step(recipe: Recipe, task: Any, states: Any, count: int, held: int) -> Call:
    """The step of all models: as it is, or as many as the last argument says in one loop."""
    one, many = partial(loop.step, recipe), partial(steps, recipe)
    in_loop = not loop.steps_in_python(recipe)
    args = (task, states, struct((), jnp.int32))
    name = f"steps, {' + '.join(states)}"
    call = many if in_loop else one
    return Call(name, count, call, args, held, donated=(1,), loop=in_loop)


def steps(recipe: Recipe, task: Any, states: Any, count: Any) -> Any:
    return loop.advance(recipe, task, states, 0, count)


def evaluate(recipe: Recipe, name: str, params0: Any, omega: Any, x: Any) -> Any:
    return loop.applies(recipe, params0)[name](omega, x)


def readout_solution(
    setup: Setup, name: str, count: float, x: Any, held: int
) -> list[Call | HostCall]:
    """So many networks whose readout alone is trained, in closed form: J of points `x`, the train
    points among them, and what omega follows from."""
    forward = partial(readout.jacobian, setup.model)
    _, j = jax.eval_shape(forward, setup.params0, x)
    shape = len(setup.x_train), j.shape[1]
    size = [min(s, MEASURED) for s in shape]
    small = np.random.default_rng(0).standard_normal(size)
    call = lambda: list(readout.displacements(small, small[:, :1], setup.steps, 1e-6))  # noqa: E731
    share = float(np.prod(shape) * min(shape) / (small.size * min(size)))
    own = of_host(8 * (j.size + 6 * min(shape) ** 2))  # J, K, and eigenvectors as LAPACK finds them
    return [
        Call(name, count, forward, (setup.params0, x), held),
        HostCall("readout by Eq. 9", count, call, share, held + own),
    ]


def draw(setup: Setup, held: int, count: int = 1) -> Call:
    key = jax.eval_shape(jax.random.key, 0)
    args = (key, head(setup.x_train, 1))
    return Call("theta_0", count, partial(functions.draw, setup.model), args, held)


def struct(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def both(x: Any, other: Any) -> Any:
    """The shape of points of two arrays in one."""
    return struct((len(x) + len(other), *x.shape[1:]), x.dtype)


def head(x: Any, size: int | None) -> Any:
    """The shape of x[:size]."""
    return struct((len(x) if size is None else min(size, len(x)), *x.shape[1:]), x.dtype)
