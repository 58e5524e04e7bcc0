"""What a run calls, how often, and on which shapes: the functions of the run itself."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro import (
    data,
    ensemble,
    footprint,
    function_space,
    measure,
    models,
    predict,
    train,
)
from ntkrepro.convergence import network
from ntkrepro.function_space import analytic_kernel
from ntkrepro.kernels import batches, empirical, sampling
from ntkrepro.loss import LOSSES
from ntkrepro.setup import Setup, fits, nbytes, outputs
from ntkrepro.side_by_side import spaces, trained
from ntkrepro.weight_space import compiled, has_bound

MEASURED = 1024  # rows at most of a matrix that NumPy works on while it is measured


class Piece(NamedTuple):
    """A function that XLA compiles, and the shapes of its arguments.

    `calls`: of one run. `held`: bytes alive on the device at a call, its arguments among them;
    `host`: in NumPy. With `loop` the last argument is a number of steps that one call takes.
    """

    name: str
    calls: float
    function: Callable[..., Any]
    args: tuple[Any, ...]
    held: int
    host: int
    donated: tuple[int, ...] = ()
    loop: bool = False


class HostPiece(NamedTuple):
    """A function that runs in NumPy, or compiles for itself, at a size to measure it by; `share`
    is the time at the run's size over it. `host`: bytes alive in the run during a call."""

    name: str
    calls: float
    function: Callable[[], Any]
    share: float
    host: int


def reading(setup: Setup) -> HostPiece:
    """Normalization holds three float64 copies of all inputs. What is read, start-up reads too."""
    count, n0 = len(setup.x_train) + len(setup.x_test), setup.dataset.n0
    size = min(count, MEASURED)
    images = np.random.default_rng(0).integers(256, size=(size, n0)).astype(np.uint8)
    how = setup.experiment.data.normalize.name
    call = partial(data.normalize, images, images[:1], how)
    return HostPiece("data", 1, call, count / size, 3 * 8 * count * n0)


def side_by_side(setup: Setup) -> list[Piece | HostPiece]:
    (function, _), names = spaces(setup), trained(setup)
    log, dataset, t = setup.experiment.log, nbytes(setup.dataset[:4]), len(setup.steps)
    theta, k = setup.params0, setup.dataset.y_train.shape[1]
    program, task = task_shapes(setup, names)
    states = jax.eval_shape(partial(train.start, program, names=names), task)
    inputs = nbytes((setup.x_train, setup.x_test, theta))
    host, held = dataset, inputs
    out: list[Piece | HostPiece] = [reading(setup), draw(setup, held, host)]
    if fits(setup):
        out += initial_kernel(setup, held, host)
        host += kernel_bytes(setup, k)
        out.append(eigenvalues(outputs(setup), host))
    elif setup.experiment.optimizer.lr_over_critical:
        out.append(lanczos(setup, held, host))
    if function:
        if fits(setup):
            out += recursion(setup, k, host)
        pulled = (theta, setup.x_train, struct((len(setup.x_train), k), setup.x_train.dtype))
        pull = partial(function_space.pull, setup.model)
        if log.weights:
            out.append(Piece("weights by Eq. 9", t, pull, pulled, held, host))
        if fits(setup) and setup.experiment.linearized.analytic:
            host += kernel_bytes(setup, 1)
            out += [analytic_kernels(setup, host), eigenvalues(len(setup.x_train), host)]
            out += recursion(setup, 1, host)
    held += nbytes((task.y, task.factors, states, task.schedule, task.rates))
    out.append(step(program, task, states, setup.experiment.optimizer.steps, held, host))
    seen = (head(setup.x_train, log.train), setup.x_test)
    for name in names:
        for x in seen if setup.model.mixes_examples else (both(*seen),):
            size = min(log.batch or len(x), len(x))
            call = partial(evaluate, program, name)
            args = (theta, states[name][0], head(x, size))
            out.append(Piece(f"outputs, {name}", t * len(x) / size, call, args, held, host))
    if log.kernel:
        x = head(setup.x_train, log.outputs)
        logged = setup._replace(x_train=x)
        first = (len(x) * k) ** 2 * x.dtype.itemsize
        held += nbytes(theta) + first
        out += tangent_kernel(logged, "Theta_t(X, X)", t, None, held, host)
        if not setup.model.own:
            nngp = partial(empirical.nngp, setup.model)
            out.append(Piece("NNGP", t, nngp, (theta, x), held, host))
        if has_bound(setup):
            out.append(distance(len(x) * k, t, host))
    return out


