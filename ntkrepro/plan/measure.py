"""Seconds, bytes and rates of this machine, here and now."""

import time
from collections.abc import Callable
from functools import cache, partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import psutil

from ntkrepro.programs.calls import Call

ENOUGH = 0.1  # seconds that a measurement takes at least
LONG = 0.5  # seconds of a call that is measured once


def measure(call: Call, compiled: Any) -> float:
    """Seconds of one call, or of one step of a loop, on random numbers."""
    given = [jax.tree.map(random, arg) for arg in call.args]

    def calls(count: int) -> Any:
        if call.loop:
            given[-1] = jnp.int32(count)
        for _ in range(1 if call.loop else count):
            result = compiled(*given)
            for at in call.donated:
                given[at] = result
        return result

    return seconds_of(calls)


def seconds_of(calls: Callable[[int], Any]) -> float:
    """Of one among as many calls as take ENOUGH: the median of three times, which other work on
    the machine moves least. Where one takes LONG, that of the second: the first also pays for
    memory that the process never had."""

    def spent(count: int) -> float:
        return seconds_once(lambda: jax.block_until_ready(calls(count)))

    if spent(1) > LONG:
        return spent(1)
    count = 1
    while (seconds := spent(count)) < ENOUGH:
        count = max(count + 1, min(10 * count, round(1.5 * count * ENOUGH / max(seconds, 1e-9))))
    return median([seconds, spent(count), spent(count)]) / count


def random(leaf: Any) -> jax.Array:
    """An array for a shape: small numbers, which a learning rate leaves small."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), leaf.shape) if leaf.shape else jax.random.key(0)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros(leaf.shape, leaf.dtype)
    size = 1e-6 if leaf.shape == () else 1.0
    return size * jax.random.normal(jax.random.key(0), leaf.shape, leaf.dtype)


@cache
def rate(size: int = 1024, precision: str | None = None) -> float:
    """FLOPs per second of a matrix product, by default of the precision that is set."""
    square = jnp.ones((size, size), jnp.float32)
    product = jax.jit(partial(jnp.matmul, precision=precision))
    jax.block_until_ready(product(square, square))
    return 2 * size**3 / seconds_of(lambda count: [product(square, square) for _ in range(count)])


def free() -> int:
    stats = jax.devices()[0].memory_stats()
    if stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return psutil.virtual_memory().available


def resident() -> int:
    return psutil.Process().memory_info().rss


def seconds_once(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
