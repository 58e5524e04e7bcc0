"""Speed of training steps against this machine's own matrix product, in one run.

    python scripts/bench_step.py [--depth 5] [--width 2048] [--inputs 512] [--points 256] ...
    python scripts/bench_step.py --depth 2 --inputs 784 --points 64 --outputs 10 --momentum 0.9 \
        --loss xent                                         # a minibatch of Figure 6

Prints the rate of a 4096^3 product; the step of a fully connected network and that of theta alone
(without theta_0 + omega) as fractions of that rate; its linearization's in weight space, on
minibatches and on the full batch, over the network's; and steps of convolutional networks. A step
of the network costs three products a layer less the first layer's input gradient; that count is the
floor.

Every sample of a row stands between two products, and is held against their mean; printed are the
medians. So a row and its rate are of the same moment: the machine's own speed wanders by 15 %
within a run, which medians of each alone pair by chance, and bests by picking different moments.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ntkrepro.compilation import jit
from ntkrepro.networks import architectures, functions
from ntkrepro.programs.weight_space import FEW_OUTPUTS
from ntkrepro.theory.losses import LOSSES
from ntkrepro.training import loop
from ntkrepro.training.optimizers import optimizer
from ntkrepro.training.recipe import Recipe, Task

SIZE = 4096  # of the square product
Clock = Callable[[], float]  # runs the work and returns the seconds of one step or call


class Measured(NamedTuple):
    """Medians of a row: its seconds, and how many products of SIZE take as long."""

    seconds: float
    worth: float


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - began


def measure(clocks: dict[str, Clock], repeats: int) -> dict[str, Measured]:
    """Of every row, in turn."""
    square = jnp.ones((SIZE, SIZE))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(square, square))
    times: dict[str, list[Measured]] = {name: [] for name in clocks}
    before = seconds(lambda: product(square, square))
    for name, clock in list(clocks.items()) * repeats:
        took, after = clock(), seconds(lambda: product(square, square))
        times[name].append(Measured(took, 2 * took / (before + after)))
        before = after
    return {name: Measured(*map(median, zip(*row, strict=True))) for name, row in times.items()}


def products(params: dict, points: int) -> float:
    """FLOPs of one gradient step."""
    weights = [layer["w"].size for layer in params.values()]
    return 2.0 * points * (3 * sum(weights) - params["layer1"]["w"].size)


def stepper(recipe: Recipe, task: Task, name: str, steps: int) -> Clock:
    """A clock of one model's step, over `steps` steps."""
    state = {"now": loop.advance(recipe, task, loop.start(recipe, task, (name,)), 0, 1)}

    def run() -> float:
        def work() -> object:
            state["now"] = loop.advance(recipe, task, state["now"], 0, steps)
            return state["now"]

        return seconds(work) / steps

    return run


@partial(jit, static_argnames="recipe", donate_argnames="state")
def descend(recipe: Recipe, task: Task, state: Any, steps: int) -> Any:
    """The network's steps where theta itself is the state: no theta_0 + omega."""
    apply = partial(functions.apply, recipe.model)

    def step(_: jax.Array, state: Any) -> Any:
        theta, memory = state
        slope = jax.grad(loop.objective, argnums=2)(recipe, apply, theta, task.x, task.y)
        change, memory = optimizer(recipe, task.lr).update(slope, memory, theta)
        return optax.apply_updates(theta, change), memory

    return jax.lax.fori_loop(0, steps, step, state)


def theta_alone(recipe: Recipe, task: Task, steps: int) -> Clock:
    theta = jax.tree.map(jnp.copy, task.params0)
    first = (theta, optimizer(recipe, task.lr).init(theta))
    state = {"now": descend(recipe, task, first, 1)}

    def run() -> float:
        def work() -> object:
            state["now"] = descend(recipe, task, state["now"], steps)
            return state["now"]

        return seconds(work) / steps

    return run


def task_of(model: architectures.Network, points: int, shape: tuple[int, ...], lr: float) -> Task:
    """A network's full batch of normal inputs, each with the class of its largest first number."""
    key = jax.random.key(0)
    x = jax.random.normal(key, (points, *shape))
    classes = jnp.argmax(x.reshape(points, -1)[:, : model.outputs], -1)
    y = jax.nn.one_hot(classes, model.outputs)
    return Task(functions.init(model, key, x), x, y, jnp.asarray(lr))


def connected(args: argparse.Namespace) -> tuple[dict[str, Clock], float]:
    """Clocks of a fully connected network's rows, and the FLOPs of its step."""
    model = architectures.FC(args.depth, args.width, args.outputs, "relu", "ntk", 2.0, 0.1)
    full = task_of(model, args.points, (args.inputs,), 0.01)
    batches = full._replace(schedule=jnp.tile(jnp.arange(args.points), (args.steps, 1)))
    jvp = Recipe(model, args.loss, momentum=args.momentum)
    few = jvp._replace(few=args.outputs <= FEW_OUTPUTS)
    clocks = {
        "network": stepper(few, full, "network", args.steps),
        "theta alone": theta_alone(few, full, args.steps),
        "linearized, minibatch": stepper(few, batches, "linearized", args.steps),
        "linearized, full batch": stepper(few, full, "linearized", args.steps),
        "linearized by jvp, minibatch": stepper(jvp, batches, "linearized", args.steps),
    }
    return clocks, products(full.params0, args.points)


def convolutional() -> dict[str, Clock]:
    """Clocks of the networks of Figures 5 and 7, narrower."""
    image = (32, 32, 3)

    def row(model: architectures.Network, points: int, steps: int) -> Clock:
        recipe = Recipe(model, momentum=0.9)
        return stepper(recipe, task_of(model, points, image, 1e-3), "network", steps)

    cnn = {w: architectures.CNN(3, w, 1, "tanh", "ntk", 2.0, 0.1) for w in (32, 128)}
    wrn = {w: architectures.WRN(1, w, 10, "relu", "ntk", 1.0, 0.0, norm="batch") for w in (32, 256)}
    return {
        **{f"CNN 3 x {w}, 64 images": row(model, 64, 2) for w, model in cnn.items()},
        **{f"WRN N=1, {w} channels, batch 8": row(model, 8, 3) for w, model in wrn.items()},
    }


def options() -> argparse.ArgumentParser:
    """The words of this script; their defaults are what bench_watch.py watches."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--outputs", type=int, default=1)
    parser.add_argument("--loss", choices=list(LOSSES), default="mse")
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--inputs", type=int, default=512)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    return parser


def main() -> None:
    args = options().parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    clocks, flops = connected(args)
    rows = measure(clocks | convolutional(), args.repeats)
    network = rows["network"]
    rate = 2 * SIZE**3 * network.worth / network.seconds
    print(f"{f'matmul {SIZE}^3':30} {rate / 1e9:8.1f} GFLOP/s, beside the network's steps")
    for name, (took, worth) in rows.items():
        note = f"{worth / network.worth:.2f} x the network's step" if name in clocks else ""
        if name in ("network", "theta alone"):
            note = f"{flops / (2 * SIZE**3) / worth:.0%} of that rate"
        print(f"{name:30} {1e3 * took:8.1f} ms  {note}".rstrip())


if __name__ == "__main__":
    main()
