"""What an empirical tangent kernel costs: time against one gradient, memory against the network.

    python scripts/bench_ntk_cost.py [--points 512] [--repeats 7]

FC 5 x 2048, k = 1, 3072 inputs, float32. Prints the median of interleaved repeats of the kernel on
all points over one value-and-gradient of the loss on the same points, and XLA's peak memory of the
kernel's program (arguments, temporaries and result) over parameters + activations.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import jax
import jax.numpy as jnp

from ntkrepro.networks import architectures, functions
from ntkrepro.theory import losses
from ntkrepro.theory.kernels import empirical


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")

    model = architectures.FC(5, 2048, 1, "relu", "ntk", 2.0, 0.1)
    x = jax.random.normal(jax.random.key(0), (args.points, 3072))
    params = functions.init(model, jax.random.key(1), x)
    y = jnp.sign(x[:, :1])
    gradient = jax.jit(
        jax.value_and_grad(
            lambda p, x, y: losses.LOSSES["mse"].value(functions.apply(model, p, x), y)
        )
    )
    kernel = jax.jit(partial(empirical.ntk, model))
    works = {"gradient": lambda: gradient(params, x, y), "kernel": lambda: kernel(params, x)}
    for work in works.values():
        seconds(work)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(args.repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    middle = {name: median(values) for name, values in times.items()}
    ratio = middle["kernel"] / middle["gradient"]
    print(f"value and gradient {1e3 * middle['gradient']:8.1f} ms")
    print(f"tangent kernel     {1e3 * middle['kernel']:8.1f} ms  {ratio:.2f} x the gradient")

    used = kernel.lower(params, x).compile().memory_analysis()
    assert used is not None
    peak = used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    activations = x.nbytes + args.points * 5 * 2048 * 4
    network = weights + activations
    print(f"peak memory        {peak / 2**20:8.1f} MiB {peak / network:.2f} x the network's")


if __name__ == "__main__":
    main()
