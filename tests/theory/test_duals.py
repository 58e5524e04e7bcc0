"""T and Ṫ of Eq. S1 against reference values, quadrature in the plane, identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import erf

from ntkrepro.theory.kernels import duals
from ntkrepro.theory.kernels.duals import expectations
from tests.oracles import oracle

TIGHT, SERIES = 1e-12, 1e-10  # closed forms; Hermite series

EPS = np.finfo(float).eps
SQRT_PI = np.sqrt(np.pi)
FUNCTIONS = {  # smooth ones, with their slopes
    "erf": (erf, lambda x: 2 / SQRT_PI * np.exp(-(x**2))),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "gelu": (
        lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
        lambda x: (1 + erf(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "identity": (lambda x: x, np.ones_like),
}
SIGMAS = np.array(  # q1, q2, cov
    [[1, 1, 0.5], [0.3, 2, -0.6], [2.1, 1.4, 1.7], [0.05, 0.4, 0.02], [12, 9, 10.3], [3, 3, -3]]
).T


def assert_close(actual, expected, tolerance, floor=1e-3):
    """|actual - expected| <= tolerance max(|expected|, floor), everywhere and without NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / np.maximum(np.maximum(np.abs(expected), floor), 1e-300)
    assert np.all(error <= tolerance), f"off by {np.nanmax(error):.2e}, allowed {tolerance:.0e}"


def in_the_plane(f, q1, q2, cov, extent=10, points=801):
    """E[f(u) f(v)] by the trapezoidal rule over independent z1, z2: spectral for smooth f."""
    z = np.linspace(-extent, extent, points)
    weights = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    rho = cov / np.sqrt(q1 * q2)
    v = np.sqrt(q2) * (rho * z[:, None] + np.sqrt(1 - rho**2) * z)
    return (weights * f(np.sqrt(q1) * z)) @ f(v) @ weights


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_reference_values(activation):
    stored = oracle("duals.npz")
    q1, q2, cov = stored["sigma"].T
    t, t_dot = expectations(activation, q1, q2, cov)
    assert_close(t, stored[f"ref_{activation}_T"], 1e-9)
    expected = stored[f"ref_{activation}_Tdot"]
    allowed = 1e-9 * np.maximum(expected, 1e-3)
    if activation == "relu":  # an angle, from a cosine that is itself rounded
        sine = np.sqrt(np.maximum(1 - cov**2 / (q1 * q2), EPS))
        allowed += EPS / sine / np.pi
    assert np.all(np.abs(t_dot - expected) <= allowed)


@pytest.mark.parametrize("activation", list(FUNCTIONS))
def test_smooth_activations_by_quadrature(activation):
    t, t_dot = expectations(activation, *SIGMAS)
    f, slope = FUNCTIONS[activation]
    assert_close(t, [in_the_plane(f, *sigma) for sigma in SIGMAS.T], SERIES)
    assert_close(t_dot, [in_the_plane(slope, *sigma) for sigma in SIGMAS.T], SERIES)


def test_relu_by_quadrature():
    """Over the quadrant where neither input is cut off."""
    sigmas = SIGMAS[:, :5]

    def density(q1, q2, cov):
        inverse = np.linalg.inv([[q1, cov], [cov, q2]])
        scale = np.sqrt(np.linalg.det(inverse)) / (2 * np.pi)
        return lambda v, u: (
            scale
            * np.exp(
                -(inverse[0, 0] * u * u + 2 * inverse[0, 1] * u * v + inverse[1, 1] * v * v) / 2
            )
        )

    def integral(f, q1, q2, cov):
        p = density(q1, q2, cov)
        bounds = (0, 9 * np.sqrt(q1), 0, 9 * np.sqrt(q2))
        return dblquad(lambda v, u: f(u, v) * p(v, u), *bounds, epsabs=1e-11, epsrel=1e-9)[0]

    t, t_dot = expectations("relu", *sigmas)
    assert_close(t, [integral(lambda u, v: u * v, *sigma) for sigma in sigmas.T], 1e-8)
    assert_close(t_dot, [integral(lambda u, v: 1.0, *sigma) for sigma in sigmas.T], 1e-8)


