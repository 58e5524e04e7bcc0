"""The linearized side without training: kernels of a setup and the dynamics they give.

Which dynamics follow depends on the config (predict.py).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from ntkrepro.compilation import jit
from ntkrepro.errors import UserError
from ntkrepro.networks import architectures, functions
from ntkrepro.networks.scaled import factor
from ntkrepro.programs import failures
from ntkrepro.programs.setup import Setup
from ntkrepro.theory import dynamics, flow, predict
from ntkrepro.theory.kernels import analytic, batchnorm, empirical
from ntkrepro.theory.kernels.analytic import ANALYTIC
from ntkrepro.training import measure
from ntkrepro.training.measure import Trajectory

LANCZOS = 1e-5  # relative error of the largest eigenvalue
EMPIRICAL = "tangent kernel at initialization"
VECTORS = 6  # products between two restarts; it stands out, so that few are needed (default: 20)


class TangentKernel(NamedTuple):
    """Theta(X, X), its spectrum, and Theta(x, X), of one kind: empirical or analytic."""

    train_train: np.ndarray
    spectrum: dynamics.Spectrum
    test_train: np.ndarray


def empirical_kernels(setup: Setup) -> TangentKernel:
    """Theta_0 of this network at its initial parameters. Raises RunFailed if it isn't finite."""
    given = setup.model, setup.params0, setup.x_train, setup.x_test
    return tangent_kernel(*given, partial(failures.finite, setup.experiment, EMPIRICAL))


def tangent_kernel(
    model: Any,
    params0: Any,
    train: jax.Array,
    test: jax.Array,
    check: Callable[..., None] = lambda *_: None,
) -> TangentKernel:
    """Theta_0 at these points, of which check(kernel, train, test) may think what it likes."""
    if model.mixes_examples:
        kernel = batchnorm.ntk(model, params0, train, test)
    else:  # one program for both
        kernel = empirical.ntk(model, params0, jnp.concatenate([train, test]), train)
    check(kernel, train, test)
    train_train, test_train = np.split(np.asarray(kernel, np.float64), [len(train)])
    train_train = (train_train + train_train.transpose(2, 3, 0, 1)) / 2  # to rounding it was
    return TangentKernel(train_train, dynamics.spectrum(train_train), test_train)


def analytic_kernel(setup: Setup) -> Callable[..., analytic.Kernels]:
    """That of this network, as a function of inputs. Raises UserError where none is known."""
    model = setup.experiment.model
    if setup.model.analytic is None:
        raise UserError(
            f"linearized.analytic=true: model.architecture={model.architecture.name} has no "
            "analytic kernel here; use linearized.analytic=false"
        )
    return partial(
        ANALYTIC[setup.model.analytic],
        depth=model.depth,
        activation=model.activation.name,
        w_var=model.w_var,
        b_var=model.b_var,
        parametrization=model.parametrization.name,
        width=model.width,
        n0=setup.dataset.n0,
    )


def analytic_kernels(setup: Setup) -> TangentKernel:
    """Theta of the infinitely wide network, in float64. Raises UserError where it has none."""
    x_train, x_test = setup.dataset.x_train, setup.dataset.x_test
    of = partial(failures.analytic, setup.experiment, analytic_kernel(setup))
    square = factor(setup.model) ** 2
    train_train, test_train = (
        square * np.asarray(of(*x).ntk) for x in ((x_train,), (x_test, x_train))
    )
    for kernel, points in ((train_train, (x_train,)), (test_train, ((), x_test))):
        failures.finite(setup.experiment, "analytic kernel", kernel, *points)
    return TangentKernel(train_train, dynamics.spectrum(train_train), test_train)


def trajectory(setup: Setup, theta: TangentKernel, with_weights: bool) -> Trajectory:
    """Outputs (Eq. 10-12, 25, 26) of the linearized network at every step; with_weights and where
    they are logged also its weights (Eq. 9)."""
    f_train, f_test = initial_outputs(setup)
    c = coefficients(setup, theta, f_train)
    shown = slice(setup.experiment.log.train)
    path = Trajectory(
        dynamics.outputs(f_train, theta.train_train, c)[:, shown],
        dynamics.outputs(f_test, theta.test_train, c),
    )
    return add_weights(setup, path, c) if with_weights else path


def coefficients(setup: Setup, theta: TangentKernel, f0: np.ndarray) -> np.ndarray:
    """c_t [t, n, k] of dynamics.py at every logged step."""
    experiment = setup.experiment
    by = predict.Descent(
        setup.lr,
        experiment.loss.name.name,
        experiment.optimizer.momentum,
        experiment.linearized.flow,
        experiment.loss.scale,
        setup.schedule,
    )
    y, steps = setup.dataset.y_train, setup.steps
    return predict.coefficients(theta.train_train, theta.spectrum, f0, y, steps, by)


