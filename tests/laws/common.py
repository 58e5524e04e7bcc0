"""Tolerances, and the small networks and data that the laws are tested on."""

import os
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro import models

EXACT = 1e-10  # float64, relative to the largest entry
ORACLE = 1e-9  # float64, against stored values
SINGLE = 1e-5  # float32


def error(a, b) -> float:
    """Largest difference over the largest entry."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))


def slope(x, y) -> float:
    """Of log y against log x, least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def fc(depth=2, width=24, k=1, activation="tanh", parametrization="ntk", b_var=0.1, n0=None):
    return models.FC(depth, width, k, activation, parametrization, 1.5, b_var, n0)


def problem(model, n=9, m=5, d=7, seed=0, dtype=jnp.float64):
    """params0, x [n, d], y [n, k], x_test [m, d] for a model."""
    rng = np.random.default_rng(seed)
    x, y, x_test = (rng.standard_normal(s) for s in ((n, d), (n, model.outputs), (m, d)))
    x, y, x_test = (jnp.asarray(a, dtype) for a in (x, y, x_test))
    return models.init(model, jax.random.key(seed), x), x, y, x_test


@cache
def network(model):
    """apply(params, x) of a model, compiled."""
    return jax.jit(partial(models.apply, model))


def oracle(name: str):
    """A file of reference values from the paper's own library; skips where there is none."""
    default = Path(__file__).parents[3] / "shared" / "oracles"
    path = Path(os.environ.get("NTKREPRO_ORACLES", default)) / name
    if not path.is_file():
        pytest.skip(f"no reference values in {path.parent} (set NTKREPRO_ORACLES)")
    return np.load(path)


def oracle_params(values, prefix: str = ""):
    """Stored weights w0, b0, ... of two hidden layers and a readout, as parameters."""
    names = ("layer1", "layer2", "readout")
    return {
        name: {leaf: jnp.asarray(values[f"{prefix}{leaf}{i}"]) for leaf in "wb"}
        for i, name in enumerate(names)
    }
