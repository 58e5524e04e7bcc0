"""The program `drawn_ensemble`: many linearized networks of any width, without training.

A member's outputs f_0 and its kernel at theta_0 on train points and path are drawn together,
without its weight matrices (theory/kernels/random_networks.py); its outputs at every step follow in
closed form (theory/dynamics.py). Where the readout alone is trained, its kernel is K and the closed
form is the network's own; else it is Theta, and the closed form its linearization's.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro.compilation import jit
from ntkrepro.config.identity import Run
from ntkrepro.config.schema import Model, Trained
from ntkrepro.data import load
from ntkrepro.errors import RunFailed
from ntkrepro.programs import ensemble, failures
from ntkrepro.programs.calls import MEASURED, Call, HostCall, both, reading, record
from ntkrepro.programs.kernel_convergence import network
from ntkrepro.programs.memory import Need, data, of_host
from ntkrepro.programs.observe import Result
from ntkrepro.programs.setup import Setup, inputs, nbytes, shapes
from ntkrepro.progress import Say, Tick
from ntkrepro.records.rows import rows
from ntkrepro.theory import dynamics
from ntkrepro.theory.kernels import random_networks

BLOCK = 100  # members that wait in a file


def drawn_ensemble(pack: list[Run], say: Say, tick: Tick) -> list[Result | RunFailed]:
    """Rows as of the program `ensemble`, with `mean` and `std` of `network` for its `output`."""
    (run,) = pack
    dataset = load.load(run.experiment.data)
    x_train, x_test = inputs(run.experiment, dataset)
    own = shapes(run)._replace(dataset=dataset, x_train=x_train, x_test=x_test)

    def frames(seen: ensemble.Seen) -> list[pd.DataFrame]:
        f = seen["outputs"]
        return [
            rows("network", "mean", own.steps, f.mean(1), "path"),
            rows("network", "std", own.steps, f.std(1, ddof=1), "path"),
        ]

    return [ensemble.beside_processes(own, draw_block, BLOCK, frames, say, tick)]


def draw_block(
    setup: Setup, critical: dict[str, float], first: int, last: int, path: Path, tick: Tick
) -> ensemble.Seen:
    """As ensemble.train_block, of members that are drawn, one after the other."""
    experiment, opt, done = setup.experiment, setup.experiment.optimizer, []
    y, n = setup.dataset.y_train, len(setup.x_train)
    how = setup.lr * setup.rate, experiment.linearized.flow, opt.momentum
    x = jnp.concatenate([setup.x_train, setup.x_test])
    x = x * (x.shape[1] / setup.dataset.n0) ** 0.5  # Eq. S4 divides by n0
    for i in range(first, last):
        f, kernel = draw(experiment.model, KERNELS[opt.train], experiment.seed + i, x)
        name = "kernel of a random network"
        failures.finite(experiment, name, kernel, setup.x_train, setup.x_test)
        spectrum = dynamics.spectrum(kernel[:n, :n])
        c = dynamics.coefficients(spectrum, f[:n, None] - y, setup.steps, *how)
        f_t = dynamics.outputs(f[:, None], kernel[:, :n], c)[..., 0]
        ensemble.refuse_diverged(setup, critical, "network", f_t[:, n:] ** 2)
        done.append(ensemble.seen_at(setup, f_t[:, :n], f_t[:, n:]))
        tick(opt.steps * (i + 1 - first) // (last - first))
    return {name: np.stack([seen[name] for seen in done], axis=1) for name in done[0]}


def draw(model: Model, kernel: str, seed: int, x: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """f_0 [N] and the named kernel [N, N] of the network of a seed, float64."""
    f, k = _draw(network(model), kernel, jax.random.key(seed), x)
    return np.asarray(f, np.float64), np.asarray(k, np.float64)


@partial(jit, static_argnames=("network", "kernel"))
def _draw(
    network: tuple[tuple[str, Any], ...], kernel: str, key: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    drawn = random_networks.draw(key, x, **dict(network))
    return drawn.outputs, getattr(drawn, kernel)


KERNELS = {Trained.all: "ntk", Trained.readout: "nngp"}  # what moves outputs, by what is trained


def calls(setup: Setup) -> list[Call | HostCall]:
    experiment, t = setup.experiment, len(setup.steps)
    count, n, m = experiment.samples, len(setup.x_train), len(setup.x_test)
    dataset = of_host(nbytes(setup.dataset[:4]))
    held = nbytes((setup.x_train, setup.x_test)) + dataset
    kernels, size = 8 * (n + m) ** 2, min(n, MEASURED)
    one = partial(_draw, network(experiment.model), KERNELS[experiment.optimizer.train])
    args = (jax.eval_shape(jax.random.key, 0), both(setup.x_train, setup.x_test))
    k = np.diag(np.arange(1.0, size + 1))

    def solve() -> np.ndarray:
        c = dynamics.coefficients(dynamics.spectrum(k), k[:, :1], setup.steps, 1e-6)
        return dynamics.outputs(k[:, :1], k, c)

    share = n * n * (n + m) / size**3 / 2
    return [
        reading(setup),
        Call("networks drawn", count, one, args, held),
        HostCall("their outputs by Eq. 10", count, solve, share, held + of_host(2 * kernels)),
        *ensemble.gaussian_processes(setup, dataset + of_host(6 * kernels)),
        record(setup, (6 * t + 3) * m + t + 13, 8 * t * count * m),  # and 13 single numbers
    ]


def needs(setup: Setup) -> list[Need]:
    """Features of one random network, and the analytic kernels over train points and path."""
    points, item = len(setup.x_train) + len(setup.x_test), setup.x_train.dtype.itemsize
    model = setup.experiment.model
    return [
        data(setup),
        Need("features", "model.width", 4 * model.depth * points * model.width * item),
        Need("analytic kernels", "data.train", 4 * 8 * points**2, host=True),
    ]
