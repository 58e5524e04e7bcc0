"""Programs that run a few times only, compiled in less time."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax


@cache
def quick() -> dict[str, str | bool] | None:
    """Compiler options: level 1 of 3, which on a CPU is nearly as fast."""
    return {"xla_backend_optimization_level": "1"} if jax.default_backend() == "cpu" else None


def quick_jit(function: Callable[..., Any], static_argnames: Any) -> Callable[..., Any]:
    """jax.jit at a lower optimization level: 0.3 to 0.8 of the time to compile, and to rounding the
    same numbers. Within another transformation it is that one's to compile."""

    @cache
    def compiled() -> Callable[..., Any]:
        return jax.jit(function, static_argnames=static_argnames, compiler_options=quick())

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        leaves = jax.tree.leaves((args, options))
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return (function if traced else compiled())(*args, **options)

    return call
