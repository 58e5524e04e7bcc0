"""Does this network train like its linearization? Experiments of Lee et al. 2019, and yours.

Shapes in docstrings: `n` train points, `m` test points, `k` outputs, `d` inputs, `p` parameters,
`t` logged steps. Equations (Eq. 6, Eq. S33, ...) are those of Lee et al. 2019. `lr` is the paper's
learning rate eta; steps are gradient steps, `time` is lr * step. Losses are means (losses.py).

`__all__` is what the library promises (docs/api.md); all else is private. It is imported when it is
first used, and JAX with it.
"""

TYPE_CHECKING = False  # typing's own takes time
if TYPE_CHECKING:
    from ntkrepro.api import (
        Comparison,
        Kernels,
        Prediction,
        Reached,
        analytic,
        compare,
        grid,
        leap,
        linearize,
        nngp,
        ntk,
        predict,
        read_records,
    )
    from ntkrepro.errors import RunFailed, UserError

__all__ = [
    "Comparison",
    "Kernels",
    "Prediction",
    "Reached",
    "RunFailed",
    "UserError",
    "analytic",
    "compare",
    "grid",
    "leap",
    "linearize",
    "nngp",
    "ntk",
    "predict",
    "read_records",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = {"RunFailed": "errors", "UserError": "errors"}.get(name, "api")
    return getattr(import_module(f"ntkrepro.{home}"), name)


def __dir__() -> list[str]:
    return __all__
