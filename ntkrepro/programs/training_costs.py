"""What the program `train` calls, and the memory that it needs."""

from collections import Counter
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.networks import functions
from ntkrepro.programs import function_space
from ntkrepro.programs.calls import (
    MEASURED,
    Call,
    HostCall,
    both,
    draw,
    evaluate,
    head,
    reading,
    readout_solution,
    record,
    step,
    struct,
    task_shapes,
)
from ntkrepro.programs.function_space import analytic_kernel
from ntkrepro.programs.memory import Need, data, of_host
from ntkrepro.programs.observe import has_bound
from ntkrepro.programs.setup import Setup, fits, nbytes, outputs
from ntkrepro.programs.side_by_side import all_rows, spaces, trained
from ntkrepro.programs.weight_space import recipe_of, solves
from ntkrepro.theory import dynamics
from ntkrepro.theory.kernels import batchnorm, empirical
from ntkrepro.training import loop, measure
from ntkrepro.training.measure import Trajectory
from ntkrepro.training.optimizers import OPTIMIZERS


def calls(setup: Setup) -> list[Call | HostCall]:
    """In their order; kernels are gone when training begins."""
    (function, _), few = spaces(setup), fits(setup)
    analytic = function and few and setup.experiment.linearized.analytic
    before = nbytes((setup.x_train, setup.x_test, setup.params0))
    before += of_host(nbytes(setup.dataset[:4]))
    held = before + of_host(kernel_bytes(setup, setup.k) if few else 0)
    models = trained(setup) + ("ntk_empirical",) * function + ("ntk_analytic",) * analytic
    one, two = (shape_paths(setup, models, t) for t in (1, 2))
    first, second = (sum(map(len, all_rows(setup, [0] * t, p))) for t, p in ((1, one), (2, two)))
    t = len(setup.steps)
    numbers = 2 * t * nbytes(one)  # stacked, and beside them what they are stacked from
    return [
        reading(setup),
        draw(setup, before),
        *at_the_start(setup, before, held),
        *(predictions(setup, held) if function else []),
        *(analytic_side(setup, held) if analytic else []),
        *training(setup, before + of_host(numbers)),
        record(setup, first + (t - 1) * (second - first), numbers),
    ]


def shape_paths(setup: Setup, models: tuple[str, ...], t: int) -> dict[str, Trajectory]:
    """What is seen of the models at so many steps, as zeros that take no memory."""
    log, (n, k) = setup.experiment.log, setup.dataset.y_train.shape
    layers = len(measure.layer_weights(setup.params0))
    shapes = (log.train or n, k), (len(setup.x_test), k), (log.weights,), (layers,)
    seen = Trajectory(*(np.broadcast_to(0.0, (t, *shape)) for shape in shapes))
    without = seen._replace(weights=None)
    return {name: without if name == "ntk_analytic" else seen for name in models}


def at_the_start(setup: Setup, before: int, held: int) -> list[Call | HostCall]:
    """Theta_0 and its spectrum, or where it is not stored, its largest eigenvalue."""
    if fits(setup):
        return [*initial_kernel(setup, before), eigenvalues(outputs(setup), held)]
    if setup.experiment.optimizer.lr_over_critical:
        return [lanczos(setup, held)]
    return []


def predictions(setup: Setup, held: int) -> list[Call | HostCall]:
    """What follows from the kernel: outputs, and weights by Eq. 9."""
    k, t = setup.k, len(setup.steps)
    out: list[Call | HostCall] = [*recursion(setup, k, held)] if fits(setup) else []
    if setup.experiment.log.weights:
        c = struct((len(setup.x_train), k), setup.x_train.dtype)
        pull = partial(function_space.pull, setup.model)
        args = (setup.params0, setup.x_train, c)
        out.append(Call("weights by Eq. 9", t, pull, args, held))
    return out


def analytic_side(setup: Setup, held: int) -> list[Call | HostCall]:
    n, held = len(setup.x_train), held + of_host(kernel_bytes(setup, 1))
    return [analytic_kernels(setup, held), eigenvalues(n, held), *recursion(setup, 1, held)]


