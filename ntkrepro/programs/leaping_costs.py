"""What a network's training by leaps calls, and the memory that it needs."""

from functools import partial
from typing import Any, NamedTuple

import jax

from ntkrepro.config.schema import Activation, Solver
from ntkrepro.networks import functions
from ntkrepro.programs.calls import Call, HostCall, struct
from ntkrepro.programs.kernel_costs import eigenvalues, follow, kernel_bytes, tangent_kernel
from ntkrepro.programs.leaping import PROBES
from ntkrepro.programs.memory import Need, of_host
from ntkrepro.programs.setup import Setup, nbytes, outputs
from ntkrepro.theory import moves, tangent
from ntkrepro.training import leaps

TOLERANCE = 0.01
# Leaps while time grows by a factor of e, at that tolerance, and minus the power of the tolerance
# that they grow with. Measured on digits at tolerances from 0.001 to 0.1, widths from 256 to 1024,
# depths 1 to 5: 3, and 20 to 40 where the gradient jumps. Of a ReLU network of width 64: 400.
PACES = {
    Activation.relu: (35.0, 1.0),
    Activation.tanh: (3.0, 0.25),
    Activation.erf: (3.0, 0.25),
    Activation.gelu: (3.0, 0.25),
    Activation.identity: (3.0, 0.25),
}
# Weights that are alive at once: theta and omega here, and omega where the leap ends; where moves
# are formed also those half way, after the whole and the halves.
PLACES = {False: 3, True: 6}


class Expected(NamedTuple):
    """Of a whole run, an estimate: single steps and leaps; linearizations and their kernels."""

    steps: int
    leaps: int
    linearizations: int
    kernels: int


def expected(setup: Setup) -> Expected:
    """From the rate of PACES, with no leap across a logged step. What a network of the user's own
    is made of is not known: the most."""
    experiment, opt = setup.experiment, setup.experiment.optimizer
    rate, power = PACES[Activation.relu if setup.model.own else experiment.model.activation]
    pace = (opt.tolerance / TOLERANCE) ** power / rate
    sizes = dict(leaps.course(setup.steps, pace))
    long = sum(size > 1 for size in sizes.values())
    steps, last, again = len(sizes) - long, 1, experiment.log.kernel  # there, and at theta_0
    seen = again and again + sum(sizes.get(step, 1) == 1 for step in setup.steps)
    return Expected(steps, long, steps + 2 * long + last + again, 2 * long + seen)


def calls(setup: Setup, held: int) -> list[Call | HostCall]:
    """A leap: a linearization here and one half way, a kernel and an eigendecomposition of each;
    outputs at the probes after the whole and the halves; and its moves (theory/moves.py)."""
    count, theta, x = expected(setup), setup.params0, setup.x_train
    points, velocities = count.linearizations, bool(setup.experiment.optimizer.momentum)
    probes = struct((min(PROBES, len(x)) + min(PROBES, len(setup.x_test)), *x.shape[1:]), x.dtype)
    seen = partial(moves.outputs, setup.model)
    pushes = count.leaps + velocities * (points - setup.experiment.log.kernel)
    moving = moves_of(setup)
    found = [
        *parts(setup, points, (count.steps + 3 * count.leaps) * (1 + velocities), pushes, held),
        Call("weights moved", formed(setup, count), moves.subtract, (theta, *moving), held),
        Call("outputs of probes", 2 * count.leaps, seen, (theta, probes, moving[1]), held),
        *(tangent_kernels(setup, count.kernels, held)),
        *algebra(setup, count.leaps, outputs(setup), held),
    ]
    return [call for call in found if call.calls]


def formed(setup: Setup, count: Expected) -> int:
    """How often weights less a move are formed: where a step or a leap ends, and unless moves are
    kept as thin products half way and at the probes."""
    velocities, (trees, _) = bool(setup.experiment.optimizer.momentum), moves_of(setup)
    return (count.steps + count.leaps) * (1 + velocities) + 3 * count.leaps * bool(trees)


