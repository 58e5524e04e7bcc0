"""The linearized side without training: kernels of a setup and the dynamics they give."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro import measure, models, predict
from ntkrepro.errors import UserError
from ntkrepro.kernels import analytic, empirical
from ntkrepro.measure import Trajectory
from ntkrepro.setup import Setup


class Kernels(NamedTuple):
    """Theta(X, X), its spectrum, and Theta(x, X), of one kind: empirical or analytic."""

    train_train: np.ndarray
    spectrum: predict.Spectrum
    test_train: np.ndarray


def empirical_kernels(setup: Setup) -> Kernels:
    """Theta_0 of this network at its initial parameters."""
    ntk = partial(empirical.ntk, setup.model, setup.params0)
    train_train = np.asarray(ntk(setup.x_train), np.float64)
    test_train = np.asarray(ntk(setup.x_test, setup.x_train), np.float64)
    return Kernels(train_train, predict.spectrum(train_train), test_train)


def analytic_kernels(setup: Setup) -> Kernels:
    """Theta of the infinitely wide network, in float64. Raises UserError where it has none."""
    model = setup.experiment.model
    fc = partial(
        analytic.fc,
        depth=model.depth,
        activation=model.activation.name,
        w_var=model.w_var,
        b_var=model.b_var,
        parametrization=model.parametrization.name,
        width=model.width,
        n0=setup.dataset.n0,
    )
    x_train, x_test = setup.dataset.x_train, setup.dataset.x_test
    try:
        train_train, test_train = (np.asarray(fc(*x).ntk) for x in ((x_train,), (x_test, x_train)))
    except ValueError as error:
        raise UserError(
            f"model: no analytic kernel ({error}); linearized.analytic=false does without"
        ) from error
    return Kernels(train_train, predict.spectrum(train_train), test_train)


def trajectory(setup: Setup, theta: Kernels, with_weights: bool) -> Trajectory:
    """Outputs (Eq. 10-12) and weights (Eq. 9) of the linearized network at every logged step."""
    f_train = models.apply(setup.model, setup.params0, setup.x_train)
    f_test = models.apply(setup.model, setup.params0, setup.x_test)
    residual = np.asarray(f_train, np.float64) - setup.dataset.y_train
    rate = setup.experiment.optimizer.lr * setup.rate
    flow = setup.experiment.linearized.flow
    c = predict.coefficients(theta.spectrum, residual, setup.steps, rate, flow)
    path = Trajectory(
        predict.outputs(f_train, theta.train_train, c), predict.outputs(f_test, theta.test_train, c)
    )
    if not with_weights:
        return path
    entries, changes = zip(*(weights(setup, c_t) for c_t in c), strict=True)
    return path._replace(weights=np.stack(entries), weight_change=np.stack(changes))


def weights(setup: Setup, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picked entries [w] and change per layer [l] of omega_t = -J^T c_t (Eq. 9); c [n, k]."""
    cotangent = jnp.asarray(c, setup.x_train.dtype)
    omega = _pull(setup.model, setup.params0, setup.x_train, cotangent)
    entries, changes = measure.displacement(omega, setup.pick, setup.norms)
    return np.asarray(entries), np.asarray(changes)


@partial(jax.jit, static_argnames="model")
def _pull(model: models.Module, params: Any, x: jax.Array, c: jax.Array) -> Any:
    pullback = jax.vjp(lambda p: models.apply(model, p, x), params)[1]
    return jax.tree.map(jnp.negative, pullback(c)[0])