def task_shapes(setup: Setup, names: tuple[str, ...]) -> tuple[train.Program, train.Task]:
    """What `compiled` gives of shapes."""
    programs = []

    def make(params0: Any, x: Any, y: Any, schedule: Any) -> train.Task:
        dataset = setup.dataset._replace(y_train=y)
        given = setup._replace(params0=params0, x_train=x, dataset=dataset, schedule=schedule)
        program, task = compiled(given, names)
        programs.append(program)
        return task

    task = jax.eval_shape(make, setup.params0, setup.x_train, setup.dataset.y_train, setup.schedule)
    return programs[0], task


def step(program: train.Program, task: Any, states: Any, count: int, held: int, host: int) -> Piece:
    """The step of all models: as it is, or as many as the last argument says in one loop."""
    loop = not train.steps_in_python(program)
    if loop:
        call = lambda task, states, i: train.advance(program, task, states, 0, i)  # noqa: E731
    else:
        call = partial(train.step, program)
    args = (task, states, struct((), jnp.int32))
    name = " + ".join(states)
    return Piece(f"steps, {name}", count, call, args, held, host, donated=(1,), loop=loop)


def evaluate(program: train.Program, name: str, params0: Any, omega: Any, x: Any) -> Any:
    return train.applies(program, params0)[name](omega, x)


def draw(setup: Setup, held: int, host: int, count: int = 1) -> Piece:
    key = jax.eval_shape(jax.random.key, 0)
    args = (key, head(setup.x_train, 1))
    return Piece("theta_0", count, partial(models.draw, setup.model), args, held, host)


