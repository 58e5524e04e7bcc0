"""Which examples every model sees at a step, the same for all: minibatches and augmentation."""

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.training.recipe import Recipe, Task


def batch_at(recipe: Recipe, task: Task, i: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The examples that every model sees at step i."""
    x, y = task.x, task.y
    if task.schedule is not None:
        x, y = x[task.schedule[i]], y[task.schedule[i]]
    if recipe.image is not None:
        assert task.key is not None
        images = augment(jax.random.fold_in(task.key, i), x.reshape(-1, *recipe.image))
        x = images.reshape(x.shape)
    return x, y


def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image flipped or not, and shifted by up to h/8 pixels on zeros; [n, h, w, c]."""
    n, h, w, c = images.shape
    pad = h // 8
    keys = jax.random.split(key)
    flip = jax.random.bernoulli(keys[0], 0.5, (n, 1, 1, 1))
    corner = jax.random.randint(keys[1], (n, 2), 0, 2 * pad + 1)
    flipped = jnp.where(flip, images[:, :, ::-1], images)
    padded = jnp.pad(flipped, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    crop = jax.vmap(lambda a, at: jax.lax.dynamic_slice(a, (at[0], at[1], 0), (h, w, c)))
    return crop(padded, corner)


def batch_schedule(seed: int, n: int, batch: int | None, steps: int) -> np.ndarray | None:
    """Indices [steps, batch] into n examples: epochs without replacement; none for a full batch.

    An epoch's last n mod batch examples sit out.
    """
    if batch is None or batch == n:
        return None
    rng, per_epoch = np.random.default_rng([seed, 1]), n // batch
    epochs = -(-steps // per_epoch) if steps else 0
    rows = [rng.permutation(n)[: per_epoch * batch].reshape(-1, batch) for _ in range(epochs)]
    return np.concatenate([np.empty((0, batch), int), *rows])[:steps].astype(np.int32)
