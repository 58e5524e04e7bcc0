"""Compilation for a CPU, where it takes longer than many of our programs run."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax

OPTIONS = {
    # of 3: products and convolutions are libraries' code, which leaves little to optimize
    "xla_backend_optimization_level": "1",
    # none: YNNPACK takes one core, and for a convolution's weight gradient up to 12 times as long
    "xla_cpu_experimental_ynn_fusion_type": "",
}


@cache
def options() -> dict[str, str | bool] | None:
    """Compiler options on a CPU: those of OPTIONS that this version of XLA has."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in OPTIONS.items() if is_known(name, value)}


def is_known(name: str, value: str) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def jit(
    function: Callable[..., Any], static_argnames: Any = (), donate_argnames: Any = ()
) -> Callable[..., Any]:
    """jax.jit with these options: 0.3 to 0.8 of the time to compile, and to rounding the same
    numbers. Within another transformation it is that one's to compile.

    For all but long elementwise formulas, such as those of analytic kernels.
    """

    @cache
    def compiled() -> Callable[..., Any]:
        return jax.jit(
            function,
            static_argnames=static_argnames,
            donate_argnames=donate_argnames,
            compiler_options=options(),
        )

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        leaves = jax.tree.leaves((args, named))
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return (function if traced else compiled())(*args, **named)

    return call