def matrix_free(setup: Setup) -> Trajectory:
    """The flow under the empirical kernel where that is too large to store."""
    f_train, f_test = initial_outputs(setup)
    product(setup, np.ones(f_train.shape))  # no solver ends with what is not finite
    theta = partial(flow.matrix_free, setup.model, setup.params0)
    experiment, opt = setup.experiment, setup.experiment.optimizer
    c = flow.coefficients(
        theta(setup.x_train, setup.x_train),
        f_train,
        setup.dataset.y_train,
        experiment.loss.name.name,
        setup.steps,
        setup.lr * experiment.loss.scale,
        opt.momentum,
    )
    x_train = setup.x_train[: experiment.log.train]
    with jax.enable_x64(True):
        moved = [
            np.stack([np.asarray(operator(jnp.asarray(c_t))) for c_t in c])
            for operator in (theta(x, setup.x_train) for x in (x_train, setup.x_test))
        ]
    path = Trajectory(f_train[: len(x_train)] - moved[0], f_test - moved[1])
    return add_weights(setup, path, c)


def largest_eigenvalue(setup: Setup) -> float:
    """Of Theta(X, X) = J J^T where that is not stored, by Lanczos iterations."""
    size = setup.dataset.y_train.size
    start, vectors = np.random.default_rng(0).normal(size=size), min(size, VECTORS)
    first = product(setup, start)
    if size == 1 or not first.any():  # a number, or 0: no matrix for ARPACK
        return float(first[0] / start[0])
    operator = LinearOperator((size, size), partial(product, setup), dtype=np.float64)
    found = eigsh(operator, 1, v0=start, ncv=vectors, tol=LANCZOS, return_eigenvectors=False)
    return float(found[0])


def product(setup: Setup, v: np.ndarray) -> np.ndarray:
    """Theta(X, X) v [n k]. Raises RunFailed where it isn't finite."""
    cotangent = jnp.asarray(v.reshape(setup.dataset.y_train.shape), setup.x_train.dtype)
    moved = push(setup.model, setup.params0, setup.x_train, cotangent)
    return np.asarray(failures.finite(setup.experiment, EMPIRICAL, moved, setup.x_train)).ravel()


@partial(jit, static_argnames="model")
def push(model: architectures.Network, params: Any, x: jax.Array, c: jax.Array) -> jax.Array:
    """J J^T c."""
    tangent = jax.linearize(lambda p: functions.apply(model, p, x), params)[1]
    (omega,) = jax.linear_transpose(tangent, params)(c)
    return tangent(omega)


def initial_outputs(setup: Setup) -> tuple[np.ndarray, np.ndarray]:
    """f_0 on train and test points, float64; 0 of a centred network."""
    f = partial(measure.apply, setup.model, setup.params0)
    points = setup.x_train, setup.x_test
    train, test = measure.outputs(f, points, apart=setup.model.mixes_examples)
    whole = float(not setup.experiment.model.centred)
    return whole * np.asarray(train, np.float64), whole * np.asarray(test, np.float64)


def add_weights(setup: Setup, path: Trajectory, c: np.ndarray) -> Trajectory:
    log = setup.experiment.log
    if not log.weights:
        return path
    entries, changes, moved = zip(*(weights(setup, c_t) for c_t in c), strict=True)
    path = path._replace(weights=np.stack(entries), weight_change=np.stack(changes))
    return path._replace(moved=np.stack(moved)) if log.fidelity else path


def weights(setup: Setup, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """Picked entries [w] and change per layer [l] of omega_t = -J^T c_t (Eq. 9), and with
    log.fidelity |omega_t| / |theta_0| [1]; c [n, k]."""
    cotangent = jnp.asarray(c, setup.x_train.dtype)
    omega = pull(setup.model, setup.params0, setup.x_train, cotangent)
    entries, changes = measure.displacement(omega, setup.pick, setup.norms)
    moved = measure.moved(omega, setup.size) if setup.experiment.log.fidelity else None
    return np.asarray(entries), np.asarray(changes), moved


@partial(jit, static_argnames="model")
def pull(model: architectures.Network, params: Any, x: jax.Array, c: jax.Array) -> Any:
    pullback = jax.vjp(lambda p: functions.apply(model, p, x), params)[1]
    return jax.tree.map(jnp.negative, pullback(c)[0])