def test_any_smooth_function():
    """Even, odd and neither, with φ(0) != 0, against closed forms."""
    q1, q2, cov = SIGMAS[:, :4]
    decay = np.exp(-(q1 + q2) / 2)
    closed = {
        jnp.sin: (decay * np.sinh(cov), decay * np.cosh(cov)),
        jnp.cos: (decay * np.cosh(cov), decay * np.sinh(cov)),
        jnp.square: (q1 * q2 + 2 * cov**2, 4 * cov),
        quadratic: (1 + cov + q1 + q2 + q1 * q2 + 2 * cov**2, 1 + 4 * cov),
        jax.scipy.special.erf: expectations("erf", q1, q2, cov),
        jnp.ones_like: (np.ones(4), np.zeros(4)),
    }
    for phi, expected in closed.items():
        for value, reference in zip(expectations(phi, q1, q2, cov), expected, strict=True):
            assert_close(value, reference, SERIES)


def quadratic(x):
    return 1 + x + x * x


@pytest.mark.parametrize("activation", ["relu", *FUNCTIONS])
def test_symmetric_and_odd(activation):
    q1, q2, cov = SIGMAS
    for one, two in zip(
        expectations(activation, q1, q2, cov), expectations(activation, q2, q1, cov), strict=True
    ):
        assert_close(one, two, TIGHT)
    if activation in ("erf", "tanh", "identity"):
        t, t_dot = expectations(activation, q1, q2, cov)
        mirrored, mirrored_dot = expectations(activation, q1, q2, -cov)
        assert_close(mirrored, -t, TIGHT)
        assert_close(mirrored_dot, t_dot, TIGHT)


def test_relu_splits_the_identity():
    """relu(x) - relu(-x) = x: T(cov) - T(-cov) = cov / 2 and Ṫ(cov) + Ṫ(-cov) = 1/2."""
    t, t_dot = expectations("relu", *SIGMAS)
    mirrored, mirrored_dot = expectations("relu", *(SIGMAS * [[1], [1], [-1]]))
    assert_close(t - mirrored, SIGMAS[2] / 2, TIGHT)
    assert_close(t_dot + mirrored_dot, np.full(len(t), 0.5), TIGHT)


@pytest.mark.parametrize("angle", [1e-9, 1e-6, 1e-3, 0.5, np.pi / 2, 3, np.pi - 1e-6, np.pi - 1e-9])
def test_relu_at_any_angle(angle):
    """Ṫ = (π - θ) / 2π and T = (sin θ + (π - θ) cos θ) / 2π, θ known beyond what cos θ can hold."""
    near, far = 2 * np.sin(angle / 2) ** 2, 2 * np.cos(angle / 2) ** 2
    point = duals.Points(np.full((1, 1), np.sqrt(0.5)), np.array([[1.0], [0.0]]))
    with jax.enable_x64(True):
        gap = duals.signed(jnp.asarray([near]), jnp.asarray([far]))
        t, t_dot, after = duals.relu(gap, point, point, None)
    rest = np.pi - angle
    assert_close(t_dot, [rest / (2 * np.pi)], TIGHT, floor=1e-3)
    j1 = np.sin(angle) + rest * np.cos(angle)
    assert_close(t, [j1 / (2 * np.pi)], TIGHT)
    cubic = (
        angle**3 / 3 / np.pi if angle < 1e-2 else (np.sin(angle) - angle * np.cos(angle)) / np.pi
    )
    assert_close(after, [near - cubic], 1e-5 if angle < 1e-2 else TIGHT, floor=0)


def test_arcsin():
    for dtype, tolerance in ((np.float64, 2e-14), (np.float32, 3e-7)):
        x = np.concatenate([np.linspace(-1, 1, 4001), [1e-20, -1e-7, np.sqrt(0.5)]]).astype(dtype)
        with jax.enable_x64(True):
            ours = duals._arcsin(jnp.asarray(x))
        assert ours.dtype == dtype
        assert_close(ours, np.arcsin(x.astype(np.float64)), tolerance, floor=0)


def test_too_rough_for_a_series():
    with pytest.raises(ValueError, match="scale the inputs or w_var down"):
        expectations(jnp.abs, [1.0], [1.0], [0.5])
    with pytest.raises(ValueError, match="one of relu, erf"):
        expectations("swish", [1.0], [1.0], [0.5])
