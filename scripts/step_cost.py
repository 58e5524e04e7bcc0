"""What one training step of a convolutional experiment costs, alone and side by side.

    python scripts/step_cost.py [cnn_cifar wrn_cifar] [--scale paper] [--compile] [--time]

Prints parameters, FLOPs of a step of the network and of both models (XLA's count of the program)
and their ratio: from shapes alone, so that nothing is allocated. --compile adds XLA's peak memory
of the compiled step, --time its seconds (median of 5) on random images.
"""

import argparse
import time
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from ntkrepro import config, models, train
from ntkrepro.linear import factors_of
from ntkrepro.weight_space import FEW_OUTPUTS


def shapes(name: str, scale: str) -> tuple[train.Program, train.Task]:
    """The program of an experiment on CIFAR-10, and the shapes of what it is given."""
    chosen = config.compose([f"experiment={name}", f"scale={scale}"])
    k = 10 if chosen.data.targets.name == "onehot" else 1
    batch = chosen.optimizer.batch or chosen.data.train
    model = models.build(chosen.model, 3072, k)
    x: Any = jax.ShapeDtypeStruct((batch, 32, 32, 3), jnp.float32)
    y: Any = jax.ShapeDtypeStruct((batch, k), jnp.float32)
    params = jax.eval_shape(partial(models.init, model), jax.random.key(0), x)
    few = models.is_structured(model) and k <= FEW_OUTPUTS
    program = train.Program(model, momentum=chosen.optimizer.momentum, few=few)
    lr: Any = jax.ShapeDtypeStruct((), jnp.float32)
    task = train.Task(params, x, y, lr)
    if chosen.optimizer.batch is None:
        task = task._replace(factors=jax.eval_shape(partial(factors_of, model), params, x))
    return program, task


def random(task: train.Task) -> train.Task:
    """Numbers in place of shapes."""
    draw = lambda leaf: jax.random.normal(jax.random.key(0), leaf.shape, leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, task)._replace(lr=jnp.float32(1e-6))


def report(program: train.Program, task: train.Task, names: tuple[str, ...], args: Any) -> float:
    """One line on a step of the named models; its FLOPs, or seconds where they are asked for."""
    states = jax.eval_shape(partial(train.start, program, names=names), task)
    one = jax.jit(partial(train.step, program))
    lowered = one.lower(task, states, jax.ShapeDtypeStruct((), jnp.int32))
    analysis: Any = lowered.cost_analysis()
    line, measure = f"{analysis['flops'] / 1e9:10.1f} GFLOP", analysis["flops"]
    if args.compile:
        used: Any = lowered.compile().memory_analysis()
        peak = used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes
        line += f" {peak / 2**30:8.2f} GiB"
    if args.time:
        given, seconds = random(task), []
        now = train.start(program, given, names)
        for _ in range(6):
            began = time.perf_counter()
            now = jax.block_until_ready(one(given, now, 0))
            seconds.append(time.perf_counter() - began)
        measure = median(seconds[1:])
        line += f" {1e3 * measure:8.1f} ms"
    print(f"  {' + '.join(names):22} {line}", flush=True)
    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiments", nargs="*", default=["cnn_cifar", "wrn_cifar"])
    parser.add_argument("--scale", default="paper")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    for name in args.experiments:
        program, task = shapes(name, args.scale)
        count = sum(leaf.size for leaf in jax.tree.leaves(task.params0))
        print(f"{name}, {args.scale}: {count / 1e6:.2f} million parameters; one step:")
        alone = report(program, task, ("network",), args)
        both = report(program, task, ("network", "linearized"), args)
        print(f"  side by side {both / alone:.2f} x the network's step")


if __name__ == "__main__":
    main()
