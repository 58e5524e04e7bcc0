"""Leaps: many steps of gradient descent at once on the linearization at a point, exactly.

At theta with velocity v, where f(theta + omega) = f + J omega and Theta = J J^T, the updates
v <- beta v + J^T g, theta <- theta - lr v (Eq. 20, 21; g is the loss's gradient in f) give after K
steps

    theta - J^T c - s v,    beta^K v + J^T w,    s = lr (beta + ... + beta^K),

where the coefficients (c, w) follow a recursion in function space, driven by f and by J v:

    w <- beta w + g(f - s J v - Theta c),    c <- c + lr w.

On mse it is linear, and K steps of every eigenmode are one power of a 5 x 5 matrix; on other losses
it is run. Nothing is approximated: one leap is Eq. 9, with gradient descent's own discrete steps.
"""

from typing import NamedTuple

import numpy as np

from ntkrepro.theory import dynamics
from ntkrepro.theory.losses import Loss


class Rule(NamedTuple):
    """How the outputs are descended: the loss times `scale`, learning rate, momentum."""

    loss: Loss
    scale: float
    lr: float
    momentum: float = 0.0

    def gradient(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.scale * self.loss.gradient(f, y)


class Leap(NamedTuple):
    """What K steps do: c, w [n, k], s, and beta^K of this module's equations."""

    c: np.ndarray
    w: np.ndarray
    slide: float
    decay: float


class Start(NamedTuple):
    """What a linearization starts from: its kernel [n k, n k], which a single step doesn't read;
    outputs f, targets y, and J v [n, k], 0 from rest."""

    kernel: np.ndarray
    f: np.ndarray
    y: np.ndarray
    jv: np.ndarray


Pairs = list[tuple[np.ndarray, np.ndarray]]  # (c, w), each [n k]


def leaps(
    rule: Rule, start: Start, steps: list[int], spectrum: dynamics.Spectrum | None = None
) -> list[Leap]:
    """The leaps of `steps` steps, ascending and above 0, in float64. `spectrum`, of the kernel,
    where it is there already."""
    start = start._replace(f=np.asarray(start.f, np.float64), jv=np.asarray(start.jv, np.float64))
    if rule.loss.quadratic and steps[-1] > 1:
        pairs = modes(rule, spectrum or dynamics.spectrum(start.kernel), start, steps)
    else:
        pairs = recursion(rule, start, steps)
    return [
        Leap(c.reshape(start.f.shape), w.reshape(start.f.shape), *slide(rule, k))
        for (c, w), k in zip(pairs, steps, strict=True)
    ]


def slide(rule: Rule, steps: float) -> tuple[float, float]:
    """s and beta^K."""
    beta = rule.momentum
    return rule.lr * beta * (1 - beta**steps) / (1 - beta), beta**steps


def recursion(
    rule: Rule,
    start: Start,
    steps: list[int],
    begin: tuple[np.ndarray, np.ndarray] | None = None,
) -> Pairs:
    """(c, w) by this module's recursion itself, for any loss; from rest it may `begin` anywhere."""
    f, size = start.f, start.f.size
    (c, w), out = begin or (np.zeros(size), np.zeros(size)), []
    for step in range(steps[-1]):
        moved = (start.kernel @ c).reshape(f.shape) if c.any() else 0.0
        g = rule.gradient(f - slide(rule, step)[0] * start.jv - moved, start.y)
        w = rule.momentum * w + g.ravel()
        c = c + rule.lr * w
        if step + 1 in steps:
            out.append((c, w))
    return out


def modes(rule: Rule, spectrum: dynamics.Spectrum, start: Start, steps: list[int]) -> Pairs:
    """(c, w) by eigenmodes of the kernel, on mse."""
    values, vectors = spectrum
    r, q = (vectors.T @ part.ravel() for part in (start.f - start.y, start.jv))
    rate = rule.scale * rule.loss.rate(*start.f.shape)
    if not rule.momentum:
        phi = dynamics.phi_t(values, np.array(steps), rule.lr * rate, False, 0.0)
        return [(vectors @ (p * r), np.zeros(r.size)) for p in phi]
    matrix = recurrence(rule, rate * values, rate * r, rate * rule.lr * q)
    state, now, out = np.zeros((len(values), 5, 1)), 0, []
    state[:, 3:] = 1
    for k in steps:
        state, now = np.linalg.matrix_power(matrix, k - now) @ state, k
        out.append((vectors @ state[:, 0, 0], vectors @ state[:, 1, 0]))
    return out


def recurrence(rule: Rule, a: np.ndarray, r: np.ndarray, q: np.ndarray) -> np.ndarray:
    """One step of each mode's state (c, w, s / lr, beta^k, 1), [p, 5, 5]."""
    beta, lr, one, zero = rule.momentum, rule.lr, np.ones_like(a), np.zeros_like(a)
    w = np.array([-a, beta * one, -q, zero, r])
    c = lr * w + np.array([one, zero, zero, zero, zero])
    rest = [
        [zero, zero, one, beta * one, zero],
        [zero, zero, zero, beta * one, zero],
        [zero, zero, zero, zero, one],
    ]
    return np.moveaxis(np.array([c, w, *rest]), -1, 0)


class Fixed:
    """One linearization's outputs at any step, from rest, at other points than its own.

    kernel [n k, n k] and its spectrum; kernel of the other points with these [m k, n k]; outputs f
    and targets y [n, k], and the other points' outputs [m, k].
    """

    def __init__(
        self,
        rule: Rule,
        kernel: np.ndarray,
        other: np.ndarray,
        spectrum: dynamics.Spectrum,
        values: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        self.rule, self.kernel, self.other, self.spectrum = rule, kernel, other, spectrum
        self.f, self.y, self.f_other = (np.asarray(v, np.float64) for v in values)
        self.pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, step: int) -> np.ndarray:
        """Outputs at the other points [m, k]."""
        follow = self.closed if self.rule.loss.quadratic else self.followed
        return self.f_other - (self.other @ follow(step)).reshape(self.f_other.shape)

    def closed(self, step: int) -> np.ndarray:
        rule, r = self.rule, (self.f - self.y).reshape(-1, 1)
        rate = rule.lr * rule.scale * rule.loss.rate(*self.f.shape)
        c = dynamics.coefficients(self.spectrum, r, [step], rate, momentum=rule.momentum)
        return c.ravel()

    def followed(self, step: int) -> np.ndarray:
        """From the last step before it that was asked for."""
        last = max((k for k in self.pairs if k <= step), default=0)
        if step > last:
            start, past = Start(self.kernel, self.f, self.y, 0 * self.f), self.pairs.get(last)
            (self.pairs[step],) = recursion(self.rule, start, [step - last], past)
        return self.pairs[step][0] if step else np.zeros(self.f.size)
