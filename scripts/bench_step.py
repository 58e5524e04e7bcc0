"""Speed of training steps against this machine's own matrix product, in one run.

    python scripts/bench_step.py [--depth 5] [--width 2048] [--inputs 512] [--points 256] ...
    python scripts/bench_step.py --depth 2 --inputs 784 --points 64 --outputs 10 --momentum 0.9 \
        --loss xent                                         # a minibatch of Figure 6

Prints, as medians of interleaved repeats: the rate of a 4096^3 product; the network's step as a
fraction of that rate; and the linearized network's step in weight space, on minibatches and on the
full batch, over the network's. A step of the network costs three products a layer less the first
layer's input gradient; that count is the floor.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import jax
import jax.numpy as jnp

from ntkrepro.networks import architectures, functions
from ntkrepro.programs.weight_space import FEW_OUTPUTS
from ntkrepro.theory.losses import LOSSES
from ntkrepro.training import loop
from ntkrepro.training.recipe import Recipe, Task


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - began


def products(params: dict, points: int) -> float:
    """FLOPs of one gradient step."""
    weights = [layer["w"].size for layer in params.values()]
    return 2.0 * points * (3 * sum(weights) - params["layer1"]["w"].size)


def stepper(recipe: Recipe, task: Task, name: str, steps: int) -> Callable[[], float]:
    """A function that runs `steps` steps of one model and returns the seconds of one."""
    state = {"now": loop.advance(recipe, task, loop.start(recipe, task, (name,)), 0, 1)}

    def run() -> float:
        def work() -> object:
            state["now"] = loop.advance(recipe, task, state["now"], 0, steps)
            return state["now"]

        return seconds(work) / steps

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--outputs", type=int, default=1)
    parser.add_argument("--loss", choices=list(LOSSES), default="mse")
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--inputs", type=int, default=512)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")

    key = jax.random.key(0)
    model = architectures.FC(args.depth, args.width, args.outputs, "relu", "ntk", 2.0, 0.1)
    x = jax.random.normal(key, (args.points, args.inputs))
    params0 = functions.init(model, key, x)
    schedule = jnp.tile(jnp.arange(args.points), (args.steps, 1))
    y = jax.nn.one_hot(jnp.argmax(x[:, : args.outputs], -1), args.outputs)
    full = Task(params0, x, y, jnp.asarray(0.01))
    batches = full._replace(schedule=schedule)
    jvp = Recipe(model, args.loss, momentum=args.momentum)
    few = jvp._replace(few=args.outputs <= FEW_OUTPUTS)
    square = jnp.ones((4096, 4096))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(square, square))

    clocks = {
        "matmul": lambda: seconds(lambda: product(square, square)),
        "network": stepper(few, full, "network", args.steps),
        "linearized, minibatch": stepper(few, batches, "linearized", args.steps),
        "linearized, full batch": stepper(few, full, "linearized", args.steps),
        "linearized by jvp, minibatch": stepper(jvp, batches, "linearized", args.steps),
    }
    times: dict[str, list[float]] = {name: [] for name in clocks}
    for _ in range(args.repeats):
        for name, clock in clocks.items():
            times[name].append(clock())
    middle = {name: median(values) for name, values in times.items()}
    rate = 2 * 4096**3 / middle["matmul"]
    print(f"{'matmul 4096^3':30} {rate / 1e9:8.1f} GFLOP/s")
    reached = products(params0, args.points) / middle["network"] / rate
    print(f"{'network step':30} {1e3 * middle['network']:8.1f} ms  {reached:.0%} of that rate")
    for name in list(clocks)[2:]:
        ratio = middle[name] / middle["network"]
        print(f"{name:30} {1e3 * middle[name]:8.1f} ms  {ratio:.2f} x the network's step")


if __name__ == "__main__":
    main()
