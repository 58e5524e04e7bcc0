"""Training by leaps: a network is linearized, moved by many steps at once (theory/leaps.py), and
linearized again there.

A leap of K steps is taken whole, and in two halves with a linearization between them. Their
difference is to first order the error of a fixed linearization: so much of it is extrapolated away
that nothing is left where J changes steadily. That makes leaps of second order, and leaps of one
and two steps the steps themselves.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.theory import dynamics
from ntkrepro.theory.leaps import Leap, Rule, Start, leaps, slide
from ntkrepro.theory.moves import STILL, Move, absorbed, settled
from ntkrepro.theory.tangent import Tangent

FIRST = np.log(2.0)  # pace at the start: one step, then as many as there were
GROW, SHRINK, SAFETY, LONGER = 4.0, 0.2, 0.9, 1.25
SHARE = 0.2  # of what the outputs may be off, that one leap may be
CHEAPER = 4  # steps that cost no more than their leap
GRADIENT = 3  # passes through the network


class Problem(NamedTuple):
    """What is descended: theta `at` an omega; the tangent at theta - move on the train points, and
    their targets y [n, k]; outputs there at the points where errors are measured, and how far these
    may be off at a step where the outputs are such."""

    rule: Rule
    at: Callable[[Any], Any]
    tangent: Callable[[Any, Move], Tangent]
    y: np.ndarray
    probe: Callable[[Any, Move], np.ndarray]
    probes: int
    allowed: Callable[[int, np.ndarray], float]


class State(NamedTuple):
    """omega and velocity (none without momentum); `gauge` [4]: the pace, and what was spent so far:
    estimated error, linearizations, gradients' worth of passes.

    A pace is the length of a leap in log(1 + step).
    """

    omega: Any
    velocity: Any
    gauge: jax.Array


def start(omega: Any, momentum: bool) -> State:
    velocity = jax.tree.map(jnp.copy, omega) if momentum else None
    return State(omega, velocity, gauge(FIRST, np.zeros(3)))


def gauge(pace: float, spent: np.ndarray) -> jax.Array:
    return jnp.asarray([pace, *spent], jnp.float32)


class Ends(NamedTuple):
    """Where a leap ends: what is taken from theta, and the velocity (none without momentum)."""

    move: Move
    velocity: Move

    def at_rest(self, rule: Rule) -> Move:
        """What will have been taken when the velocity has come to rest."""
        return self.move + slide(rule, np.inf)[0] * self.velocity


class Point:
    """The tangent at theta - move, with J v, and its kernel [n k, n k] once it is asked for."""

    def __init__(
        self, problem: Problem, theta: Any, velocity: Move = STILL, move: Move = STILL
    ) -> None:
        self.problem, self.theta, self.velocity = problem, theta, velocity
        self.tangent = problem.tangent(theta, move)
        self.f = np.asarray(self.tangent.f, np.float64)
        self.passes = self.tangent.cost.build
        self.jv = self.push(velocity)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The kernel [n k, n k] in float64."""
        return dynamics.matrix(self.full, 0)

    @cached_property
    def full(self) -> jax.Array:
        """The kernel [n, k, n, k]."""
        self.passes += self.tangent.cost.kernel
        return self.tangent.kernel()

    @cached_property
    def spectrum(self) -> dynamics.Spectrum | None:
        """Of the kernel, where leaps need it."""
        return dynamics.spectrum(self.matrix) if self.problem.rule.loss.quadratic else None

    def leaps(self, steps: list[int]) -> list[Leap]:
        start = Start(self.matrix, self.f, self.problem.y, self.jv)
        return leaps(self.problem.rule, start, steps, self.spectrum)

    def step(self) -> Leap:
        """That of one step, which sees no kernel."""
        start = Start(np.zeros((0, self.f.size)), self.f, self.problem.y, self.jv)
        return leaps(self.problem.rule, start, [1])[0]

    def after(self, leap: Leap) -> Ends:
        """From theta here."""
        if not self.problem.rule.momentum:
            return Ends(self.pull(leap.c), STILL)
        move = self.pull(leap.c) + leap.slide * self.velocity
        return Ends(move, self.pull(leap.w) + leap.decay * self.velocity)

    def push(self, move: Move) -> np.ndarray:
        if not move:
            return 0 * self.f
        self.passes += self.tangent.cost.push if move.trees else 0
        return np.asarray(self.tangent.push(move), np.float64)

    def pull(self, c: np.ndarray) -> Move:
        self.passes += self.tangent.cost.pull
        return self.tangent.pull(c)

    def length(self, c: np.ndarray) -> float:
        """|J^T c|."""
        return float(np.sqrt(max(0.0, c.ravel() @ (self.matrix @ c.ravel()))))

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.f).all() and np.isfinite(self.matrix).all())


class Taken(NamedTuple):
    """After a leap: where it ends; how far its outputs are estimated to be off (rms), and how far
    they may be; linearizations and gradients that it took."""

    ends: Ends
    off: float
    allowed: float
    spent: np.ndarray

    @property
    def work(self) -> np.ndarray:
        """`spent`, and what forming its ends takes."""
        return self.spent + spent(passes=sum(move.passes for move in self.ends))


def step(here: Point) -> Taken:
    return Taken(here.after(here.step()), 0.0, 0.0, spent(here))


