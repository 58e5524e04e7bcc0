"""Continuous time for any loss: Eq. 24-26 by diffrax's Dopri5, in float64.

As in dynamics.py all follows from c_t, here with dc/dt = lr grad L(f_0(X) - Theta(X, X) c), t in
steps, and with momentum from rest d^2c/dt^2 = -(1 - beta) dc/dt + lr grad L (Eq. 22).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ntkrepro.errors import UserError
from ntkrepro.networks import architectures, functions
from ntkrepro.theory.losses import LOSSES

TOLERANCE = 1e-9  # relative and absolute, of c

Operator = Callable[[jax.Array], jax.Array]  # c [n, k] -> Theta(x, X) c [m, k]


def dense(kernel: ArrayLike) -> Operator:
    """Theta(x, X) as a matrix, [m, n] or [m, k, n, k]."""
    matrix = np.asarray(kernel, np.float64)
    if matrix.ndim == 2:
        return lambda c: jnp.asarray(matrix) @ c
    return lambda c: jnp.tensordot(jnp.asarray(matrix), c, 2)


def matrix_free(
    model: architectures.Network, params: Any, x_test: jax.Array, x: jax.Array
) -> Operator:
    """Theta(x_test, X) c = J(x_test) (J(X)^T c): one vjp and one jvp, no kernel in memory."""
    params, x_test, x = jax.tree.map(lambda a: np.asarray(a, np.float64), (params, x_test, x))

    return lambda c: product(model, params, jnp.asarray(x_test), jnp.asarray(x), c)


def product(
    model: architectures.Network, params: Any, x_test: jax.Array, x: jax.Array, c: jax.Array
) -> jax.Array:
    """J(x_test) (J(x)^T c) [m, k]; c [n, k]."""
    pull = jax.vjp(lambda p: functions.apply(model, p, x), params)[1]
    return jax.jvp(lambda p: functions.apply(model, p, x_test), (params,), pull(c))[1]


def coefficients(
    theta: Operator,
    f0: ArrayLike,
    y: ArrayLike,
    loss: str,
    steps: ArrayLike,
    lr: float,
    momentum: float = 0.0,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """c_t [t, n, k] at `steps`, ascending; theta is Theta(X, X), f0 and y [n, k].

    `lr` includes loss.scale.
    """
    diffrax = solver()
    with jax.enable_x64(True):
        f0, y, ts = (jnp.asarray(np.asarray(a, np.float64)) for a in (f0, y, steps))
        gradient = jax.grad(LOSSES[loss].value)

        def field(t: Any, state: tuple[jax.Array, jax.Array], args: Any) -> Any:
            c, velocity = state
            force = lr * gradient(f0 - theta(c), y)
            if momentum:
                return velocity, (momentum - 1) * velocity + force
            return force, jnp.zeros_like(velocity)

        zero = (jnp.zeros_like(f0), jnp.zeros_like(f0))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Dopri5(),
            t0=0.0,
            t1=float(ts[-1]),
            dt0=None,
            y0=zero,
            saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=None,
        )
        return np.asarray(solution.ys[0])


def solver() -> Any:
    """The package diffrax, which takes 0.7 s, and which few runs need. Raises UserError."""
    try:
        import diffrax
    except ImportError as error:
        told = "flow: needs diffrax here; pip install 'ntkrepro[flow]', or follow the steps"
        raise UserError(told) from error
    return diffrax
