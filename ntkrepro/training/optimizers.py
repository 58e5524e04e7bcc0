"""Optimizers: optax's transform of a recipe, one for every model.

Weight decay pulls theta, not omega, to 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from ntkrepro.training.recipe import Recipe


def sgd(recipe: Recipe, lr: jax.Array) -> optax.GradientTransformation:
    steps = optax.sgd(lr, recipe.momentum or None)
    if recipe.weight_decay:
        return optax.chain(optax.add_decayed_weights(recipe.weight_decay), steps)
    return steps


def adam(recipe: Recipe, lr: jax.Array) -> optax.GradientTransformation:
    return optax.adamw(lr, weight_decay=recipe.weight_decay)


OPTIMIZERS: dict[str, Callable[[Recipe, Any], optax.GradientTransformation]] = {
    "sgd": sgd,
    "adam": adam,
}


def optimizer(recipe: Recipe, lr: jax.Array) -> optax.GradientTransformation:
    return OPTIMIZERS[recipe.optimizer](recipe, lr)
