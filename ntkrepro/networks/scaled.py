"""A network times a number: the dial of Chizat, Oyallon & Bach (2019), rich to lazy.

alpha f has the tangent kernel alpha^2 Theta. Gradient descent at the rate lr / alpha^2 moves its
linearization's outputs as lr moves those of f, by weights that move alpha times less: the larger
alpha, the nearer to the linearization, where the outputs start at 0.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scaled:
    """alpha f(theta, x) with alpha = `scale`; all else it says as its `network` does."""

    network: Any
    scale: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def apply(self, variables: Any, x: Any, **how: Any) -> Any:
        """Outputs [n, k]; as in Flax, with `mutable` also what was sown."""
        found = self.network.apply(variables, x, **how)
        if how.get("mutable"):
            return self.scale * found[0], found[1]
        return self.scale * found


def factor(model: Any) -> float:
    """alpha, 1 of what isn't Scaled."""
    return model.scale if isinstance(model, Scaled) else 1.0