def training(setup: Setup, held: int) -> list[Call | HostCall]:
    """Steps or what stands for them, and what is seen at the logged ones."""
    names, recipe, log = trained(setup), recipe_of(setup), setup.experiment.log
    task = task_shapes(setup, names)
    states = jax.eval_shape(partial(loop.start, recipe, names=names), task)
    held += nbytes((task.y, task.factors, states, task.schedule, task.rates))
    t, theta = len(setup.steps), setup.params0
    steps = setup.experiment.optimizer.steps
    out: list[Call | HostCall] = (
        readout_solution(setup, "readout's input", 1, setup.x_train, held)
        if solves(setup)
        else [step(recipe, task, states, steps, held)]
    )
    n, m = log.train or len(setup.x_train), len(setup.x_test)
    rows: Counter[int] = Counter()  # by how many one call has
    for count in (n, m) if setup.model.mixes_examples else (n + m,):
        rows[min(log.batch or count, count)] += count
    for name, (size, count) in product(names, rows.items()):
        x = struct((size, *setup.x_train.shape[1:]), setup.x_train.dtype)
        args, call = (theta, states[name][0], x), partial(evaluate, recipe, name)
        out.append(Call(f"outputs, {name}", t * count / size, call, args, held))
    return out + (logged_kernels(setup, held) if log.kernel else [])


def logged_kernels(setup: Setup, held: int) -> list[Call | HostCall]:
    """At every logged step."""
    x, t = head(setup.x_train, setup.experiment.log.outputs), len(setup.steps)
    size = len(x) * setup.k
    held += nbytes(setup.params0) + size**2 * x.dtype.itemsize
    logged = setup._replace(x_train=x)
    out = tangent_kernel(logged, "Theta_t(X, X)", t, None, held)
    if not setup.model.own:
        nngp = partial(empirical.nngp, setup.model)
        out.append(Call("NNGP", t, nngp, (setup.params0, x), held))
    if has_bound(setup):
        out.append(distance(size, t, held))
    return out


