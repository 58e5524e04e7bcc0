"""Tangent kernels of parameters of which nothing is known but f: by Jacobians, or by products.

Jacobians are formed example by example and contracted: 2 k^2 multiplications and additions a
parameter for each pair of examples. Products never form one: each of the n k rows of J(x1) is
pushed through all of x2 by one jvp, which costs about twice the network itself and no k more: less
where a pass takes fewer than k operations a parameter, as of fully connected networks with several
outputs; more where weights are used at many positions.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from ntkrepro.networks import functions

PIECE = 2**19  # numbers
MOVED = 100  # operations in the time that a number takes to memory and back

Outputs = Callable[[Any, jax.Array], jax.Array]  # f(params, x [n, ...]) -> [n, k]


class Counts(NamedTuple):
    """Of one example: operations of a pass, numbers that it makes; parameters, outputs. And the
    ways that are there: a CPU is slow at convolutions' gradients within a loop."""

    flops: float
    made: int
    parameters: int
    outputs: int
    ways: tuple[str, ...]


def by_jacobians(
    f: Outputs, params: Any, x1: jax.Array, x2: jax.Array | None, trace: bool
) -> jax.Array:
    """[n, k, m, k], or the trace over outputs / k [n, m]; x1 [n, ...], x2 [m, ...] (none: x1)."""
    jacobian = jax.vmap(jax.jacrev(lambda p, x: f(p, x[None])[0]), (None, 0))
    first = jax.tree.leaves(jacobian(params, x1))
    second = first if x2 is None else jax.tree.leaves(jacobian(params, x2))
    return sum(contract(a, b, trace) for a, b in zip(first, second, strict=True))  # type: ignore


def contract(a: jax.Array, b: jax.Array, trace: bool) -> jax.Array:
    """Jacobians [n, k, ...], [m, k, ...] -> [n, k, m, k], or the trace over outputs / k [n, m]."""
    n, k, m = len(a), a.shape[1], len(b)
    if trace:
        return rows_product(a.reshape(n, -1), b.reshape(m, -1)) / k
    return rows_product(a.reshape(n * k, -1), b.reshape(m * k, -1)).reshape(n, k, m, k)


def rows_product(a: jax.Array, b: jax.Array) -> jax.Array:
    """a b^T of long rows [n, p], [m, p]. On a CPU in pieces that its caches hold: in one, XLA takes
    up to nine times as long."""
    p = a.shape[1]
    size = max(PIECE // max(len(a), len(b)), 64)
    if jax.default_backend() != "cpu" or p <= size:
        return a @ b.T

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        first, second = (
            jax.lax.dynamic_slice(rows, (0, i * size), (len(rows), size)) for rows in (a, b)
        )
        return total + first @ second.T

    start = a[:, p - p % size :] @ b[:, p - p % size :].T
    return jax.lax.fori_loop(0, p // size, add, start)


def by_products(
    f: Outputs, params: Any, x1: jax.Array, x2: jax.Array | None, trace: bool
) -> jax.Array:
    """The same, an example of x1 at a time."""
    columns = x1 if x2 is None else x2

    def row(x: jax.Array) -> jax.Array:
        out, pull = jax.vjp(lambda p: f(p, x[None])[0], params)
        (gradients,) = jax.vmap(pull)(jnp.eye(len(out), dtype=out.dtype))
        push = jax.vmap(lambda t: jax.jvp(lambda p: f(p, columns), (params,), (t,))[1])
        kernel = push(gradients)  # [k, m, k]
        return jnp.einsum("kmk->m", kernel) / len(out) if trace else kernel

    return jax.lax.map(row, x1)


WAYS: dict[str, Callable[..., jax.Array]] = {"Jacobians": by_jacobians, "products": by_products}


def costs(counted: Counts, n: int, m: int, trace: bool) -> dict[str, float]:
    """Operations of each way, and what moving Jacobians is worth; a pass back costs two passes,
    and so does a tangent's."""
    flops, _, p, k, _ = counted
    pair = 2 * (k if trace else k**2) * p
    return {
        "Jacobians": (n + m) * ((1 + 2 * k) * flops + MOVED * k * p) + n * m * pair,
        "products": n * (1 + 2 * k) * flops + n * m * 2 * k * flops,
    }


def way(counted: Counts, n: int, m: int, trace: bool) -> str:
    """The cheaper one, by name."""
    found = costs(counted, n, m, trace)
    return min(counted.ways, key=lambda name: found[name])


def bytes_of(counted: Counts, chosen: str, item: int) -> int:
    """What an example of x1 and x2 takes beside the kernel."""
    held = {"Jacobians": counted.parameters, "products": counted.made}
    return 2 * item * counted.outputs * held[chosen]


@lru_cache
def counts(
    model: Any, inputs: tuple[int, ...], dtype: Any, paths: tuple[tuple[str, ...], ...]
) -> Counts:
    """Of the parameters at these paths. Cached, as tracing takes a while."""
    x = jax.ShapeDtypeStruct((1, *inputs), dtype)
    params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]

    def f(params: Any, x: Any) -> Any:
        return model.apply({"params": params}, x)

    jaxpr, out = jax.make_jaxpr(f, return_shape=True)(params, x)
    flops = (jax.jit(f).lower(params, x).cost_analysis() or {}).get("flops", 0.0)
    leaves = functions.flatten(params)
    ways = ("Jacobians",) if getattr(model, "convolutional", False) else tuple(WAYS)
    size = sum(leaves[path].size for path in paths)
    return Counts(flops, sum(made(jaxpr.jaxpr)), size, out.shape[1], ways)


def made(jaxpr: Any) -> Iterator[int]:
    """How many numbers each operation gives."""
    for equation in jaxpr.eqns:
        inner = list(jaxprs_in_params(equation.params))
        for one in inner:
            yield from made(one)
        if not inner:
            yield sum(v.aval.size for v in equation.outvars)
