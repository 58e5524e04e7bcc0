"""Linearization: the first-order Taylor expansion around the initial parameters (Eq. 6).

Training moves the displacement omega = theta - theta_0, not theta: in float32 a late update is lost
in theta ~ 1, while in omega it is kept. `displaced` and `displaced_dense` are functions of omega.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkrepro.kernels.empirical import capture
from ntkrepro.models import Module

Apply = Callable[[Any, jax.Array], jax.Array]


def linearize(apply: Apply, params0: Any) -> Apply:
    """f_lin(params, x) = f(params0, x) + grad f(params0, x) (params - params0) (Eq. 6)."""
    tangent = displaced(apply, params0)

    def apply_lin(params: Any, x: jax.Array) -> jax.Array:
        return tangent(jax.tree.map(jnp.subtract, params, params0), x)

    return apply_lin


def displaced(apply: Apply, params0: Any) -> Apply:
    """f_lin as a function of the displacement: (omega, x) -> [n, k]."""

    def apply_lin(omega: Any, x: jax.Array) -> jax.Array:
        f0, df = jax.jvp(lambda p: apply(p, x), (params0,), (omega,))
        return f0 + df

    return apply_lin


def displaced_dense(model: Module, params0: Any) -> Apply:
    """The same function for networks of Dense layers with few outputs, at fewer operations.

    A Dense layer's part of Eq. 6 is sum_j delta_aj (s_w x omega + s_b beta)_j, where x and
    delta_a = d f_a / d h do not depend on omega. Differentiated in omega, a step costs forward +
    backward at params0 and two products a layer: 4/3 of the network's own three, where `displaced`
    costs 5/3; and 2/3 where a loop sees the same x again: the first half is constant.
    """

    def apply_lin(omega: Any, x: jax.Array) -> jax.Array:
        f0, layers = capture(model, params0, x)
        df = jnp.zeros_like(f0)
        for path, layer in layers.items():
            moved = _at(omega, path)
            dh = layer.scale[0] * (layer.x @ moved["w"])
            if "b" in moved:
                dh = dh + layer.scale[1] * moved["b"]
            df = df + jnp.einsum("nkj,nj->nk", layer.delta, dh)
        return f0 + df

    return apply_lin


def _at(params: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        params = params[name]
    return params
