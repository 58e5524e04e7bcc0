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
from ntkrepro.theory import tangent
from ntkrepro.theory.kernels import empirical
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
    three ways of which one is the middle's; outputs at the probes after the whole and the halves.
    """
    count, theta, x = expected(setup), setup.params0, setup.x_train
    size, velocities = outputs(setup), bool(setup.experiment.optimizer.momentum)
    probes = struct((min(PROBES, len(x)) + min(PROBES, len(setup.x_test)), *x.shape[1:]), x.dtype)
    points = count.linearizations
    pushes = count.leaps + velocities * (points - setup.experiment.log.kernel)
    ways = count.steps + 3 * count.leaps
    moving = theta, theta, theta if velocities else None, struct((), x.dtype)
    found = [
        *parts(setup, points, ways * (1 + velocities), pushes, held),
        Call("weights moved", ways + count.leaps, leaps.moved, moving, held),
        Call("outputs of probes", 2 * count.leaps, apply(setup), (theta, probes), held),
        *(tangent_kernels(setup, count.kernels, held)),
        *algebra(setup, count.leaps, size, held),
    ]
    return [call for call in found if call.calls]


def apply(setup: Setup) -> Any:
    return partial(functions.apply, setup.model)


def factors_of(setup: Setup) -> Any:
    """Shapes of the factors that a linearization has, if any."""
    find = partial(tangent.factors_at, setup.model)
    return jax.eval_shape(find, setup.params0, setup.x_train)


def parts(setup: Setup, points: int, pulls: int, pushes: int, held: int) -> list[Call]:
    """Linearizations, J^T c and J omega; by tangent.py's choice of how."""
    theta, x, factors = setup.params0, setup.x_train, factors_of(setup)
    c, given = struct(setup.dataset.y_train.shape, x.dtype), (theta, x)
    if factors:
        capture = partial(empirical.capture, setup.model)
        return [
            Call("linearizations", points, capture, given, held),
            Call("J^T c", pulls, tangent.pull_factors, (factors, theta, c), held),
            Call("J omega", pushes, tangent.push_factors, (factors, theta), held),
        ]
    pull, push = (partial(part, setup.model) for part in (tangent.pull, tangent.push))
    return [
        Call("linearizations", points, apply(setup), given, held),
        Call("J^T c", pulls, pull, (*given, c), held),
        Call("J omega", pushes, push, (*given, theta), held),
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
    velocities at five places: here, half way, after the whole and the halves, and in between."""
    kernels = 2 * outputs(setup) ** 2 * setup.x_train.dtype.itemsize
    still = of_host(kernel_bytes(setup, setup.k) + 2 * 8 * outputs(setup) ** 2)
    return still + kernels + sum(need.bytes for need in needs(setup)[:2])


def needs(setup: Setup) -> list[Need]:
    own, momentum = setup.model.own, bool(setup.experiment.optimizer.momentum)
    weights = 5 * (1 + momentum) * nbytes(setup.params0)
    factors = 2 * nbytes(factors_of(setup))
    return [
        Need("weights of a leap", "model.factory" if own else "model.width", weights),
        Need("factors of a leap", "data.train", factors),
        Need("kernels of a leap", "data.train", 2 * 8 * outputs(setup) ** 2, True),
    ]


NEEDS = {Solver.steps: lambda setup: [], Solver.leaps: needs}
