"""Kernel timings of neural-tangents, for bench_kernels.py; runs in that script's own environment.

    python peer_kernels.py ROW REPEATS        prints {"first": s, "warm": [s, ...]} as JSON

Each row uses the fastest of the library's ways on that network: `empirical` structured derivatives,
`cnn` the contraction of Jacobians; `analytic` rows are compiled.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import neural_tangents as nt
from neural_tangents import stax

ACTIVATIONS = {
    "relu": stax.Relu,
    "erf": stax.Erf,
    "tanh": lambda: stax.ElementwiseNumerical(jnp.tanh, 25),
}


def network(depth: int, width: int, outputs: int, activation: str) -> tuple:
    layers = []
    for _ in range(depth):
        layers += [stax.Dense(width, 2.0**0.5, 0.1**0.5), ACTIVATIONS[activation]()]
    return stax.serial(*layers, stax.Dense(outputs, 2.0**0.5, 0.1**0.5))


def convolutional(depth: int, width: int, outputs: int) -> tuple:
    layers = []
    for _ in range(depth):
        layers += [
            stax.Conv(width, (3, 3), padding="SAME", W_std=2.0**0.5, b_std=0.1**0.5),
            stax.ElementwiseNumerical(jnp.tanh, 25),
        ]
    readout = stax.Dense(outputs, 2.0**0.5, 0.1**0.5)
    return stax.serial(*layers, stax.GlobalAvgPool(), readout)


def empirical(kind: str, depth: int, width: int, points: int, outputs: int):
    ways = nt.NtkImplementation
    if kind == "cnn":
        (init, apply, _), way = convolutional(depth, width, outputs), ways.JACOBIAN_CONTRACTION
        x = jax.random.normal(jax.random.key(0), (points, 32, 32, 3))
    else:
        (init, apply, _) = network(depth, width, outputs, "relu")
        way = ways.STRUCTURED_DERIVATIVES
        x = jax.random.normal(jax.random.key(0), (points, 3072))
    _, params = init(jax.random.key(1), x.shape)
    ntk = nt.empirical_ntk_fn(apply, trace_axes=(), vmap_axes=0, implementation=way)
    compiled = jax.jit(lambda params, x: ntk(x, None, params))
    return lambda: compiled(params, x)


def analytic(activation: str, depth: int, points: int):
    kernel = network(depth, 1, 1, activation)[2]
    x = jax.random.normal(jax.random.key(0), (points, 3072))
    compiled = jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))
    return lambda: compiled(x)


def main(row: str, repeats: int) -> None:
    kind, *numbers = row.split(":")
    if kind in ("empirical", "cnn"):
        work = empirical(kind, *map(int, numbers))
    else:
        work = analytic(numbers[0], *map(int, numbers[1:]))
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(work())
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"first": seconds[0], "warm": seconds[1:]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
