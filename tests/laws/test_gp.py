"""Gaussian processes of trained ensembles (Eq. 14-16, S28-S31)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ntkrepro.theory import dynamics, gaussian_process, losses
from ntkrepro.theory.kernels import analytic
from tests.laws.common import EXACT, error
from tests.oracles import oracle

STORED = 1e-8


def stored(v, name):
    return gaussian_process.Blocks(*(v[f"{name}_{part}"] for part in ("dd", "td", "tt")))


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_reference_values(kind):
    """Mean and covariance at several times and t = infinity, on test and on train points."""
    v = oracle("predict.npz")
    y, nngp, theta = v["y_train"], stored(v, "nngp"), stored(v, kind)
    rate = float(v["lr"]) * losses.LOSSES["mse"].rate(*y.shape)
    steps = np.append(v["t"], np.inf)
    found = gaussian_process.ensemble(nngp, theta, y, steps, rate, flow=True)
    assert error(found.mean[:-1], v[f"ens_{kind}_mean"]) < STORED
    assert error(found.covariance[:-1], v[f"ens_{kind}_cov"]) < STORED
    assert error(found.mean[-1], v[f"ens_{kind}_mean_inf"]) < STORED
    assert error(found.covariance[-1], v[f"ens_{kind}_cov_inf"]) < STORED
    on_train = [
        gaussian_process.Blocks(k.train_train, k.train_train, k.train_train) for k in (nngp, theta)
    ]
    found = gaussian_process.ensemble(*on_train, y, v["t"], rate, flow=True)
    assert error(found.mean, v[f"ens_{kind}_train_mean"]) < STORED
    assert error(found.covariance, v[f"ens_{kind}_train_cov"]) < STORED


def test_reference_values_of_the_posterior():
    v = oracle("predict.npz")
    found = gaussian_process.posterior(stored(v, "nngp"), v["y_train"])
    assert error(found.mean[0], v["gp_nngp_mean"]) < STORED
    assert error(found.covariance[0], v["gp_nngp_cov"]) < STORED


def kernels(n=8, m=5, d=3, seed=0):
    x = np.random.default_rng(seed).standard_normal((n + m, d))
    with jax.enable_x64(True):
        k = analytic.fc(jnp.asarray(x), depth=2, activation="tanh", w_var=1.5, b_var=0.1)
    return gaussian_process.blocks(k.nngp, n), gaussian_process.blocks(k.ntk, n)


def test_it_starts_at_the_prior():
    nngp, theta = kernels()
    start = gaussian_process.ensemble(nngp, theta, np.ones((8, 1)), [0], 0.1)
    assert error(start.covariance[0], nngp.test_test) < EXACT
    assert np.abs(start.mean).max() == 0


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_member_of_the_ensemble_is_a_linearized_network(momentum):
    """f_t = f_0 - A_t (f_0(X) - y) is what dynamics.py's closed form gives for that f_0."""
    theta = kernels()[1]
    rng = np.random.default_rng(1)
    f0, f0_test, y = (rng.standard_normal((size, 1)) for size in (8, 5, 8))
    steps = [0, 3, 40]
    c = dynamics.coefficients(
        dynamics.spectrum(theta.train_train), f0 - y, steps, 0.1, momentum=momentum
    )
    expected = dynamics.outputs(f0_test, theta.test_train, c)
    a = gaussian_process.responses(theta, steps, 0.1, momentum=momentum)
    assert error(f0_test - a @ (f0 - y), expected) < EXACT


def test_singular_kernels_give_no_negative_variance():
    """Train points that repeat, and test points that are train points."""
    x = np.random.default_rng(0).standard_normal((6, 3))
    x = np.concatenate([x, x[:3], x[:4], x[:1] + 1e-9])
    with jax.enable_x64(True):
        k = analytic.fc(jnp.asarray(x), depth=1, activation="relu", w_var=2.0, b_var=0.0)
    nngp, theta = gaussian_process.blocks(k.nngp, 9), gaussian_process.blocks(k.ntk, 9)
    y = np.ones((9, 1))
    for kernel in (nngp, theta):
        found = gaussian_process.ensemble(nngp, kernel, y, [0, 10, 1e6, np.inf], 0.05)
        assert np.isfinite(found.mean).all()
        assert (np.einsum("tii->ti", found.covariance) >= 0).all()
        assert found.std[-1].max() < 1e-4  # all test points are train points
        assert error(found.mean[-1], np.ones((5, 1))) < 1e-6


