"""Tolerances, and the small networks and data that the laws are tested on."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.networks import architectures, functions
from ntkrepro.training import loop

EXACT = 1e-10  # float64, relative to the largest entry
SINGLE = 1e-5  # float32


def error(a, b) -> float:
    """Largest difference over the largest entry."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))


def close(a, b, tolerance=EXACT) -> bool:
    """Two pytrees, leaf by leaf."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(error(x, y) < tolerance for x, y in pairs)


def slope(x, y) -> float:
    """Of log y against log x, least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def fc(depth=2, width=24, k=1, activation="tanh", parametrization="ntk", b_var=0.1, n0=None):
    return architectures.FC(depth, width, k, activation, parametrization, 1.5, b_var, n0)


def problem(model, n=9, m=5, d=7, seed=0, dtype=jnp.float64):
    """params0, x [n, d], y [n, k], x_test [m, d] for a model."""
    rng = np.random.default_rng(seed)
    x, y, x_test = (rng.standard_normal(s) for s in ((n, d), (n, model.outputs), (m, d)))
    x, y, x_test = (jnp.asarray(a, dtype) for a in (x, y, x_test))
    return functions.init(model, jax.random.key(seed), x), x, y, x_test


@cache
def network(model):
    """apply(params, x) of a model, compiled."""
    return jax.jit(partial(functions.apply, model))


def omegas(recipe, task, steps, *names):
    """{name: theta_t - theta_0} of each of the named models (none: the network) at each step."""
    runs = loop.train(recipe, task, names or ("network",), steps)
    return [jax.tree.map(np.array, states) for _, states in runs]


def jacobian_kernel(model, params, x1, x2):
    """J J^T from reverse mode, [n, k, m, k]."""

    def rows(x):
        leaves = jax.tree.leaves(jax.jit(jax.jacrev(network(model)))(params, x))
        return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)

    return jnp.tensordot(rows(x1), rows(x2), [[2], [2]])
