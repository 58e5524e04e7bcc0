"""The program `kernel_convergence`: kernels of random networks against the analytic ones (§3.1)."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro import data, measure
from ntkrepro.config import Experiment, Model
from ntkrepro.kernels import analytic, sampling
from ntkrepro.kernels.analytic import Kernels
from ntkrepro.layers import ACTIVATIONS
from ntkrepro.side_by_side import Say
from ntkrepro.weight_space import Tick


def run(experiment: Experiment, say: Say, tick: Tick) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Relative Frobenius error |K_M - K| / |K| of the mean over M networks, for M = 1, 2, 4, ...

    Row `nngp_error`, `ntk_error` with index M: root mean square over the samples // M disjoint
    groups of M networks among all `samples`.
    """
    began = time.perf_counter()
    dataset = data.load(experiment.data)
    x = dataset.x_train * (dataset.x_train.shape[1] / dataset.n0) ** 0.5  # Eq. S4 divides by n0
    drawn = draws(experiment, jnp.asarray(x))
    exact = analytic.fc(
        x,
        depth=experiment.model.depth,
        activation=experiment.model.activation.name,
        w_var=experiment.model.w_var,
        b_var=experiment.model.b_var,
    )
    frames = [
        error_rows("nngp_error", drawn["nngp"], np.asarray(exact.nngp)),
        error_rows("ntk_error", drawn["ntk"], np.asarray(exact.ntk)),
    ]
    about = {
        "data": data.fingerprint(dataset),
        "seconds": {"drawing": round(time.perf_counter() - began, 3)},
    }
    return pd.concat(frames, ignore_index=True), about


def draws(experiment: Experiment, x: jax.Array) -> dict[str, np.ndarray]:
    """Kernels of `samples` random networks [M, N, N], float64."""
    keys = jax.random.split(jax.random.key(experiment.seed), experiment.samples)
    # one at a time: batched LAPACK calls can lock XLA's CPU threads
    drawn = [jax.tree.map(np.asarray, _draw(network(experiment.model), key, x)) for key in keys]
    return {
        name: np.stack([getattr(k, name) for k in drawn], dtype=np.float64)
        for name in Kernels._fields
    }


def network(model: Model) -> tuple[tuple[str, Any], ...]:
    """What a draw depends on, hashable."""
    return (
        ("depth", model.depth),
        ("width", model.width),
        ("activation", ACTIVATIONS[model.activation.name]),
        ("w_var", model.w_var),
        ("b_var", model.b_var),
    )


@partial(jax.jit, static_argnames="network")
def _draw(network: tuple[tuple[str, Any], ...], key: jax.Array, x: jax.Array) -> Kernels:
    return sampling.draw(key, x, **dict(network))


def error_rows(quantity: str, samples: np.ndarray, exact: np.ndarray) -> pd.DataFrame:
    """One row per M, a power of 2 up to the number of samples [M, N, N]."""
    rows, m = [], 1
    while m <= len(samples):
        groups = len(samples) // m
        means = samples[: groups * m].reshape(groups, m, *exact.shape).mean(1)
        errors = np.linalg.norm(means - exact, axis=(1, 2)) / np.linalg.norm(exact)
        rows.append(
            measure.rows("network", quantity, [0], [np.sqrt((errors**2).mean())]).assign(index=m)
        )
        m *= 2
    return pd.concat(rows)