def initial_kernel(setup: Setup, held: int, host: int) -> list[Piece | HostPiece]:
    """Of train and test points with the train points; where BatchNorm mixes them, row by row."""
    params, x, x_test = setup.params0, setup.x_train, setup.x_test
    if not setup.model.mixes_examples:
        return tangent_kernel(setup, "Theta_0(x, X)", 1, both(x, x_test), held, host)
    forward = partial(batches.forward, setup.model)
    f, pullback = jax.eval_shape(forward, params, x)
    rows = min(batches.rows_at_once(params, empirical.MEMORY), f.size)
    calls = -(-f.size // rows) * (f.size + len(x_test) * f.shape[1])
    host += rows * nbytes(params)
    held += 2 * nbytes(pullback)
    return [
        Piece("forward passes of Theta_0", 2, forward, (params, x), held, host),
        Piece("rows of Theta_0(x, X)", calls, batches.pull, (pullback, f), held, host),
    ]


def tangent_kernel(
    setup: Setup, name: str, calls: int, other: Any, held: int, host: int
) -> list[Piece | HostPiece]:
    """The blocks of an empirical kernel, those on the diagonal at the price of the others."""
    x, model = setup.x_train, setup.model
    rows = x if other is None else other
    size = empirical.rows_at_once(model, rows, empirical.MEMORY)
    blocks = [-(-len(each) // size) for each in (rows, x)]
    one = blocks == [1, 1]
    count = blocks[0] * (blocks[0] + 1) / 2 if other is None else blocks[0] * blocks[1]
    pair = (head(rows, size),) if other is None and one else (head(rows, size), head(x, size))
    call = partial(empirical.ntk, model, memory=2**62)
    answer = 0 if one else len(rows) * len(x) * outputs(setup) ** 2 // len(x) ** 2
    host += answer * x.dtype.itemsize
    return [Piece(name, calls * count, call, (setup.params0, *pair), held, host)]


def kernel_bytes(setup: Setup, k: int) -> int:
    """Theta(X, X), its eigenvectors, Theta(x, X), float64; k = 1 where all outputs share it."""
    s = len(setup.x_train) * k
    return 8 * (2 * s**2 + s * len(setup.x_test) * k)


def eigenvalues(s: int, host: int) -> HostPiece:
    """A matrix [s, s]; LAPACK's syevd holds four more than are kept."""
    size = min(s, MEASURED)
    a = np.random.default_rng(0).standard_normal((size, size))
    call = partial(predict.spectrum, a @ a.T)
    return HostPiece("eigenvalues", 1, call, (s / size) ** 3, host + 4 * 8 * s**2)


def lanczos(setup: Setup, held: int, host: int) -> Piece:
    """ARPACK's first products: the largest eigenvalue stands out, and few need more."""
    c = struct(setup.dataset.y_train.shape, setup.x_train.dtype)
    push = partial(function_space.push, setup.model)
    calls = function_space.VECTORS + 1
    return Piece("largest eigenvalue", calls, push, (setup.params0, setup.x_train, c), held, host)


def distance(s: int, calls: int, host: int) -> HostPiece:
    size = min(s, MEASURED)
    a = jnp.asarray(np.random.default_rng(0).standard_normal((size, 1, size, 1)))
    call = partial(measure.distance, {"ntk": a}, {"ntk": jnp.zeros_like(a)})
    return HostPiece("|Theta_t - Theta_0|", calls, call, (s / size) ** 3, host + 3 * 8 * s**2)


def recursion(setup: Setup, outputs: int, host: int) -> list[HostPiece]:
    """c_t of minibatches and cross entropy, step by step; the closed form costs next to nothing."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    loss = LOSSES[experiment.loss.name.name]
    batches = setup.schedule
    if experiment.linearized.flow or (loss.quadratic and batches is None):
        return []
    rng, (n, k) = np.random.default_rng(0), setup.dataset.y_train.shape
    measured = 50
    kernel = rng.standard_normal((n, k, n, k) if outputs > 1 else (n, n))
    rows = None if batches is None else rng.integers(n, size=(measured, batches.shape[1]))
    y = np.eye(k)[rng.integers(k, size=n)]
    call = partial(predict.recursion, kernel, y, y, loss.gradient, [measured], 1e-6, 0.9, rows)
    return [HostPiece("recursion of Eq. 9", 1, call, opt.steps / measured, host)]


def analytic_kernels(setup: Setup, host: int) -> HostPiece:
    """Both, at a size to measure; a tile's temporaries are small."""
    n, m = len(setup.x_train), len(setup.x_test)
    size = min(n, MEASURED)
    x = np.random.default_rng(0).standard_normal((size, setup.x_train.shape[1]))
    call = partial(analytic_kernel(setup), x)
    return HostPiece("analytic kernel", 1, call, (n * n / 2 + n * m) / (size**2 / 2), host)


def kernel_convergence(setup: Setup) -> list[Piece | HostPiece]:
    count, n = setup.experiment.samples, len(setup.x_train)
    draw_one = partial(sampling.draw, **dict(network(setup.experiment.model)))
    args = (jax.eval_shape(jax.random.key, 0), setup.x_train)
    host = nbytes(setup.dataset[:4]) + 2 * 8 * count * n**2
    return [
        reading(setup),
        Piece("random kernels", count, draw_one, args, nbytes(setup.x_train), host),
    ]


def ensemble_of_networks(setup: Setup) -> list[Piece | HostPiece]:
    experiment, t = setup.experiment, len(setup.steps)
    n, m = len(setup.x_train), len(setup.x_test)
    size = min(footprint.at_once(nbytes(setup.params0)), experiment.samples)
    blocks = experiment.samples / size
    program, task = task_shapes(setup, ("network",))
    task = jax.eval_shape(lambda one: train.stack([one] * size), task)
    states = jax.eval_shape(partial(train.start_members, program, names=("network",)), task)
    held = nbytes((setup.x_train, setup.x_test, task, states))
    host = nbytes(setup.dataset[:4])
    call = lambda task, states, i: train.advance_members(program, task, states, 0, i)  # noqa: E731
    args = (task, states, struct((), jnp.int32))
    steps = blocks * experiment.optimizer.steps
    one = partial(evaluate, program, "network")
    seen = (task.params0, states["network"][0], setup.x_test)
    kernels = 8 * (n + m) ** 2
    processes = len(setup.steps) * (m * (n + m) * 3 + m * m) * 8
    return [
        reading(setup),
        draw(setup, held, host, experiment.samples),
        Piece(f"steps, {size} networks", steps, call, args, held, host, (1,), True),
        Piece("outputs", t * blocks, jax.vmap(one, (0, 0, None)), seen, held, host),
        gaussian_processes(setup, host + 6 * kernels + processes),
    ]


def gaussian_processes(setup: Setup, host: int) -> HostPiece:
    """Analytic kernels and gp.ensemble, on random points of a measurable size."""
    n, m = len(setup.x_train), len(setup.x_test)
    size = min(n + m, MEASURED)
    share = (n + m) / size
    rng = np.random.default_rng(0)
    small = setup.dataset._replace(
        x_train=rng.standard_normal((round(n / share), setup.x_train.shape[1])),
        x_test=rng.standard_normal((round(m / share), setup.x_train.shape[1])),
        y_train=np.ones((round(n / share), 1)),
    )
    call = partial(ensemble.gaussian_rows, setup._replace(dataset=small))
    return HostPiece("Gaussian processes", 1, call, share**3, host)


def struct(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def both(x: Any, other: Any) -> Any:
    """The shape of points of two arrays in one."""
    return struct((len(x) + len(other), *x.shape[1:]), x.dtype)


def head(x: Any, size: int | None) -> Any:
    """The shape of x[:size]."""
    return struct((len(x) if size is None else min(size, len(x)), *x.shape[1:]), x.dtype)