def test_draws_of_the_linearized_model_from_the_prior_reproduce_the_equations():
    """2,000 draws; two-sided tests of 5 means and 5 variances, false alarms below 1 in 1,000."""
    nngp, theta = kernels()
    y, steps, count = np.sin(np.arange(8.0))[:, None], [25], 2000
    root = gaussian_process.square_root(gaussian_process.joint(nngp))
    f0 = root @ np.random.default_rng(2).standard_normal((len(root), count))
    c = dynamics.coefficients(dynamics.spectrum(theta.train_train), f0[5:] - y, steps, 0.3)
    f = dynamics.outputs(f0[:5], theta.test_train, c)[0]
    exact = gaussian_process.ensemble(nngp, theta, y, steps, 0.3)
    alarm = 1e-3 / 10 / 2
    mean, std = exact.mean[0, :, 0], exact.std[0]
    t = (f.mean(1) - mean) / (f.std(1, ddof=1) / np.sqrt(count))
    assert np.abs(t).max() < stats.t.ppf(1 - alarm, count - 1)
    ratio = (count - 1) * f.var(1, ddof=1) / std**2
    low, high = (stats.chi2.ppf(q, count - 1) for q in (alarm, 1 - alarm))
    assert low < ratio.min() < ratio.max() < high
    wrong = gaussian_process.ensemble(nngp, nngp, y, steps, 0.3)
    assert np.abs(t + (mean - wrong.mean[0, :, 0]) / (std / np.sqrt(count))).max() > 5


def test_samples_have_the_mean_and_the_covariance():
    nngp, theta = kernels()
    exact = gaussian_process.ensemble(nngp, theta, np.ones((8, 1)), [0, 30], 0.3)
    drawn = gaussian_process.sample(exact, 4000, seed=0)[..., 0]
    assert error(drawn.mean(0), exact.mean[..., 0]) < 0.1
    for t in range(2):
        assert error(np.cov(drawn[:, t].T), exact.covariance[t]) < 0.1


def test_moments_are_those_of_as_many_draws():
    """Of 4 networks: means, and both moments of the variances, of 20,000 ensembles: each within
    4.5 standard errors, a chance below 1e-3. Steps and points are drawn together."""
    nngp, theta = kernels()
    of = gaussian_process.ensemble(nngp, theta, np.ones((8, 1)), [0, 30], 0.3)
    members, count = 4, 20_000
    mean, std = (part.reshape(count, -1) for part in gaussian_process.moments(of, members, count))
    var = of.std.ravel() ** 2
    error = (var / members / count) ** 0.5
    assert (np.abs(mean.mean(0) - of.mean.ravel()) < 4.5 * error).all()
    together = np.cov(mean.T) * members
    exact = of.root.reshape(len(var), -1)
    assert error_of(together, exact @ exact.T) < 4.5 * (2 / count) ** 0.5
    chi = (members - 1) * std**2 / var  # chi squared: mean 3, variance 6
    assert (np.abs(chi.mean(0) - 3) < 4.5 * (6 / count) ** 0.5).all()
    assert (np.abs(chi.var(0) / 6 - 1) < 4.5 * (6 / count) ** 0.5).all()  # kurtosis 7


def error_of(found, exact):
    """The largest, over the standard deviations of both."""
    scale = np.sqrt(np.diag(exact))
    return np.abs((found - exact) / scale / scale[:, None]).max()


def test_distance_is_0_of_the_same_and_1_of_a_mean_that_is_1_off():
    mean, std = np.zeros((2, 5)), np.ones((2, 5))
    assert gaussian_process.distance(mean, std, (mean, std)).tolist() == [0, 0]
    assert gaussian_process.distance(mean + 1, std, (mean, std)).tolist() == [1, 1]
    assert gaussian_process.distance(mean + 3, std + 4, (mean, std)).tolist() == [5, 5]
