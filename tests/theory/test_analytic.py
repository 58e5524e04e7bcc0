"""The kernels of Eq. S3-S6 and S32 against reference values, laws, and finite networks."""

import itertools
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.theory.kernels.analytic import Kernels, fc
from ntkrepro.theory.kernels.duals import expectations
from tests.oracles import oracle
from tests.theory.test_duals import SERIES, TIGHT, assert_close

REFERENCE, SINGLE, NETWORKS = 1e-9, 1e-5, 0.03  # float64, float32, 32 draws of width 512
# how well the library agrees with its own references: shared/oracles/README.md
LIBRARY = {"relu": 2e-7, "erf": 1e-12, "tanh": 1e-2}
relu, tanh = (partial(fc, depth=3, activation=a, w_var=1.5, b_var=0.1) for a in ("relu", "tanh"))


def draws(n, d=6, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def numpy(kernels):
    return Kernels(*(np.asarray(k) for k in kernels))


def assert_same(one, two, tolerance, **kwargs):
    for a, b in zip(one, two, strict=True):
        assert_close(a, b, tolerance, **kwargs)


@pytest.mark.parametrize("depth", [1, 3, 5, 16])
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_reference_values(activation, depth):
    """All arrays of the file: 11 and 12 in one call, 11 at depth 3 also by the symmetric way.

    Zeros after the inputs of n0 = 10 make all shapes one, and so compile once.
    """
    stored = oracle("fc_analytic.npz")
    for n0 in stored["n0s"]:
        x1, x2 = (np.pad(stored[f"x{i}_n{n0}"], ((0, 0), (0, 1024 - n0))) for i in (1, 2))
        for p, (w_var, b_var) in enumerate(stored["params"]):
            scales = {"w_var": w_var, "b_var": b_var, "n0": int(n0)}
            run = partial(fc, depth=depth, activation=activation, **scales)
            name = f"{activation}_L{depth}_p{p}_n{n0}"
            for kind, values in numpy(run(x1, np.concatenate([x1, x2])))._asdict().items():
                check_reference(stored, activation, f"{name}_{kind}11", values[:, :7])
                check_reference(stored, activation, f"{name}_{kind}12", values[:, 7:])
            if depth == 3:
                for kind, values in numpy(run(x1))._asdict().items():
                    check_reference(stored, activation, f"{name}_{kind}11", values)


def check_reference(stored, activation, name, values):
    assert_close(values, stored[f"ref_{name}"], REFERENCE)
    library = stored[name]
    known = np.isfinite(library)  # the library's tanh is NaN at zero vectors
    assert_close(values[known], library[known], LIBRARY[activation])


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
def test_two_layers_written_out(activation):
    """Eq. S3-S6 for two pairs, with T and Ṫ of every layer from `expectations`."""
    x, y, w_var, b_var = draws(2), draws(2, seed=1), 1.7, 0.2
    covs = [w_var * (a * b).sum(1) / 6 + b_var for a, b in ((x, x), (y, y), (x, y))]
    ntk = covs[2]
    for _ in range(2):
        q1, q2, cov = covs
        pairs = ((q1, q1, q1), (q2, q2, q2), (q1, q2, cov))
        covs = [w_var * expectations(activation, *pair)[0] + b_var for pair in pairs]
        ntk = covs[2] + w_var * ntk * expectations(activation, q1, q2, cov)[1]
    kernels = numpy(fc(x, y, depth=2, activation=activation, w_var=w_var, b_var=b_var))
    assert_close(np.diag(kernels.nngp), covs[2], SERIES)
    assert_close(np.diag(kernels.ntk), ntk, SERIES)


def test_linear_network():
    """K = w^(L+1) x.x'/n0 + b (1 + w + ... + w^L), Θ the sum of what K has above every layer."""
    x, y = draws(4), draws(3, seed=1)
    dot = x @ y.T / 6
    covs = [1.5 * dot + 0.1]
    for _ in range(3):
        covs.append(1.5 * covs[-1] + 0.1)
    expected = covs[3], sum(1.5 ** (3 - layer) * cov for layer, cov in enumerate(covs))
    assert_same(fc(x, y, depth=3, activation="identity", w_var=1.5, b_var=0.1), expected, TIGHT)


@pytest.mark.parametrize("depth", [1, 16, 100])
def test_critical_relu_network(depth):
    """w_var = 2, b_var = 0 keeps K(x, x) = 2 |x|²/n0 at any depth; Θ(x, x) is L + 1 times that."""
    x = draws(4)
    kernels = numpy(fc(x, depth=depth, activation="relu", w_var=2.0, b_var=0.0))
    square = 2 * (x**2).mean(1)
    assert_close(np.diag(kernels.nngp), square, TIGHT)
    assert_close(np.diag(kernels.ntk), (depth + 1) * square, TIGHT)


@pytest.mark.parametrize("b_var", [0.0, 0.1])
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_duplicates_zeros_and_opposites(activation, b_var):
    """No NaN; a repeated point's entries are the diagonal's; a zero vector's, without bias, 0."""
    x = draws(4)
    x[3] = 0
    kwargs = {"depth": 16, "activation": activation, "w_var": 1.5, "b_var": b_var}
    diagonal = numpy(fc(x, **kwargs))
    repeated = numpy(fc(x, np.concatenate([x, -x, 3 * x]), **kwargs))
    for one, two in zip(diagonal, repeated, strict=True):
        assert np.isfinite(two).all()
        assert_close(two[:, :4], one, SERIES)
        if b_var == 0:
            assert np.all(one[3] == 0)
            assert np.all(two[3] == 0)
    assert_close(np.array(diagonal), np.swapaxes(diagonal, 1, 2), TIGHT)
    if b_var == 0 and activation != "relu":
        for kernel in repeated:
            assert_close(kernel[:, 4:8], -kernel[:, :4], SERIES)


def test_relu_is_homogeneous():
    """Without bias K and Θ scale with the input, far along rays and opposite rays."""
    x = draws(4)
    kernels = numpy(relu(x, np.concatenate([x, -x, 1e3 * x, -1e3 * x]), b_var=0.0))
    for kernel in kernels:
        assert_close(kernel[:, 8:], 1e3 * kernel[:, :8], TIGHT)


@pytest.mark.parametrize("b_var", [0.0, 0.1])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-5, 1e-8, 0])
def test_relu_near_parallel(distance, sign, b_var):
    """One layer at a known small angle, unit vectors in a plane of 50 dimensions."""
    axes = np.linalg.qr(draws(50, 2))[0]
    x1 = np.sqrt(50) * axes[:, :1].T
    x2 = np.sqrt(50) * (axes @ [[np.cos(distance)], [sign * np.sin(distance)]]).T * sign
    kernels = numpy(fc(x1, x2, depth=1, activation="relu", w_var=1.0, b_var=b_var))
    q = 1 + b_var
    half = np.sqrt(1 / q) * np.sin(distance / 2)  # of the angle with the bias as one more input
    theta = 2 * np.arcsin(half) if sign > 0 or b_var else np.pi - distance
    if sign < 0 and b_var:
        theta = np.arccos((-np.cos(distance) + b_var) / q)
    rest = np.pi - theta
    t = q * (np.sin(rest) - rest * np.cos(rest)) / (2 * np.pi)
    if rest < 1e-2:
        t = q * rest**3 / 3 / (2 * np.pi) * (1 - rest**2 / 10)
    cov = q * np.cos(theta)
    assert_close(kernels.nngp, [[t + b_var]], TIGHT)
    assert_close(kernels.ntk, [[t + b_var + cov * rest / (2 * np.pi)]], 1e-11)


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "gelu"])
def test_single_precision(activation):
    """float32 within 1e-5 of float64, near-copies and opposites among the points."""
    x = draws(40, 200)
    x[20:30] = x[:10] + 1e-2 * draws(10, 200, seed=1)
    x[30:36], x[36:] = -x[:6], x[6:10]
    x = x.astype(np.float32)
    for b_var in (0.0, 0.1):
        run = partial(fc, depth=3, activation=activation, w_var=1.5, b_var=b_var)
        args = (x, x.copy()) if activation == "relu" else (x,)
        single, double = run(*args), run(*(a.astype(np.float64) for a in args))
        assert single.nngp.dtype == single.ntk.dtype == np.float32
        assert double.nngp.dtype == double.ntk.dtype == np.float64
        assert_same(single, double, SINGLE, floor=0.1)


