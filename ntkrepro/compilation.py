"""Compilation for a CPU, where it takes longer than many of our programs run."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax

OPTIONS = {  # each with its values, the best first; of which the first that XLA knows is taken
    # of 3: products and convolutions are libraries' code, which leaves little to optimize
    "xla_backend_optimization_level": ("1",),
    # YNNPACK has products alone, in place of Eigen: ms of steps and kernels, on 2 cores,
    #                           none   products   all (XLA's default)
    #   FC 5 x 2048, N=256       150         80         79
    #   its tangent kernel, 64    91         18         18
    #   CNN 3 x 128, N=64        414        412        760: convolutions' gradients take one core
    # Its sums have crashed and been wrong in three versions (jax-ml/jax #39257, #40412).
    "xla_cpu_experimental_ynn_fusion_type": ("LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", ""),
}


@cache
def options() -> dict[str, str | bool] | None:
    """Compiler options on a CPU: those of OPTIONS that this version of XLA has."""
    if jax.default_backend() != "cpu":
        return None
    known = {name: [v for v in values if is_known(name, v)] for name, values in OPTIONS.items()}
    return {name: values[0] for name, values in known.items() if values}


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