def initial_kernel(setup: Setup, held: int) -> list[Call | HostCall]:
    """Of train and test points with the train points; where BatchNorm mixes them, row by row."""
    params, x, x_test = setup.params0, setup.x_train, setup.x_test
    if not setup.model.mixes_examples:
        return tangent_kernel(setup, "Theta_0(x, X)", 1, both(x, x_test), held)
    forward = partial(batchnorm.forward, setup.model)
    f, pullback = jax.eval_shape(forward, params, x)
    rows = min(batchnorm.rows_at_once(params, empirical.MEMORY), f.size)
    calls = -(-f.size // rows) * (f.size + len(x_test) * f.shape[1])
    held += 2 * nbytes(pullback) + of_host(rows * nbytes(params))
    return [
        Call("forward passes of Theta_0", 2, forward, (params, x), held),
        Call("rows of Theta_0(x, X)", calls, batchnorm.pull, (pullback, f), held),
    ]


def tangent_kernel(
    setup: Setup, name: str, calls: int, other: Any, held: int
) -> list[Call | HostCall]:
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
    held += of_host(answer * x.dtype.itemsize)
    return [Call(name, calls * count, call, (setup.params0, *pair), held)]


def kernel_bytes(setup: Setup, k: int) -> int:
    """Theta(X, X), its eigenvectors, Theta(x, X), float64; k = 1 where all outputs share it."""
    s = len(setup.x_train) * k
    return 8 * (2 * s**2 + s * len(setup.x_test) * k)


def eigenvalues(s: int, held: int) -> HostCall:
    """A matrix [s, s]; LAPACK's syevd holds four more than are kept."""
    size = min(s, MEASURED)
    a = np.random.default_rng(0).standard_normal((size, size))
    call = partial(dynamics.spectrum, a @ a.T)
    return HostCall("eigenvalues", 1, call, (s / size) ** 3, held + of_host(4 * 8 * s**2))


def lanczos(setup: Setup, held: int) -> Call:
    """ARPACK's first products: the largest eigenvalue stands out, and few need more."""
    c = struct(setup.dataset.y_train.shape, setup.x_train.dtype)
    push = partial(function_space.push, setup.model)
    calls = function_space.VECTORS + 1
    return Call("largest eigenvalue", calls, push, (setup.params0, setup.x_train, c), held)


def distance(s: int, calls: int, held: int) -> HostCall:
    size = min(s, MEASURED)
    a = jnp.asarray(np.random.default_rng(0).standard_normal((size, 1, size, 1)))
    call = partial(measure.distance, {"ntk": a}, {"ntk": jnp.zeros_like(a)})
    return HostCall(
        "|Theta_t - Theta_0|", calls, call, (s / size) ** 3, held + of_host(3 * 8 * s**2)
    )


def recursion(setup: Setup, outputs: int, held: int) -> list[HostCall]:
    """c_t of minibatches and cross entropy, step by step; the closed form costs next to nothing."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    batches = setup.schedule
    if experiment.linearized.flow or (setup.loss.quadratic and batches is None):
        return []
    rng, (n, k) = np.random.default_rng(0), setup.dataset.y_train.shape
    measured = 50
    kernel = rng.standard_normal((n, k, n, k) if outputs > 1 else (n, n))
    rows = None if batches is None else rng.integers(n, size=(measured, batches.shape[1]))
    y = np.eye(k)[rng.integers(k, size=n)]
    call = partial(
        dynamics.recursion, kernel, y, y, setup.loss.gradient, [measured], 1e-6, 0.9, rows
    )
    return [HostCall("recursion of Eq. 9", 1, call, opt.steps / measured, held)]


def analytic_kernels(setup: Setup, held: int) -> HostCall:
    """Both, at a size to measure; a tile's temporaries are small."""
    n, m = len(setup.x_train), len(setup.x_test)
    size = min(n, MEASURED)
    x = np.random.default_rng(0).standard_normal((size, setup.x_train.shape[1]))
    call = partial(analytic_kernel(setup), x)
    return HostCall("analytic kernel", 1, call, (n * n / 2 + n * m) / (size**2 / 2), held)


def needs(setup: Setup) -> list[Need]:
    """A network with its displacement, gradient, momentum and activations; kernels."""
    log, opt = setup.experiment.log, setup.experiment.optimizer
    n, k, params = len(setup.x_train), setup.k, nbytes(setup.params0)
    layers, own = layer_inputs(setup), setup.model.own
    memory = jax.eval_shape(OPTIMIZERS[opt.name.name](recipe_of(setup), opt.lr).init, setup.params0)
    by_rows = fits(setup) and setup.model.mixes_examples
    rows = min(batchnorm.rows_at_once(setup.params0, empirical.MEMORY), n * k) if by_rows else 0
    batch = "optimizer.batch" if opt.batch or n > len(setup.x_test) else "data.train"
    kept = min(log.outputs, n) * k if log.kernel else 0
    seen = (log.train or n, len(setup.x_test))
    most = max(seen) if setup.model.mixes_examples else sum(seen)
    at_once = min(log.batch or most, most)
    return [
        data(setup),
        Need(
            "parameters and their gradients",
            "model.factory" if own else "model.width",
            3 * params + nbytes(memory),
        ),
        Need("activations of a step", batch, (opt.batch or n) * sum(layers)),
        Need("outputs at a logged step", "log.batch", at_once * max(layers, default=0)),
        Need("kernel at a logged step", "log.outputs", 2 * kept**2 * setup.x_train.dtype.itemsize),
        Need("rows of the kernel", "linearized.space", rows * params, True),
        *([Need("kernel", "data.train", 3 * 8 * outputs(setup) ** 2, True)] if fits(setup) else []),
        *([readout_need(setup)] if solves(setup) else []),
    ]


def readout_need(setup: Setup) -> Need:
    """J, and the smaller of its two products with its eigenvectors."""
    shape = len(setup.x_train), len(setup.params0["readout"]["w"])
    size = 8 * (shape[0] * shape[1] + 3 * min(shape) ** 2)
    return Need("the readout's kernel", "data.train", size, True)


def layer_inputs(setup: Setup) -> list[int]:
    """Bytes of each layer's input, of one example."""
    found = functions.shapes(setup.model, setup.x_train.shape[1:], setup.x_train.dtype)
    sown = functions.flatten(found.get("layer", {}))
    return [nbytes(x) for path, x in sown.items() if path[-1] == "x"]
