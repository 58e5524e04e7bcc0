"""Kernels of networks of one's own: how long either way takes, and whether the quicker is chosen.

    python scripts/bench_generic.py [--repeats 5]

Fully connected and convolutional networks as plain functions of (params, x), float32. A row gives
the median time of each way of theory/kernels/generic.py, of interleaved repeats, with the billions
of operations that are counted for it; the last column is what the chosen one takes over the other.
Exit code 1 where that is above 1.1.
"""

import argparse
import itertools
import sys
import time
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from ntkrepro import api
from ntkrepro.compilation import jit
from ntkrepro.theory.kernels import empirical, generic

FC = [  # examples, width, hidden layers, outputs
    (100, 512, 2, 1),
    (400, 512, 2, 1),
    (100, 512, 2, 2),
    (100, 1024, 3, 2),
    (40, 256, 2, 10),
    (200, 256, 3, 10),
    (8, 512, 3, 10),
]
CNN = [(40, 32, 2, 1), (40, 32, 2, 10), (16, 64, 3, 10)]  # the same, of 8 x 8 images


def fully_connected(params: list[jax.Array], x: jax.Array) -> jax.Array:
    for w in params[:-1]:
        x = jnp.tanh(x @ w / w.shape[0] ** 0.5)
    return x @ params[-1]


def convolutional(params: list[jax.Array], x: jax.Array) -> jax.Array:
    for w in params[:-1]:
        numbers = ("NHWC", "HWIO", "NHWC")
        h = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers)
        x = jnp.tanh(h / (9 * w.shape[2]) ** 0.5)
    return x.mean((1, 2)) @ params[-1]


def problem(kind: str, n: int, width: int, depth: int, k: int) -> tuple[Any, list, jax.Array]:
    sizes = [64 if kind == "fc" else 1, *[width] * depth, k]
    window = () if kind == "fc" else (3, 3)
    pairs = list(itertools.pairwise(sizes))
    shapes = [(*window, *pair) for pair in pairs[:-1]] + [pairs[-1]]
    keys = jax.random.split(jax.random.key(0), len(shapes) + 1)
    params = [jax.random.normal(key, s) for key, s in zip(keys[1:], shapes, strict=True)]
    x = jax.random.normal(keys[0], (n, 64) if kind == "fc" else (n, 8, 8, 1))
    return fully_connected if kind == "fc" else convolutional, params, x


def timed(f: Any, params: list, x: jax.Array, repeats: int) -> dict[str, float]:
    works = {
        name: jit(partial(lambda way, p, x: way(f, p, x, None, False), way))
        for name, way in generic.WAYS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work(params, x).block_until_ready()
            times[name].append(time.perf_counter() - began)
    return {name: median(found[1:]) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    worst = 0.0
    for kind, rows in (("fc", FC), ("cnn", CNN)):
        for n, width, depth, k in rows:
            f, params, x = problem(kind, n, width, depth, k)
            model, flat = api._network(f, params)
            paths = tuple((name,) for name in flat)
            counted = generic.counts(model, x.shape[1:], x.dtype, paths)
            costs, chosen = generic.costs(counted, n, n, False), empirical.way(model, x, n)
            found = timed(f, params, x, args.repeats)
            other = next(name for name in found if name != chosen)
            worst = max(worst, ratio := found[chosen] / found[other])
            told = " ".join(
                f"{name} {1e3 * t:8.1f} ms ({costs[name] / 1e9:6.1f})" for name, t in found.items()
            )
            print(f"{kind} N={n} {depth} x {width} k={k}: {told} {chosen}: {ratio:.2f}", flush=True)
    sys.exit(worst > 1.1)


if __name__ == "__main__":
    main()
