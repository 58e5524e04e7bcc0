"""Steps and kernels of random sizes, again and again, against float64: whether XLA's CPU libraries
crash, hang, or are wrong (jax-ml/jax #39257, #40412).

    python scripts/stress_products.py [--seconds 600] [--seed 0]

Every case draws sizes and computes CALLS times in float32 as a run does, and once in float64
without YNNPACK: the calls must be the same bit by bit, and the last within ROUNDING of them. Prints
each case before it is computed, so that the last line names one that crashed. One that takes more
than HANGS seconds ends the process with a traceback, as a crash does. Exit 1 where one was wrong.
"""

import argparse
import faulthandler
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.compilation import options
from ntkrepro.networks import architectures, functions
from ntkrepro.networks.architectures import Network
from ntkrepro.theory.kernels import analytic, empirical
from ntkrepro.training import loop
from ntkrepro.training.recipe import Recipe, Task

STEPS = 3
CALLS = 10
HANGS = 300.0  # seconds of one case, compilation included
ROUNDING = 1e-4  # of the largest number of an array
YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
SMOOTH = ("tanh", "erf", "gelu")  # a ReLU's kink makes of rounding more than rounding

Case = tuple[str, Callable[[Any], Any], Any, Callable[[Any], Any]]  # name, run, given, reference


def sizes(rng: np.random.Generator, *most: int) -> list[int]:
    """One from 1 to each of `most`, half of them below a quarter of it."""
    return [1 + int(m * rng.uniform() ** 2) for m in most]


def fc(rng: np.random.Generator, scale: int = 1) -> tuple[Network, tuple[int, ...]]:
    """A network, and the shape of its inputs."""
    depth, width, k, points, d = sizes(rng, 5, 768 // scale, 10 // scale, 256 // scale, 1024)
    network = architectures.FC(depth, width, k, str(rng.choice(SMOOTH)), "ntk", 2.0, 0.1)
    return network, (points, d)


def cnn(rng: np.random.Generator, scale: int = 1) -> tuple[Network, tuple[int, ...]]:
    depth, width, k, points, side, colours = sizes(rng, 3, 96 // scale, 3, 32 // scale, 24, 3)
    network = architectures.CNN(depth, width, k, str(rng.choice(SMOOTH)), "ntk", 2.0, 0.1)
    return network, (points, side, side, colours)


def wrn(rng: np.random.Generator) -> tuple[Network, tuple[int, ...]]:
    width, k, points, side = sizes(rng, 96, 10, 8, 24)
    network = architectures.WRN(1, width, k, "tanh", "ntk", 1.0, 0.0, norm="batch")
    return network, (points + 3, side + 7, side + 7, 3)


def steps(network: Network, x: jax.Array, params: Any, rng: np.random.Generator) -> Case:
    """omega and the optimizer's memory after a few steps."""
    y = jnp.asarray(rng.standard_normal((len(x), network.outputs)), x.dtype)
    recipe = Recipe(network, momentum=0.9)
    one = without_ynnpack(partial(loop.step, recipe))

    def run(task: Task) -> Any:
        return loop.advance(recipe, task, loop.start(recipe, task, ("network",)), 0, STEPS)

    def reference(task: Task) -> Any:
        states = loop.start(recipe, task, ("network",))
        for i in range(STEPS):
            states = one(task, states, i)
        return states

    return "steps", run, Task(params, x, y, jnp.asarray(1e-3)), reference


def kernel(network: Network, x: jax.Array, params: Any, rng: np.random.Generator) -> Case:
    """Eq. 5 as it is computed, and as it is written."""

    def run(given: Any) -> Any:
        return empirical.ntk(network, *given)

    def written(given: Any) -> Any:
        params, x = given
        slopes = jax.jacrev(lambda p: functions.apply(network, p, x))(params)
        flat = [slope.reshape(len(x), network.outputs, -1) for slope in jax.tree.leaves(slopes)]
        return sum(jnp.tensordot(j, j, [[2], [2]]) for j in flat)

    return "kernel", run, (params, x), without_ynnpack(written)


def limit(network: Network, x: jax.Array, params: Any, rng: np.random.Generator) -> Case:
    """The analytic kernel, whose float64 is its own: what is compiled without our options."""

    def run(x: jax.Array) -> Any:
        return analytic.fc(
            x, depth=network.depth, activation=network.activation, w_var=2.0, b_var=0.1
        )

    return "limit", run, x, run


def without_ynnpack(function: Callable[..., Any]) -> Callable[..., Any]:
    known = options() or {}
    return jax.jit(function, compiler_options={**known, **dict.fromkeys({YNNPACK} & {*known}, "")})


CASES: tuple[tuple[Callable[..., Any], Callable[..., Case]], ...] = (
    (fc, steps),
    (cnn, steps),
    (wrn, steps),
    (partial(fc, scale=3), kernel),
    (partial(cnn, scale=3), kernel),
    (fc, limit),
)


def draw(seed: int, number: int) -> Case:
    rng = np.random.default_rng((seed, number))
    shape_of, case_of = CASES[number % len(CASES)]
    network, shape = shape_of(rng)
    x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    shapes = functions.shapes(network, x.shape[1:], x.dtype)["params"]  # drawing compiles a lot
    normal = lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), x.dtype)  # noqa: E731
    params = jax.tree.map(normal, shapes)
    what, *case = case_of(network, x, params, rng)
    kind = f"{type(network).__name__} {what}"
    facts = f"depth {network.depth}, width {network.width}, {network.outputs} outputs"
    return f"{kind}: {facts}, {network.activation}, x {shape}", *case


def wrong(run: Callable, given: Any, reference: Callable) -> str:
    """What is wrong, in words; '' = nothing."""
    calls = [[np.array(leaf) for leaf in jax.tree.leaves(run(given))] for _ in range(CALLS)]
    if len({b"".join(leaf.tobytes() for leaf in leaves) for leaves in calls}) > 1:
        return "differs from call to call"
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), given)
        right = [np.array(leaf) for leaf in jax.tree.leaves(reference(exact))]
    worst = max(error(a, b) for a, b in zip(calls[0], right, strict=True))
    return "" if worst <= ROUNDING else f"is off by {worst:.1e} of the largest number"


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    faulthandler.enable()
    end, number, found = time.monotonic() + args.seconds, 0, Counter[str]()
    while time.monotonic() < end:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        name, *case = draw(args.seed, number)
        print(f"{number:5} {name}", flush=True)
        fault = wrong(*case)
        found[f"{name.partition(':')[0]} {'wrong' if fault else 'right'}"] += 1
        if fault:
            print(f"      WRONG: {fault}", flush=True)
        faulthandler.cancel_dump_traceback_later()
        jax.clear_caches()  # thousands of programs in one process end in a crash of their own
        number += 1
    print(*(f"{count:5} {what}" for what, count in sorted(found.items())), sep="\n")
    sys.exit(any(what.endswith("wrong") for what in found))


if __name__ == "__main__":
    main()
