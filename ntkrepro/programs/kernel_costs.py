"""What kernels cost, and what is done with one, for the plan."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkrepro.programs.calls import MEASURED, Call, HostCall, head
from ntkrepro.programs.memory import of_host
from ntkrepro.programs.setup import Setup, outputs
from ntkrepro.theory import dynamics
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import behaviour, measure

BEHAVIOUR = 6  # matrices of a kernel's size in float64 at one time


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
    name = f"{name} by {way}" if (way := empirical.way(model, rows, len(x))) else name
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


def distance(s: int, calls: int, held: int) -> HostCall:
    size = min(s, MEASURED)
    a = jnp.asarray(np.random.default_rng(0).standard_normal((size, 1, size, 1)))
    call = partial(measure.distance, {"ntk": a}, {"ntk": jnp.zeros_like(a)})
    return HostCall(
        "|Theta_t - Theta_0|", calls, call, (s / size) ** 3, held + of_host(3 * 8 * s**2)
    )


def behaves(s: int, calls: int, held: int) -> HostCall:
    """What log.behaviour asks of a kernel [s, s]: its spectrum, and products with two others."""
    size = min(s, MEASURED)
    a = np.random.default_rng(0).standard_normal((size, 1, size, 1))
    call = partial(behaviour.seen, a, a, a, 1.0, a[:, :, 0, 0])
    share = (s / size) ** 3
    return HostCall("spectrum of Theta_t", calls, call, share, held + of_host(BEHAVIOUR * 8 * s**2))


def recursion(setup: Setup, outputs: int, held: int) -> list[HostCall]:
    """c_t of minibatches and cross entropy, step by step; the closed form costs next to nothing."""
    closed = setup.loss.quadratic and setup.schedule is None
    flow = setup.experiment.linearized.flow
    return [] if flow or closed else [follow(setup, outputs, held)]


def follow(setup: Setup, outputs: int, held: int) -> HostCall:
    """All steps of a recursion."""
    batches, steps = setup.schedule, setup.experiment.optimizer.steps
    rng, (n, k) = np.random.default_rng(0), setup.dataset.y_train.shape
    measured = 50
    kernel = rng.standard_normal((n, k, n, k) if outputs > 1 else (n, n))
    rows = None if batches is None else rng.integers(n, size=(measured, batches.shape[1]))
    y = np.eye(k)[rng.integers(k, size=n)]
    call = partial(
        dynamics.recursion, kernel, y, y, setup.loss.gradient, [measured], 1e-6, 0.9, rows
    )
    return HostCall("recursion of Eq. 9", 1, call, steps / measured, held)
