"""What the program `train` calls, and the memory that it needs."""

from collections import Counter
from functools import partial
from itertools import product
from typing import Any

import jax
import numpy as np

from ntkrepro.config.schema import Solver
from ntkrepro.networks import functions
from ntkrepro.programs import function_space, leaping_costs
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
from ntkrepro.programs.kernel_costs import (
    BEHAVIOUR,
    behaves,
    distance,
    eigenvalues,
    kernel_bytes,
    recursion,
    tangent_kernel,
)
from ntkrepro.programs.memory import Need, data, of_host
from ntkrepro.programs.observe import has_bound
from ntkrepro.programs.setup import Setup, fits, nbytes, outputs
from ntkrepro.programs.side_by_side import all_rows, spaces, trained
from ntkrepro.programs.weight_space import recipe_of, solves
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
    held, out = SOLVERS[setup.experiment.optimizer.solver](setup, task, states, held)
    t, theta = len(setup.steps), setup.params0
    n, m = log.train or len(setup.x_train), len(setup.x_test)
    rows: Counter[int] = Counter()  # by how many one call has
    for count in (n, m) if setup.model.mixes_examples else (n + m,):
        rows[min(log.batch or count, count)] += count
    for name, (size, count) in product(names, rows.items()):
        x = struct((size, *setup.x_train.shape[1:]), setup.x_train.dtype)
        args, call = (theta, states[name][0], x), partial(evaluate, recipe, name)
        out.append(Call(f"outputs, {name}", t * count / size, call, args, held))
    return out + (logged_kernels(setup, held) if log.kernel else [])


def by_steps(setup: Setup, task: Any, states: Any, held: int) -> tuple[int, list[Call | HostCall]]:
    """What is alive meanwhile, and the steps of all models, or what stands for them."""
    held += nbytes((task.y, task.factors, states, task.schedule, task.rates))
    if solves(setup):
        return held, readout_solution(setup, "readout's input", 1, setup.x_train, held)
    return held, [step(recipe_of(setup), task, states, setup.experiment.optimizer.steps, held)]


def by_leaps(setup: Setup, task: Any, states: Any, held: int) -> tuple[int, list[Call | HostCall]]:
    """The same of the network's leaps."""
    held += leaping_costs.held(setup)
    return held, leaping_costs.calls(setup, held)


SOLVERS = {Solver.steps: by_steps, Solver.leaps: by_leaps}


def logged_kernels(setup: Setup, held: int) -> list[Call | HostCall]:
    """At every logged step; by leaps the tangent kernel is a leap's."""
    x, t = head(setup.x_train, setup.experiment.log.outputs), len(setup.steps)
    size = len(x) * setup.k
    held += nbytes(setup.params0) + size**2 * x.dtype.itemsize
    logged = setup._replace(x_train=x)
    steps = setup.experiment.optimizer.solver is Solver.steps
    out = tangent_kernel(logged, "Theta_t(X, X)", t, None, held) if steps else []
    if not setup.model.own:
        nngp = partial(empirical.nngp, setup.model)
        out.append(Call("NNGP", t, nngp, (setup.params0, x), held))
    if has_bound(setup):
        out.append(distance(size, t, held))
    if setup.experiment.log.behaviour:
        out.append(behaves(size, t, held))
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


def lanczos(setup: Setup, held: int) -> Call:
    """ARPACK's first products: the largest eigenvalue stands out, and few need more."""
    c = struct(setup.dataset.y_train.shape, setup.x_train.dtype)
    push = partial(function_space.push, setup.model)
    calls = function_space.VECTORS + 1
    return Call("largest eigenvalue", calls, push, (setup.params0, setup.x_train, c), held)


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
        Need(
            "the kernel's behaviour", "log.outputs", log.behaviour * BEHAVIOUR * 8 * kept**2, True
        ),
        Need("rows of the kernel", "linearized.space", rows * params, True),
        *([Need("kernel", "data.train", 3 * 8 * outputs(setup) ** 2, True)] if fits(setup) else []),
        *([readout_need(setup)] if solves(setup) else []),
        *leaping_costs.NEEDS[setup.experiment.optimizer.solver](setup),
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
