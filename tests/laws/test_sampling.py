"""Outputs and kernels of networks without weights have the distribution of those that have some."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.networks import architectures
from ntkrepro.theory.kernels import empirical, random_networks
from tests.laws.common import EXACT, error

NETWORKS = 2000
OPTIONS = {"w_var": 2.0, "b_var": 0.1}


def inputs():
    x = np.random.default_rng(0).standard_normal((3, 10))
    x[2] = x[0]  # a repeated input: the Gram matrix is singular
    return jnp.asarray(x)


def drawn(x, depth, width):
    model = architectures.FC(depth, width, 1, "relu", "ntk", *OPTIONS.values())

    @jax.jit
    def kernels(key):
        params = model.init(key, x)["params"]
        ntk = empirical._block(model, params, x, None, True, False)
        return together(
            model.apply({"params": params}, x)[:, 0], empirical.nngp(model, params, x), ntk
        )

    return jax.lax.map(kernels, jax.random.split(jax.random.key(1), NETWORKS), batch_size=100)


def together(f, nngp, ntk):
    """Both kernels, f f^T, and what ties f to the kernels."""
    pairs = jnp.outer(f, f)
    return nngp, ntk, pairs, pairs * nngp, pairs * ntk


def sampled(x, depth, width):
    draw = partial(
        random_networks.draw, x=x, depth=depth, width=width, activation=jax.nn.relu, **OPTIONS
    )
    one = jax.jit(lambda key: together(*draw(key)))
    keys = jax.random.split(jax.random.key(2), NETWORKS)
    return tuple(np.stack(part) for part in zip(*(one(key) for key in keys), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3])
def test_mean_and_spread_are_those_of_drawn_networks(depth):
    """Every entry's mean and standard deviation agree within 5 standard errors.

    With 5 x 2 x 9 entries a false alarm has a chance below 1e-4, correlations aside. The entries
    are heavy-tailed, so the standard errors come from the samples themselves.
    """
    x = inputs()
    for real, fake in zip(drawn(x, depth, 6), sampled(x, depth, 6), strict=True):
        for moment in (lambda k: k, lambda k: (k - k.mean(0)) ** 2):
            a, b = moment(np.asarray(real)), moment(np.asarray(fake))
            spread = np.sqrt((a.var(0) + b.var(0)) / NETWORKS)
            assert (np.abs(a.mean(0) - b.mean(0)) < 5 * spread).all()


def test_outputs_and_kernels_are_of_one_network():
    """With a single unit h and no biases f^2 / K and (Theta - K) / gram w_var phi'^2 are both v^2,
    the readout's square."""
    x, w_var = inputs(), 2.0
    gram = np.diag(w_var / x.shape[1] * x @ x.T)
    for seed in range(8):
        f, nngp, ntk = random_networks.draw(
            jax.random.key(seed),
            x,
            depth=1,
            width=1,
            activation=lambda h: h,
            w_var=w_var,
            b_var=0.0,
        )
        v = np.asarray(f**2 / jnp.diag(nngp))
        assert np.ptp(v) < EXACT
        assert error((jnp.diag(ntk) - jnp.diag(nngp)) / gram / w_var, v) < EXACT


def test_factors_are_a_rank_revealing_decomposition():
    a = jnp.asarray(np.random.default_rng(0).standard_normal((4, 9)))
    a = a.at[3].set(a[0])
    root, q = random_networks.factors(a)
    assert error(root @ q.T, a) < EXACT
    gram = np.asarray(q.T @ q)
    assert error(gram @ gram, gram) < EXACT
    assert np.trace(gram) == pytest.approx(3)


def test_backward_pass_agrees_with_the_forward_pass_on_what_it_saw():
    """a (delta W^T)^T = (a W) delta^T: on seen directions the weights are the drawn ones."""
    rng = np.random.default_rng(0)
    a, delta, g = (jnp.asarray(rng.standard_normal(s)) for s in ((4, 9), (4, 7), (4, 7)))
    root, q = random_networks.factors(a)
    back = random_networks.transposed(jax.random.key(0), delta, q, g)
    assert error(a @ back.T, (root @ g) @ delta.T) < EXACT
    other = random_networks.transposed(jax.random.key(1), delta, q, g)
    assert np.abs(back - other).max() > 0.1
