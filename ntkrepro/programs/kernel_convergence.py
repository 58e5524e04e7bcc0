"""The program `kernel_convergence`: kernels of random networks against the analytic ones (§3.1)."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro.config.identity import Run
from ntkrepro.config.schema import Experiment, Model
from ntkrepro.data import load
from ntkrepro.errors import RunFailed
from ntkrepro.networks.layers import ACTIVATIONS
from ntkrepro.programs import failures, observe
from ntkrepro.programs.calls import Call, HostCall, reading
from ntkrepro.programs.memory import Need, data, of_host
from ntkrepro.programs.observe import Result
from ntkrepro.programs.setup import Setup, nbytes
from ntkrepro.progress import Say, Tick
from ntkrepro.records.rows import rows
from ntkrepro.theory.kernels import analytic, random_networks
from ntkrepro.theory.kernels.analytic import Kernels


def kernel_convergence(pack: list[Run], say: Say, tick: Tick) -> list[Result | RunFailed]:
    """Relative Frobenius error |K_M - K| / |K| of the mean over M networks, for M = 1, 2, 4, ...

    Row `nngp_error`, `ntk_error` with index M: root mean square over the samples // M disjoint
    groups of M networks among all `samples`.
    """
    began, experiment = time.perf_counter(), pack[0].experiment
    dataset = load.load(experiment.data)
    x = dataset.x_train * (dataset.x_train.shape[1] / dataset.n0) ** 0.5  # Eq. S4 divides by n0
    drawn = draws(experiment, jnp.asarray(x), tick)
    kernel = partial(
        analytic.fc,
        depth=experiment.model.depth,
        activation=experiment.model.activation.name,
        w_var=experiment.model.w_var,
        b_var=experiment.model.b_var,
    )
    exact = failures.analytic(experiment, kernel, x)
    failures.finite(experiment, "analytic kernel", exact.ntk, x)
    frames = [
        error_rows("nngp_error", drawn["nngp"], np.asarray(exact.nngp)),
        error_rows("ntk_error", drawn["ntk"], np.asarray(exact.ntk)),
    ]
    about = {
        "data": load.fingerprint(dataset),
        "seconds": {"drawing": round(time.perf_counter() - began, 3)},
    }
    return [observe.result(frames, about)]


def draws(experiment: Experiment, x: jax.Array, tick: Tick) -> dict[str, np.ndarray]:
    """Kernels of `samples` random networks [M, N, N], float64. Raises RunFailed where they aren't
    finite."""
    keys = jax.random.split(jax.random.key(experiment.seed), experiment.samples)
    # one at a time: batched LAPACK calls can lock XLA's CPU threads
    found = {name: np.empty((len(keys), len(x), len(x))) for name in Kernels._fields}
    for i, key in enumerate(keys):
        drawn = _draw(network(experiment.model), key, x)
        failures.finite(experiment, "kernel of a random network", drawn.ntk, x)
        for name, kernels in found.items():
            kernels[i] = getattr(drawn, name)
        tick((i + 1) * experiment.optimizer.steps // len(keys))
    return found


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
    drawn = random_networks.draw(key, x, **dict(network))
    return Kernels(drawn.nngp, drawn.ntk)


def error_rows(quantity: str, samples: np.ndarray, exact: np.ndarray) -> pd.DataFrame:
    """One row per M, a power of 2 up to the number of samples [M, N, N]."""
    frames, m = [], 1
    while m <= len(samples):
        groups = len(samples) // m
        means = (group.mean(0) for group in np.split(samples[: groups * m], groups))
        apart = [np.linalg.norm((mean - exact)[None], axis=(1, 2))[0] for mean in means]
        errors = np.array(apart) / np.linalg.norm(exact)
        frames.append(rows("network", quantity, [0], [np.sqrt((errors**2).mean())]).assign(index=m))
        m *= 2
    return pd.concat(frames)


def calls(setup: Setup) -> list[Call | HostCall]:
    count, n = setup.experiment.samples, len(setup.x_train)
    draw_one = partial(_draw, network(setup.experiment.model))
    args = (jax.eval_shape(jax.random.key, 0), setup.x_train)
    host = nbytes(setup.dataset[:4]) + 2 * 8 * count * n**2
    return [
        reading(setup),
        Call("random kernels", count, draw_one, args, nbytes(setup.x_train) + of_host(host)),
    ]


def needs(setup: Setup) -> list[Need]:
    """Features of one random network and the kernels of all."""
    n, item = len(setup.x_train), setup.x_train.dtype.itemsize
    model = setup.experiment.model
    return [
        data(setup),
        Need("features", "model.width", 2 * model.depth * n * model.width * item),
        Need("kernels", "data.train", 2 * 8 * (setup.experiment.samples + 1) * n**2, host=True),
    ]
