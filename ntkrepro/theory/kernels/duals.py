"""T and Ṫ of Eq. S1: closed forms for ReLU and erf, a Hermite series for any smooth activation.

A dual maps the covariances `cov` of a layer's inputs, with `Points` (what it needs of either point
on its own, worked out once per point) to T, Ṫ and the angles of the layer's outputs, which only
ReLU keeps. All broadcast: [n, 1] with [1, m] in a kernel, [p] with [p] in `expectations`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

CHUNK = 8  # orders of a series in one loop body
DEPTHS = 16  # one compiled program serves all depths up to a multiple of this
MAX_ORDERS = 2**13
TOLERANCE = {"float32": 1e-7, "float64": 1e-12}  # what a series leaves out, relative

Activation = str | Callable[[jax.Array], jax.Array]


class Points(NamedTuple):
    """Of each point: constants of its dual, weights' and bias' share of the output, series."""

    constants: Any  # [r, n]
    shares: Any  # [2, n], squares add up to 1
    series: Any = None  # [c, CHUNK, n]

    def at(self, part: slice) -> "Points":
        return jax.tree.map(lambda x: x[..., part], self)


def relu(gap, left: Points, right: Points, span):
    """T and Ṫ of ReLU (Eq. S14-S16) from its inputs' angle, and the angle of the next layer's.

    An angle is its `gap`: 1 - cos θ up to a right angle, then -(1 + cos θ), never cancelled.
    """
    size, obtuse = jnp.abs(gap), gap < 0
    acute = 2 * jnp.sqrt(size / 2) * _arcsin_ratio(size / 2)
    theta = jnp.where(obtuse, np.pi - acute, acute)
    sine = jnp.sqrt(size * (2 - size))
    cosine = jnp.where(obtuse, size - 1, 1 - size)
    lost = jnp.where(obtuse, 2 - size, size) - (sine - theta * cosine) / np.pi  # 1 - J1 / π
    lost = jnp.maximum(lost, 0)
    t = left.constants[0] * right.constants[0] * (1 - lost)
    return t, (np.pi - theta) / (2 * np.pi), add_bias(lost, left.shares, right.shares)


def add_bias(near, shares1, shares2):
    """1 - cosine of (c u, b) and (c' u', b') from that of u and u'; c² + b² = 1."""
    (c1, b1), (c2, b2) = shares1, shares2
    return ((c1 - c2) ** 2 + (b1 - b2) ** 2) / 2 + c1 * c2 * near


def signed(near, far):
    """The gap of 1 - cos θ and 1 + cos θ."""
    return jnp.where(near <= far, near, -jnp.maximum(far, jnp.finfo(far.dtype).tiny))


def erf(cov, left: Points, right: Points, span):
    """T and Ṫ of erf (Eq. S17, S18)."""
    (scale1, rest1), (scale2, rest2) = left.constants, right.constants
    scale = scale1 * scale2
    sine = scale * cov
    least = rest1 + rest2 - rest1 * rest2  # of 1 - sine², as cov² <= q1 q2
    cosine = jnp.sqrt(jnp.maximum((1 - sine) * (1 + sine), least))
    return 2 / np.pi * _arcsin(sine), 2 / np.pi * scale / cosine


def identity(cov, left: Points, right: Points, span):
    """T and Ṫ of a linear network."""
    return cov, jnp.ones_like(cov)


def smooth(cov, left: Points, right: Points, span):
    """T = Σ a_k(q1) a_k(q2) ρ^k (Mehler) and Ṫ = dT/dcov, the even and odd orders apart."""
    scale = left.constants[0] * right.constants[0]
    rho = jnp.clip(cov * scale, -1, 1)
    square = rho * rho
    even, d_even = _horner(left.series, right.series, span[0], span[1], square)
    odd, d_odd = _horner(left.series, right.series, span[1], span[2], square)
    return even + rho * odd, scale * (odd + 2 * rho * d_even + 2 * square * d_odd)


def dual(activation: Activation) -> Callable:
    """The function above that `activation` needs."""
    if callable(activation):
        return smooth
    if activation not in DUALS:
        raise ValueError(f"{activation=}: one of {', '.join(DUALS)}, or a smooth function")
    return DUALS[activation]


def expectations(activation: Activation, q1, q2, cov) -> tuple[np.ndarray, np.ndarray]:
    """T and Ṫ of Eq. S1 for Σ = [[q1, cov], [cov, q2]], all [p], q1 and q2 > 0, in float64."""
    function = dual(activation)
    q1, q2, cov = (np.asarray(x, np.float64) for x in (q1, q2, cov))
    with jax.enable_x64(True):
        q = np.concatenate([q1, q2])
        points, spans, _ = trajectory(activation, q, 1, 1.0, 0.0, np.float64)
        points = points._replace(constants=points.constants[0], shares=points.shares[0])
        cosine = jnp.asarray(cov / np.sqrt(q1 * q2))
        state = signed(1 - cosine, 1 + cosine) if function is relu else cov
        left, right = points.at(slice(len(q1))), points.at(slice(len(q1), None))
        t, t_dot, *_ = jax.jit(function)(state, left, right, spans[0])
        return np.asarray(t), np.asarray(t_dot)


def _horner(series1, series2, start, stop, x):
    """Σ a_k b_k x^k and its slope, over the chunks [start, stop), highest order first."""

    def step(carry, chunk):
        value, slope = carry
        for a, b in zip(*chunk, strict=True):
            slope = slope * x + value
            value = value * x + a * b
        return value, slope

    zero = jnp.zeros_like(x)
    return loop(start, stop, lambda c: (series1[c], series2[c]), step, (zero, zero))


def loop(start, stop, fetch: Callable, step: Callable, carry):
    """A fori_loop of carry = step(carry, fetch(i)) that fetches one iteration ahead.

    XLA fuses a slice of the loop's own index into the sweep over the elements, which then is five
    times slower on a CPU; what is carried from the iteration before is a plain buffer.
    """

    def body(i, state):
        carry, fetched = state
        return step(carry, fetched), fetch(i + 1)

    return jax.lax.fori_loop(start, stop, body, (carry, fetch(start)))[0]


def _arcsin(x):
    """By one polynomial, so that XLA vectorizes it on a CPU (its own is ten times slower)."""
    size = jnp.abs(x)
    high = size * size > 0.5
    square = jnp.where(high, (1 - size) / 2, size * size)
    value = jnp.where(high, jnp.sqrt(square), size) * _arcsin_ratio(square)
    return jnp.sign(x) * jnp.where(high, np.pi / 2 - 2 * value, value)


def _arcsin_ratio(square):
    """arcsin(x) / x from x² in [0, 1/2]."""
    x = 4 * square - 1
    *rest, value = _arcsin_polynomial(9 if x.dtype == jnp.float32 else 18)
    for coefficient in reversed(rest):
        value = value * x + coefficient
    return value


@lru_cache
def _arcsin_polynomial(degree: int) -> list[float]:
    def ratio(square):
        x = np.sqrt(np.maximum(square, 1e-30))
        return np.arcsin(x) / x

    fit = Chebyshev.interpolate(ratio, degree, domain=[0, 0.5])
    return fit.convert(kind=Polynomial, domain=[0, 0.5], window=[-1, 1]).coef.tolist()


def trajectory(activation: Activation, q, depth: int, w_var: float, b_var: float, dtype):
    """`Points` of every layer, leading axis depth, from the variances q [n] of the first (Eq. S3).

    Also where in `series` each layer's even and odd orders lie, [depth, 3]: start, middle, stop;
    and q of the readout. The depth is rounded up, so that few shapes are compiled.
    """
    layers, chunks = [], []
    for _ in range(depth):
        moment, constants, parities = _at_points(activation, q, TOLERANCE[np.dtype(dtype).name])
        shares, q = split(moment, w_var, b_var)
        layers.append((constants, shares))
        chunks += [_chunks(parity) for parity in parities]
    bounds = np.cumsum([0, *map(len, chunks)])
    spans = np.stack([bounds[:-1:2], bounds[1::2], bounds[2::2]], axis=1)
    stacks = *(np.stack(rows) for rows in zip(*layers, strict=True)), spans
    constants, shares, spans = (_pad(stack, depth + -depth % DEPTHS) for stack in stacks)
    series = _pad(np.concatenate(chunks), 2 ** int(np.ceil(np.log2(max(bounds[-1], 1)))))
    return Points(*(x.astype(dtype) for x in (constants, shares, series))), spans, q


def split(moment, w_var: float, b_var: float):
    """Unit vector of weights' and bias' share [2, n] of the variance w_var T + b_var, and that."""
    parts = np.sqrt(np.stack([w_var * moment, np.full_like(moment, b_var)]))
    q = w_var * moment + b_var
    return parts * inverse(np.sqrt(q)), q


def inverse(x):
    """1 / x, and 0 at 0: a zero vector's kernel is 0, never NaN."""
    return np.divide(1, x, out=np.zeros_like(x), where=x > 0)


def _at_points(activation: Activation, q, tolerance: float):
    """T(q, q), the dual's constants [r, n], and Hermite coefficients of even and odd order."""
    if activation in CLOSED:
        return *CLOSED[activation](q), np.zeros((2, 0, len(q)))
    phi = activation if callable(activation) else SMOOTH[activation]
    coefficients = hermite(phi, q, tolerance)
    t = sum((a**2).sum(axis=0) for a in coefficients)
    return t, inverse(np.sqrt(q))[None], coefficients


def hermite(phi: Callable, q, tolerance: float) -> list[np.ndarray]:
    """Coefficients of φ(√q z) in orthonormal Hermite polynomials, even and odd orders [k, n].

    As many as leave out at most `tolerance` of Σ (k + 1) a_k², that is of Ṫ(q, q) and T(q, q).

    Raises:
        ValueError: φ is not smooth at the scale √q, its series is too long.
    """
    some = np.argsort(q)[np.linspace(0, len(q) - 1, 17).astype(int)]
    orders = 2**8
    while orders <= MAX_ORDERS:
        a = np.asarray(_coefficients(phi, np.sqrt(q), *_hermite_table(orders)))
        counts = _needed(a[some], tolerance)
        if 4 * max(counts) <= orders:
            return [a[:, i : 2 * count : 2].T for i, count in enumerate(counts)]
        orders *= 2
    raise ValueError(
        f"the Hermite series of this activation needs more than {MAX_ORDERS // 2} orders at "
        f"variance {q.max():.3g}: scale the inputs or w_var down, or use a smooth activation"
    )


def _needed(a, tolerance: float) -> list[int]:
    """How many even and odd orders of the coefficients [n, k] not to leave out."""
    power = np.arange(1, a.shape[1] + 1) * a**2
    least = tolerance * power.sum(axis=1, keepdims=True)
    tails = [np.cumsum(part[:, ::-1], axis=1) for part in (power[:, ::2], power[:, 1::2])]
    return [int((tail > least).any(axis=0).sum()) for tail in tails]


@partial(jax.jit, static_argnums=0)
def _coefficients(phi: Callable, scale, z, table):
    """E[φ(scale z) h_k(z)] [n, k]."""
    x = scale[:, None] * z
    return jax.vmap(phi)(x.ravel()).reshape(x.shape) @ table.T


@lru_cache(maxsize=2)
def _hermite_table(orders: int):
    """Nodes z [g], and Hermite polynomials times Gaussian weights there [orders, g].

    The trapezoidal rule: for what is smooth it is as accurate as Gauss-Hermite's, whose outer nodes
    weigh nothing. Its step resolves h_k, which oscillates as √k, against an equally fine φ.
    """
    size = int(13 * (4 * np.sqrt(orders) + 16) / (2 * np.pi))
    z = np.linspace(-13, 13, 2 * size + 1)
    table = np.zeros((orders, len(z)))
    table[0] = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (13 / size)
    table[1] = z * table[0]
    for k in range(1, orders - 1):
        table[k + 1] = (z * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
    return z, table


def _chunks(a):
    """Coefficients [k, n] from the highest order down, in chunks [c, CHUNK, n]."""
    padded = np.concatenate([np.zeros((-len(a) % CHUNK, a.shape[1])), a[::-1]])
    return padded.reshape(-1, CHUNK, a.shape[1])


def _pad(x, length: int):
    return np.concatenate([x, np.zeros((length - len(x), *x.shape[1:]), x.dtype)])


def _erf_at_points(q):
    t = 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))
    return t, np.stack([np.sqrt(2 / (1 + 2 * q)), 1 / (1 + 2 * q)])


CLOSED: dict[Activation, Callable] = {  # T(q, q) and the constants of what needs no series
    "relu": lambda q: (q / 2, np.sqrt(q / 2)[None]),
    "erf": _erf_at_points,
    "identity": lambda q: (q, np.zeros((0, len(q)))),
}
DUALS: dict[str, Callable] = {
    "relu": relu,
    "erf": erf,
    "identity": identity,
    "tanh": smooth,
    "gelu": smooth,
}
SMOOTH: dict[str, Callable] = {"tanh": jnp.tanh, "gelu": partial(jax.nn.gelu, approximate=False)}