def leap(here: Point, now: int, steps: int) -> Taken:
    """From step `now`, of two steps or more."""
    problem, half = here.problem, steps // 2
    if not here.finite:
        return Taken(Ends(STILL, STILL), np.inf, 0.0, spent(here))
    near, far = here.leaps([half, steps])
    whole, early = here.after(far), here.after(near)
    middle = Point(problem, here.theta, early.velocity, early.move)
    if not middle.finite:
        return Taken(Ends(STILL, STILL), np.inf, 0.0, spent(here, middle))
    late = middle.after(middle.leaps([steps - half])[0])
    halves = Ends(early.move + late.move, late.velocity)
    change = extrapolation(problem.rule, half, steps, whole, halves)
    seen = halves.move, halves.move + change.at_rest(problem.rule)
    first, second = (problem.probe(here.theta, move) for move in seen)
    bent = here.length(near.c - half / steps * far.c) / max(here.length(far.c), 1e-300)
    off = rms(second - first) * min(1.0, unsteady(here, middle, near, early.move) + bent)
    looks = sum(problem.probes / len(problem.y) + absorbed(move) for move in seen)
    costs = spent(here, middle, passes=looks)
    ends = Ends(halves.move + change.move, halves.velocity + change.velocity)
    return Taken(ends, off, problem.allowed(now + steps, first), costs)


def extrapolation(rule: Rule, half: int, steps: int, whole: Ends, halves: Ends) -> Ends:
    """What is added to the halves."""
    left, beta = steps - np.arange(steps), rule.momentum
    responses = (1 - beta**left) / (1 - beta), beta ** (left - 1.0)
    weights = [weight(half, steps, response) for response in responses]
    return Ends(*(w * (b - a) for a, b, w in zip(whole, halves, weights, strict=True)))


def unsteady(here: Point, middle: Point, near: Leap, move: Move) -> float:
    """How much of J's change from here to the middle was not steady: 0 for one that grows linearly
    along the way, about a half for one that wanders, as of ReLU networks whose units flip.

    The outputs tell: their change is the integral of J along the way, and by the trapezoidal rule
    (J_here + J_middle) / 2 times the way, where J changes steadily.
    """
    first = -(here.matrix @ near.c.ravel()).reshape(here.f.shape) - near.slide * here.jv
    second = -middle.push(move)
    change = rms(second - first) / 2
    return rms(middle.f - here.f - (first + second) / 2) / change if change else 0.0


def spent(*points: Point, passes: float = 0.0) -> np.ndarray:
    """Linearizations and gradients."""
    return np.array([len(points), (sum(p.passes for p in points) + passes) / GRADIENT])


def weight(half: int, steps: int, response: np.ndarray) -> float:
    """How much of the difference of two halves from a whole is added to the halves.

    While J changes by the same at every step, a fixed one is off by k at step k, one of two by k
    and then by k - half; `response` [steps] to what is off at a step decides how that adds up.
    """
    k = np.arange(steps)
    late = k, np.where(k < half, k, k - half)
    whole, halves = (float((response * off).sum()) for off in late)
    return halves / (whole - halves) if whole > halves else 0.0


def rms(f: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(f, np.float64) ** 2)))


def solve(
    problem: Problem,
    state: State,
    now: int,
    steps: list[int],
    done: Callable[[int, State], None] = lambda step, state: None,
) -> Iterator[tuple[int, State, Point]]:
    """Yields (step, state, point) at `steps`, ascending; done(step, state) after every leap.

    Leaps' errors count as independent: they add up as their squares.
    """
    here = None
    for target in steps:
        while now < target:
            here = here or point(problem, state)
            if not np.isfinite(here.f).all():
                now = target  # and stays so
                break
            size = length(now, target, float(state.gauge[0]))
            taken = leap(here, now, size) if size > 1 else step(here)
            used = float(np.log1p(now + size) - np.log1p(now))
            limit = SHARE * taken.allowed
            good = size == 1 or taken.off <= limit
            pace, past = next_pace(state, taken.off, limit, used), np.asarray(state.gauge[1:])
            if good:
                now, here = now + size, None
                past = np.array([np.hypot(past[0], taken.off), *(past[1:] + taken.work)])
                state = arrived(state, taken.ends, gauge(pace, past))
                done(now, state)
            else:
                here.passes = 0
                past = past + np.array([0.0, taken.spent[0] - 1, taken.spent[1]])
                state = state._replace(gauge=gauge(pace, past))
        here = here or point(problem, state)
        yield now, state, here


def point(problem: Problem, state: State) -> Point:
    velocity = STILL if state.velocity is None else Move(((1.0, state.velocity),))
    return Point(problem, problem.at(state.omega), velocity)


def arrived(state: State, ends: Ends, reached: jax.Array) -> State:
    """Where a leap ends, with the gauge that it `reached`."""
    omega = settled(state.omega, ends.move)
    if state.velocity is None:
        return State(omega, None, reached)
    still = jax.tree.map(jnp.zeros_like, omega)
    return State(omega, settled(still, -1.0 * ends.velocity), reached)


def next_pace(state: State, off: float, limit: float, used: float) -> float:
    """Errors grow with the third power of a leap's length. What cut a leap short shortens none that
    follow."""
    pace = float(state.gauge[0])
    if not np.isfinite(off):
        return used * SHRINK
    if off == 0:
        return LONGER * pace
    factor = float(np.clip(SAFETY * (limit / off) ** (1 / 3), SHRINK, GROW))
    return used * factor if factor < 1 else max(pace, used * factor)


def length(now: int, target: int, pace: float) -> int:
    """Steps of the next leap: no more than the pace allows, and no short rest before the target."""
    left, most = target - now, int((1 + now) * np.expm1(min(pace, 30.0)))
    size = left if left <= most else min(most, -(-left // 2))
    return size if size > CHEAPER else 1


def course(steps: list[int], pace: float) -> Iterator[tuple[int, int]]:
    """Where leaps to `steps` begin at one pace, and their sizes: 1 for a step."""
    now = 0
    for target in steps:
        while now < target:
            size = length(now, target, pace)
            yield now, size
            now += size
