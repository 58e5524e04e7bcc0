"""From trajectories to the rows of a record."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntkrepro.compilation import jit
from ntkrepro.networks import functions
from ntkrepro.networks.architectures import Network
from ntkrepro.networks.functions import flatten
from ntkrepro.theory.kernels import empirical

Pick = dict[tuple[str, ...], np.ndarray]


class Trajectory(NamedTuple):
    """One model at one step, or with a leading axis at every logged step [t]; none = not available.

    Outputs [n, k], [m, k]; displacement theta_t - theta_0 of single weights [w]; relative change
    |W_t - W_0| / |W_0| per layer [l]; that of the kernels (NTK, NNGP) [2]; and |Theta_t - Theta_0|
    on all train points, in the operator norm of Eq. S48 [1]. What leaps have `spent` so far:
    estimated error of the outputs, linearizations, gradients' worth of passes [3]. NORMS [3].
    |theta_t - theta_0| / |theta_0| of all parameters, `moved` [1]. Of behaviour.py: NAMES [5], not
    a number where one is not defined, and the largest `eigenvalues` [TOP]. COORDINATES of every
    layer [2, l].
    """

    train: np.ndarray
    test: np.ndarray
    weights: np.ndarray | None = None
    weight_change: np.ndarray | None = None
    kernel_change: np.ndarray | None = None
    kernel_distance: np.ndarray | None = None
    spent: np.ndarray | None = None
    norms: np.ndarray | None = None
    moved: np.ndarray | None = None
    behaviour: np.ndarray | None = None
    eigenvalues: np.ndarray | None = None
    coordinates: np.ndarray | None = None

    def at(self, t: int) -> "Trajectory":
        """One step of several."""
        return Trajectory(*(None if part is None else part[t] for part in self))  # type: ignore


def stack(points: list[Trajectory]) -> Trajectory:
    """Trajectories of single steps, one after another."""
    parts = zip(*points, strict=True)
    return Trajectory(*(None if part[0] is None else np.stack(part) for part in parts))  # type: ignore


def first(path: Trajectory, count: int) -> Trajectory:
    """Its first `count` logged steps."""
    return Trajectory(*(None if part is None else part[:count] for part in path))  # type: ignore


def layer_weights(params: Any) -> dict[tuple[str, ...], jax.Array]:
    """Weight arrays by path in the network's order: layer1, layer2, ..., the readout last.

    Of a custom network, whose arrays have other names: those with two axes or more, else all.
    """
    every = flatten(params)
    own = {path: leaf for path, leaf in every.items() if path[-1] == "w" and len(path) > 1}
    leaves = own or {path: leaf for path, leaf in every.items() if leaf.ndim > 1} or every

    def place(item: tuple[tuple[str, ...], Any]) -> tuple[bool, list[Any]]:
        name = item[0][0]
        return name == "readout", [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", name)]

    return dict(sorted(leaves.items(), key=place))


def pick_weights(params: Any, count: int, seed: int) -> Pick:
    """Flat indices of up to `count` random weights, by layer.

    The first layer is left out where there is another: data.subspace rotates it.
    """
    leaves = layer_weights(params)
    paths = list(leaves)[1:] or list(leaves)
    sizes = [leaves[path].size for path in paths]
    rng = np.random.default_rng([seed, 2])
    flat = np.sort(rng.choice(sum(sizes), min(count, sum(sizes)), replace=False))
    edges = np.cumsum([0, *sizes])
    return {
        path: flat[(flat >= low) & (flat < high)] - low
        for path, low, high in zip(paths, edges[:-1], edges[1:], strict=True)
    }


def full_norms(params: Any, left: int, w_std: float, seed: int) -> dict[tuple[str, ...], float]:
    """|W_0| per layer, with the part of the first for `left` inputs that data.subspace left out.

    That part is left x width i.i.d. N(0, w_std^2) numbers: its squared norm is drawn. A layer that
    starts at 0 has no relative change: not a number.
    """
    leaves = layer_weights(params)
    norms = {path: float(np.linalg.norm(leaf)) or np.nan for path, leaf in leaves.items()}
    if left:
        first = next(iter(leaves))
        hidden = left * leaves[first].shape[1]
        rest = w_std**2 * np.random.default_rng([seed, 3]).chisquare(hidden)
        norms[first] = float(np.sqrt(norms[first] ** 2 + rest))
    return norms


def size(params: Any, norms: dict[tuple[str, ...], float]) -> float:
    """|theta_0| of all parameters; `norms` are those of full_norms, for the weights among them."""
    rest = {p: float(jnp.linalg.norm(leaf)) for p, leaf in flatten(params).items()}
    every = rest | {path: norm for path, norm in norms.items() if np.isfinite(norm)}
    return float(np.linalg.norm([*every.values()]))


def moved(omega: Any, length: float) -> np.ndarray:
    """|omega| / |theta_0| [1], omega = theta_t - theta_0; not a number where theta_0 is 0."""
    return np.array([float(optax.tree.norm(omega)) / length if length else np.nan])


@jit
def displacement(omega: Any, pick: Any, norms: Any) -> tuple[jax.Array, jax.Array]:
    """Picked entries of omega = theta_t - theta_0 [w] and relative change per layer [l]."""
    leaves = layer_weights(omega)
    entries = [leaves[path].ravel()[pick[path]] for path in leaves if path in pick]
    changes = [jnp.linalg.norm(leaf) / norms[path] for path, leaf in leaves.items()]
    return jnp.concatenate(entries), jnp.stack(changes)


Empirical = dict[str, jax.Array]  # kernels by name: ntk [n, k, n, k], nngp [n, n]


def kernels(model: Network, params: Any, x: jax.Array, ntk: jax.Array | None = None) -> Empirical:
    """Both of a network, or of a user's own, whose readout isn't known, the NTK; `ntk` where that
    is there already."""
    found = {"ntk": empirical.ntk(model, params, x) if ntk is None else ntk}
    return found if model.own else {**found, "nngp": empirical.nngp(model, params, x)}


def relative_change(now: Empirical, start: Empirical) -> np.ndarray:
    """|K_t - K_0|_F / |K_0|_F of NTK and NNGP [2], or of the NTK [1]; infinite where K_t isn't
    finite."""
    norm = jnp.linalg.norm
    changes = np.array([float(norm(now[n] - start[n]) / norm(start[n])) for n in now])
    return np.where([bool(jnp.isfinite(now[n]).all()) for n in now], changes, np.inf)


def distance(now: Empirical, start: Empirical) -> np.ndarray:
    """Operator norm of Theta_t - Theta_0, from kernels [n, k, n, k] -> [1]."""
    return np.array([np.abs(eigenvalues(now["ntk"] - start["ntk"])).max()])  # it is symmetric


NORMS = ("parameter_distance", "ntk_frobenius", "ntk_largest")  # of Theorem 2.1


def norms(omega: Any, now: Empirical, start: Empirical) -> np.ndarray:
    """|theta_t - theta_0| of all parameters, |Theta_t - Theta_0|_F, and the largest eigenvalue of
    Theta_t [3], from omega and kernels [n, k, n, k]."""
    change = float(jnp.linalg.norm(now["ntk"] - start["ntk"]))
    return np.array([float(optax.tree.norm(omega)), change, eigenvalues(now["ntk"]).max()])


def eigenvalues(kernel: jax.Array) -> np.ndarray:
    """Of a kernel [n, k, n, k], or infinite where it is not finite, on the way to divergence."""
    size = kernel.shape[0] * kernel.shape[1]
    square = np.asarray(kernel, np.float64).reshape(size, size)
    return np.linalg.eigvalsh(square) if np.isfinite(square).all() else np.full(size, np.inf)


COORDINATES = ("coordinate", "coordinate_change")


@partial(jit, static_argnames="model")
def coordinates(model: Network, params0: Any, params: Any, x: jax.Array) -> jax.Array:
    """Root mean square, over examples and units, of every layer's outputs at `params`, and of how
    far they are from those at `params0` [2, l]; the readout, that is f, last."""
    start, now = (functions.coordinates(model, theta, x) for theta in (params0, params))
    paths = [path[:-1] for path in layer_weights(params)]
    pairs = [(now[path], now[path] - start[path]) for path in paths]
    return jnp.sqrt(jnp.array([[jnp.mean(part**2) for part in pair] for pair in pairs])).T


apply = jit(functions.apply, static_argnames="model")


def outputs(
    f: Callable[[jax.Array], jax.Array],
    x: tuple[jax.Array, jax.Array],
    size: int | None = None,
    apart: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """f on train and test points x [n, ...], [m, ...], `size` rows at a time; none = all at once.

    `apart`: no batch holds points of both, for networks whose outputs depend on their batch.
    """
    groups = x if apart else (jnp.concatenate(x),)
    found = [np.asarray(f(part)) for points in groups for part in parts(points, size)]
    train, test = np.split(np.concatenate(found), [len(x[0])])
    return train, test


def parts(x: jax.Array, size: int | None) -> list[jax.Array]:
    """x in batches of `size` rows, in order; none = in one."""
    return [x[i : i + size] for i in range(0, len(x), size)] if size else [x]


def root_mean_square(f: np.ndarray) -> np.ndarray:
    """Over examples and outputs, [t, n, k] -> [t]."""
    return np.sqrt(np.mean(np.asarray(f, np.float64) ** 2, axis=(1, 2)))
