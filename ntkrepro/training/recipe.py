"""What a training run is made of: what is compiled, and what that is given."""

from typing import Any, NamedTuple

import jax

from ntkrepro.networks.architectures import Network
from ntkrepro.theory.linearize import Factors


class Recipe(NamedTuple):
    """What is compiled; hashable. `few` = few outputs, so that linearize_structured is the cheaper.

    `trained`, of loop.TRAINED: what else there is stays at theta_0, and omega has no entry for it.
    `image`: the shape (h, w, c) of images that are augmented; none = they are not. `centred`: every
    model minus its outputs at theta_0.
    """

    model: Network
    loss: str = "mse"
    loss_scale: float = 1.0
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    few: bool = False
    trained: str = "all"
    image: tuple[int, ...] | None = None
    centred: bool = False


class Task(NamedTuple):
    """What the compiled recipe is given: theta_0, x [n, d], y [n, k], lr, batches [steps, batch].

    `schedule` none = full batch; `rates`, like theta_0, multiplies gradients (Eq. S33), none = 1;
    `key` draws the augmentation; `factors` are linearize.py's at x, where every batch is full.
    """

    params0: Any
    x: jax.Array
    y: jax.Array
    lr: jax.Array
    schedule: jax.Array | None = None
    rates: Any = None
    key: jax.Array | None = None
    factors: Factors | None = None
