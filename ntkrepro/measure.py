"""From trajectories to the rows of a record."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ntkrepro import models
from ntkrepro.compilation import jit
from ntkrepro.data import Dataset
from ntkrepro.kernels import empirical
from ntkrepro.loss import LOSSES, correct
from ntkrepro.models import Network, flatten

Pick = dict[tuple[str, ...], np.ndarray]


class Trajectory(NamedTuple):
    """One model at one step, or with a leading axis at every logged step [t]; none = not available.

    Outputs [n, k], [m, k]; displacement theta_t - theta_0 of single weights [w]; relative change
    |W_t - W_0| / |W_0| per layer [l]; that of the kernels (NTK, NNGP) [2]; and |Theta_t - Theta_0|
    on all train points, in the operator norm of Eq. S48 [1].
    """

    train: np.ndarray
    test: np.ndarray
    weights: np.ndarray | None = None
    weight_change: np.ndarray | None = None
    kernel_change: np.ndarray | None = None
    kernel_distance: np.ndarray | None = None


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


@jit
def displacement(omega: Any, pick: Any, norms: Any) -> tuple[jax.Array, jax.Array]:
    """Picked entries of omega = theta_t - theta_0 [w] and relative change per layer [l]."""
    leaves = layer_weights(omega)
    entries = [leaves[path].ravel()[pick[path]] for path in leaves if path in pick]
    changes = [jnp.linalg.norm(leaf) / norms[path] for path, leaf in leaves.items()]
    return jnp.concatenate(entries), jnp.stack(changes)


def kernels(model: Network, params: Any, x: jax.Array) -> dict[str, jax.Array]:
    """Empirical NTK [n, k, n, k] and NNGP [n, n], which a network without our readout has not."""
    found = {"ntk": empirical.ntk(model, params, x)}
    return found if model.own else {**found, "nngp": empirical.nngp(model, params, x)}


def relative_change(now: dict[str, jax.Array], start: dict[str, jax.Array]) -> np.ndarray:
    """|K_t - K_0|_F / |K_0|_F of NTK and NNGP [2], or of the NTK [1]."""
    norm = jnp.linalg.norm
    return np.array([float(norm(now[n] - start[n]) / norm(start[n])) for n in now])


def distance(now: dict[str, jax.Array], start: dict[str, jax.Array]) -> np.ndarray:
    """Operator norm of Theta_t - Theta_0, from kernels [n, k, n, k] -> [1]."""
    change = np.asarray(now["ntk"] - start["ntk"], np.float64)
    size = change.shape[0] * change.shape[1]
    square = change.reshape(size, size)
    return np.array([np.abs(np.linalg.eigvalsh(square)).max()])  # symmetric: no singular values


apply = jit(models.apply, static_argnames="model")


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


def rows(model: str, quantity: str, steps: Any, values: Any, split: str = "") -> pd.DataFrame:
    """values [t] or [t, i] at steps [t], one row a number."""
    values = np.asarray(values, np.float64).reshape(len(steps), -1)
    count = values.shape[1]
    return pd.DataFrame(
        {
            "step": np.repeat(np.asarray(steps, np.int32), count),
            "model": model,
            "quantity": quantity,
            "split": split,
            "index": np.tile(np.arange(count, dtype=np.int32), len(steps)),
            "value": values.ravel(),
        }
    )


def trajectory_rows(
    model: str,
    steps: list[int],
    path: Trajectory,
    network: Trajectory,
    data: Dataset,
    loss: str,
    keep: int,
    examples: bool,
) -> list[pd.DataFrame]:
    """Loss, accuracy, outputs, RMSE against the network, and weights of one model.

    `output` index = example * k + output, for the first `keep` examples of each split. With
    `examples`, `example_loss` and `example_correct` (0, 1) of all test points, index = example.
    """
    out = []
    for split, y in (("train", data.y_train), ("test", data.y_test)):
        f, reference = getattr(path, split), getattr(network, split)
        y = y[: f.shape[1]]
        losses, right = LOSSES[loss].per_example(f, y), correct(f, y[None])
        if split == "test" and examples:
            out.append(rows(model, "example_loss", steps, losses, split))
            out.append(rows(model, "example_correct", steps, right, split))
        out += [
            rows(model, "loss", steps, losses.mean(-1), split),
            rows(model, "accuracy", steps, right.mean(-1), split),
            rows(model, "output", steps, f[:, :keep], split),
            rows(model, "output_rms", steps, root_mean_square(f), split),
        ]
        if model != "network":
            out.append(rows(model, "rmse", steps, root_mean_square(f - reference), split))
    if path.weights is not None:
        out.append(rows(model, "weight", steps, path.weights))
        out.append(rows(model, "weight_change", steps, path.weight_change))
    if path.kernel_change is not None:
        for name, change in zip(("ntk", "nngp"), path.kernel_change.T, strict=False):
            out.append(rows(model, f"{name}_change", steps, change, "train"))
    if path.kernel_distance is not None:
        out.append(rows(model, "ntk_distance", steps, path.kernel_distance, "train"))
    return out


def root_mean_square(f: np.ndarray) -> np.ndarray:
    """Over examples and outputs, [t, n, k] -> [t]."""
    return np.sqrt(np.mean(np.asarray(f, np.float64) ** 2, axis=(1, 2)))


def target_rows(data: Dataset, keep: int) -> list[pd.DataFrame]:
    """The targets of the examples whose outputs are kept."""
    pairs = (("train", data.y_train), ("test", data.y_test))
    return [rows("data", "target", [0], y[:keep].reshape(1, -1), split) for split, y in pairs]
