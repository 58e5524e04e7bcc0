import jax
import jax.numpy as jnp

from ntkrepro import models


def test_the_networks_are_at_their_old_address_too():
    model, x = models.FC(2, 4, 1, "relu", "ntk", 2.0, 0.1), jnp.ones((3, 5))
    params = models.init(model, jax.random.key(0), x)
    assert models.apply(model, params, x).shape == (3, 1)