def moves_of(setup: Setup) -> tuple[tuple, tuple]:
    """Shapes of a move's trees and pulls."""
    theta, x, factors = setup.params0, setup.x_train, factors_of(setup)
    thin, velocities = is_thin(factors), bool(setup.experiment.optimizer.momentum)
    c, one = struct(setup.dataset.y_train.shape, x.dtype), struct((), x.dtype)
    trees = ((one, theta),) * (velocities + 2 * (not thin))
    return trees, ((c, factors[1]),) * 2 if thin else ()


def is_thin(factors: Any) -> bool:
    return bool(factors) and moves.stays_thin(factors[1])


def apply(setup: Setup) -> Any:
    return partial(functions.apply, setup.model)


def factors_of(setup: Setup) -> Any:
    """Shapes of the factors that a linearization has, if any."""
    find = partial(tangent.factors_at, setup.model)
    return jax.eval_shape(find, setup.params0, setup.x_train)


def parts(setup: Setup, points: int, ways: int, pushes: int, held: int) -> list[Call]:
    """Linearizations, J^T c where it is formed, and J omega; by tangent.py's choice of how."""
    theta, x, factors = setup.params0, setup.x_train, factors_of(setup)
    c, given = struct(setup.dataset.y_train.shape, x.dtype), (theta, x)
    trees, pulls = moves_of(setup)
    if factors:
        capture, moved = partial(moves.captured, setup.model), (trees[:1], pulls[:1])
        pull, made = tangent.pull_factors, (factors, theta, c)
        return [
            Call("linearizations", points, capture, (*given, pulls[:1]), held),
            Call("J^T c", 0 if pulls else ways, pull, made, held),
            Call("J omega", pushes, tangent.push_factors, (factors, *moved), held),
        ]
    pull, push = (partial(part, setup.model) for part in (tangent.pull, tangent.push))
    return [
        Call("linearizations", points, apply(setup), given, held),
        Call("J^T c", ways, pull, (*given, c), held),
        Call("J omega", pushes, push, (*given, trees), held),
    ]


def tangent_kernels(setup: Setup, count: int, held: int) -> list[Call | HostCall]:
    factors, name = factors_of(setup), "Theta_t(X, X)"
    if factors:
        return [Call(name, count, tangent.kernel_of, (factors,), held)]
    return tangent_kernel(setup, name, count, None, held)


def algebra(setup: Setup, count: int, size: int, held: int) -> list[HostCall]:
    """Of a leap: the spectra of both kernels; or on other losses than mse its steps, half of them
    twice, and those of the linearization at theta_0, which measures the deviation."""
    if setup.loss.quadratic:
        return [eigenvalues(size, held)._replace(name="spectra of leaps", calls=2 * count)]
    steps = follow(setup, setup.k, held)
    return [steps._replace(name="recursion of leaps", calls=2.5 * steps.calls)]


def held(setup: Setup) -> int:
    """Bytes of Theta_0; here and half way, factors and kernels, in float64 too; weights and
    velocities at PLACES."""
    kernels = 2 * outputs(setup) ** 2 * setup.x_train.dtype.itemsize
    still = of_host(kernel_bytes(setup, setup.k) + 2 * 8 * outputs(setup) ** 2)
    return still + kernels + sum(need.bytes for need in needs(setup)[:2])


def needs(setup: Setup) -> list[Need]:
    own, momentum = setup.model.own, bool(setup.experiment.optimizer.momentum)
    found = factors_of(setup)  # traced once: every run by leaps asks for its needs
    weights = PLACES[momentum or not is_thin(found)] * (1 + momentum) * nbytes(setup.params0)
    factors = 2 * nbytes(found)
    return [
        Need("weights of a leap", "model.factory" if own else "model.width", weights),
        Need("factors of a leap", "data.train", factors),
        Need("kernels of a leap", "data.train", 2 * 8 * outputs(setup) ** 2, True),
    ]


NEEDS = {Solver.steps: lambda setup: [], Solver.leaps: needs}