def test_dtypes():
    """Those of the inputs, with JAX's flag off as with it on, which stays as it was."""
    run = partial(fc, depth=3, activation="identity", w_var=1.5, b_var=0.1)
    x = draws(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for flag in (False, True):
            with jax.enable_x64(flag):
                assert run(x, x.astype(np.float32)).ntk.dtype == np.float64
                for single in (np.float32(x), np.int32(x), jnp.asarray(x, jnp.float32)):
                    assert run(single).ntk.dtype == np.float32
                assert jnp.ones(1).dtype == (np.float64 if flag else np.float32)


@pytest.mark.parametrize("run", [relu, tanh])
def test_tiles(run):
    """Small ones that divide neither 21 nor 13, symmetric or not, change nothing."""
    x = draws(21)
    x[3:6] = x[15:18] + 1e-9
    whole = numpy(run(x, x.copy()))
    assert_same(numpy(run(x, memory=2**13)), whole, TIGHT)
    assert_same(numpy(run(x, x[:13], memory=2**13)), [k[:, :13] for k in whole], TIGHT)
    for kernel in whole:
        assert np.linalg.eigvalsh(kernel).min() > -1e-12 * np.trace(kernel)


def test_more_tiles_than_one():
    """300 points by default; one entry a tile where `memory` is less than anything needs."""
    x = draws(300)
    whole = numpy(relu(x))
    assert_same(whole, [k.T for k in whole], TIGHT)
    for part in (slice(21), slice(200, 221), slice(250, 271)):
        assert_same([k[40:61, part] for k in whole], numpy(relu(x[40:61], x[part])), TIGHT)
        assert_same([k[part, 40:61] for k in whole], numpy(relu(x[part], x[40:61])), TIGHT)
    linear = partial(fc, x[:5], depth=3, activation="identity", w_var=1.5, b_var=0.1)
    assert_same(linear(memory=1), linear(), TIGHT)


def test_inputs_in_a_subspace():
    """A rotation that leaves out what no input spans, with `n0` from before it, changes nothing."""
    x = draws(4, 40)
    q, r = np.linalg.qr(x.T)
    assert q.shape == (40, 4)
    assert_same(relu(r.T, n0=40), relu(x), TIGHT)


def test_any_smooth_function():
    x, y = draws(4), draws(3, seed=1)
    run = partial(fc, x, y, depth=3, w_var=1.5, b_var=0.1)
    assert_same(run(activation=jax.scipy.special.erf), run(activation="erf"), SERIES)
    assert_same(run(activation=lambda x: x), run(activation="identity"), SERIES)


def jacobian_kernels(key, x, width, stds, forward):
    """J Jᵀ at one draw, of the first layer's weights, the other weights, the biases: [3, n, n]."""
    params = []
    for a, b in itertools.pairwise([x.shape[1], width, width, 1]):
        key, *keys = jax.random.split(key, 3)
        w, b = (jax.random.normal(k, s) for k, s in zip(keys, ((a, b), (b,)), strict=True))
        params.append((stds(a)[0] * w, stds(a)[1] * b))
    jacobian = [[j.reshape(len(x), -1) for j in js] for js in jax.jacobian(forward)(params, x)]
    first, *later = (w @ w.T for w, _ in jacobian)
    return jnp.stack([first, sum(later), sum(b @ b.T for _, b in jacobian)])


@pytest.mark.parametrize(
    ("parametrization", "activation"), [("ntk", "tanh"), ("standard", "tanh"), ("standard", "relu")]
)
def test_finite_networks(parametrization, activation):
    """Mean J Jᵀ over draws; in standard parametrization apart, by how they grow with the width."""
    width, w_var, b_var, ntk = 512, 1.5, 0.3, parametrization == "ntk"
    x, phi = draws(4), {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    x *= np.sqrt(6) / np.linalg.norm(x, axis=1, keepdims=True)
    stds, factors = (
        lambda fan_in, on=on: (np.sqrt(w_var / fan_in), np.sqrt(b_var)) if on else (1.0, 1.0)
        for on in (not ntk, ntk)
    )
    with jax.enable_x64(True):
        forward = partial(network, phi=phi, factors=factors)
        one = partial(jacobian_kernels, x=jnp.asarray(x), width=width, stds=stds, forward=forward)
        keys = jax.random.split(jax.random.key(0), 32)
        mean = np.asarray(jax.lax.map(one, keys).mean(axis=0))
    run = partial(fc, x, depth=2, activation=activation, w_var=w_var, b_var=b_var)
    if ntk:
        return assert_near(run().ntk, mean.sum(axis=0))
    narrow, wide = (
        np.asarray(run(parametrization="standard", width=k).ntk) for k in (width, 2 * width)
    )
    assert_near(wide - narrow, mean[1])
    assert_near(2 * narrow - wide, mean[0] + mean[2])


def network(params, x, phi, factors):
    """Scalar outputs [n] of Eq. 1 or S32."""
    for i, (w, b) in enumerate(params):
        w_factor, b_factor = factors(len(w))
        x = w_factor * (phi(x) if i else x) @ w + b_factor * b
    return x[:, 0]


def assert_near(kernel, mean):
    assert_close(kernel, mean, NETWORKS, floor=np.abs(mean).max())


def test_standard_parametrization_with_equal_widths():
    """Without bias and with width = n0 every layer's part is n0 / w_var times NTK's (Eq. S33)."""
    x = draws(4)
    for activation in ("relu", "tanh"):
        run = partial(fc, x, depth=3, activation=activation, w_var=1.5, b_var=0.0)
        standard = run(parametrization="standard", width=6)
        assert_same(standard, (run().nngp, np.asarray(run().ntk) * 6 / 1.5), TIGHT)


def test_standard_parametrization_of_biases():
    """A vanishing b_var trains biases all the same: Σ over layers of w_var^(L+1-l) Ṫ ... Ṫ."""
    x = draws(4)
    run = partial(
        fc, x, depth=2, activation="identity", w_var=1.5, parametrization="standard", width=8
    )
    without, vanishing = (np.asarray(run(b_var=b).ntk) for b in (0.0, 1e-13))
    assert_close(vanishing - without, np.full((4, 4), 1 + 1.5 + 1.5**2), 1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x1": np.ones((2, 3, 3))}, "flatten"),
        ({"x2": np.ones((2, 4))}, "flatten"),
        ({"x1": np.full((2, 3), np.nan)}, "NaN"),
        ({"depth": 0}, "depth=0"),
        ({"b_var": -1.0}, "b_var=-1"),
        ({"activation": "swish"}, "relu, erf"),
        ({"activation": jnp.abs}, "smooth"),
        ({"parametrization": "standard"}, "give width="),
        ({"parametrization": "mup"}, "ntk or standard"),
        ({"w_var": 1e9, "activation": "tanh"}, "scale the inputs"),
    ],
)
def test_bad_arguments(change, message):
    good = {"x1": np.ones((2, 3)), "depth": 1, "activation": "erf", "w_var": 1.0, "b_var": 0.0}
    with pytest.raises(ValueError, match=message):
        fc(**(good | change))
