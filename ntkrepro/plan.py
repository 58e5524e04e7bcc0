"""What a run will cost, before it runs: parameters, FLOPs, memory, time.

FLOPs are XLA's count of every piece's program, memory is XLA's of the compiled piece and what is
alive beside it: both from shapes. Seconds are measured here and now: each piece at its own size, or
on fewer examples where that would take long or more memory than is free, and a run of next to
nothing, which pays for imports, compilation and reading the data.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import psutil

from ntkrepro import config, footprint, packs, records, state, train
from ntkrepro.config import Experiment, Program, Space
from ntkrepro.experiment import numerics
from ntkrepro.experiment import run as compute
from ntkrepro.footprint import gib, is_host
from ntkrepro.pieces import HostPiece, Piece, task_shapes
from ntkrepro.programs import PROGRAMS
from ntkrepro.setup import FUNCTION_SPACE, Setup, fits, shapes
from ntkrepro.side_by_side import spaces

ENOUGH = 0.2  # seconds that a measurement takes at least
LONG = 2.0  # seconds of a call that is measured on fewer examples
SMALL = 16  # width and examples of the run of next to nothing
LOGGED = 48  # steps of another, all of them logged
NO_SHAPES = config.LABELS | packs.OWN | {"data.seed"}  # change nothing that is compiled


class Cost(NamedTuple):
    """A piece's calls, FLOPs and seconds of one call, and bytes alive during it."""

    name: str
    calls: float
    flops: float | None  # none: not XLA's
    seconds: float
    device: int
    host: int


class Start(NamedTuple):
    """Seconds of a run of next to nothing, alone and after another of the same shapes, and of one
    more logged step; bytes that the process keeps of it: compiled code, libraries."""

    first: float
    again: float
    logged: float
    kept: int


class Plan(NamedTuple):
    """`step`: FLOPs of one step of each model; `logged`: steps."""

    parameters: int
    step: dict[str, float]
    start: Start
    logged: int
    costs: list[Cost]

    @property
    def flops(self) -> float:
        return sum(cost.calls * (cost.flops or 0) for cost in self.costs)

    @property
    def working(self) -> float:
        """Seconds without start-up."""
        pieces = sum(cost.calls * cost.seconds for cost in self.costs)
        return pieces + self.logged * self.start.logged

    @property
    def seconds(self) -> float:
        return self.start.first + self.working

    @property
    def peak(self) -> Cost:
        """The piece with the most memory alive."""
        return max(self.costs, key=lambda cost: cost.device + is_host() * cost.host)

    @property
    def bytes(self) -> int:
        """On the device; of a CPU, which computes in the host's memory, both."""
        return self.peak.device + is_host() * (self.peak.host + self.start.kept)


def plan(experiment: Experiment) -> Plan:
    """The plan of one run. Raises UserError like the run itself."""
    jax.config.update("jax_enable_compilation_cache", False)  # a new run has nothing there
    before = resident()
    with numerics(experiment):
        setup, spec = shapes(experiment), PROGRAMS[experiment.program]
        start = start_up(setup, before)  # first, so that it pays for all that is paid once
        return Plan(
            sum(leaf.size for leaf in jax.tree.leaves(setup.params0)),
            step_flops(setup),
            start,
            len(setup.steps) if spec.models(setup) else 0,
            [cost(setup, piece) for piece in spec.calls(setup)],
        )


def step_flops(setup: Setup) -> dict[str, float]:
    """FLOPs of one step of each model that is trained."""
    out = {}
    for name in PROGRAMS[setup.experiment.program].models(setup):
        program, task = task_shapes(setup, (name,))
        states = jax.eval_shape(partial(train.start, program, names=(name,)), task)
        one = jax.jit(partial(train.step, program))
        out[name] = flops_of(one.lower(task, states, 0))
    return out


def flops_of(lowered: Any) -> float:
    """XLA's count; it sees no LAPACK."""
    return float(lowered.cost_analysis()["flops"])


def lower(piece: Piece) -> Any:
    return jax.jit(piece.function, donate_argnums=piece.donated).lower(*piece.args)


def cost(setup: Setup, piece: Piece | HostPiece) -> Cost:
    if isinstance(piece, HostPiece):
        piece.function()  # what it compiles
        seconds = piece.share * seconds_of(lambda count: [piece.function() for _ in range(count)])
        return Cost(piece.name, piece.calls, None, seconds, 0, piece.host)
    lowered = lower(piece)
    compiled, flops = lowered.compile(), flops_of(lowered)
    used = compiled.memory_analysis()
    own = used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    if flops / rate() < LONG and piece.held + own < free() / 2:
        seconds = measure(piece, compiled)
    else:
        seconds = on_fewer(setup, piece, flops)
    return Cost(piece.name, piece.calls, flops, seconds, piece.held + own, piece.host)


def on_fewer(setup: Setup, piece: Piece, flops: float) -> float:
    """Seconds of a call, from the same piece on so few examples that it takes LONG at most.

    Where one example is too much already: from the rate of a matrix product.
    """
    share = 0.5
    while share > 1e-6:
        few = shapes(fewer(setup, share))
        calls = PROGRAMS[few.experiment.program].calls(few)
        small = next(call for call in calls if call.name == piece.name)
        assert isinstance(small, Piece)
        lowered = lower(small)
        its = flops_of(lowered)
        if its / rate() < LONG and small.held < free() / 2:
            return measure(small, lowered.compile()) * flops / its
        share /= 2
    return flops / rate()


def fewer(setup: Setup, share: float) -> Experiment:
    """The config with that share of its examples, and the same sides."""
    experiment = setup.experiment
    data, log, opt = experiment.data, experiment.log, experiment.optimizer
    cut = lambda count: count and max(1, round(share * count))  # noqa: E731
    linearized = experiment.linearized
    if experiment.program is Program.train:
        linearized = replace(linearized, space=side(setup))
    return replace(
        experiment,
        linearized=linearized,
        data=replace(data, train=cut(data.train), test=cut(data.test), points=cut(data.points)),
        optimizer=replace(opt, batch=cut(opt.batch)),
        log=replace(log, outputs=cut(log.outputs), train=cut(log.train), batch=cut(log.batch)),
    )


def side(setup: Setup) -> Space:
    """linearized.space as it was decided."""
    sides = {(True, True): Space.both, (True, False): Space.function, (False, True): Space.weights}
    return sides.get(spaces(setup), Space.none)


def measure(piece: Piece, compiled: Any) -> float:
    """Seconds of one call, or of one step of a loop, on random numbers."""
    given = [jax.tree.map(random, arg) for arg in piece.args]

    def calls(count: int) -> Any:
        if piece.loop:
            given[-1] = jnp.int32(count)
        for _ in range(1 if piece.loop else count):
            result = compiled(*given)
            for at in piece.donated:
                given[at] = result
        return result

    jax.block_until_ready(calls(1))
    return seconds_of(calls)


def seconds_of(calls: Callable[[int], Any]) -> float:
    """Of one among as many calls as take ENOUGH: the median of three times, which other work on
    the machine moves least. Where that takes LONG, once."""

    def spent(count: int) -> float:
        return seconds_once(lambda: jax.block_until_ready(calls(count)))

    count = 1
    while (seconds := spent(count)) < ENOUGH:
        count = max(count + 1, min(10 * count, round(1.5 * count * ENOUGH / max(seconds, 1e-9))))
    again = [] if seconds > LONG else [spent(count), spent(count)]
    return median([seconds, *again]) / count


def random(leaf: Any) -> jax.Array:
    """An array for a shape: small numbers, which a learning rate leaves small."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), leaf.shape) if leaf.shape else jax.random.key(0)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros(leaf.shape, leaf.dtype)
    size = 1e-6 if leaf.shape == () else 1.0
    return size * jax.random.normal(jax.random.key(0), leaf.shape, leaf.dtype)


@cache
def rate() -> float:
    """FLOPs per second of a matrix product."""
    square = jnp.ones((1024, 1024), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(square, square))
    return 2 * 1024**3 / seconds_of(lambda count: [product(square, square) for _ in range(count)])


def free() -> int:
    stats = jax.devices()[0].memory_stats()
    if stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return psutil.virtual_memory().available


def start_up(setup: Setup, before: int) -> Start:
    """From runs of the same kind with next to nothing in them.

    `before`: bytes resident before anything ran. They have as many layers and outputs, and a
    kernel where the run has one.
    """
    experiment = setup.experiment
    data, log, opt = experiment.data, experiment.log, experiment.optimizer
    k = setup.dataset.y_train.shape[1]
    few = SMALL if fits(setup) else min(data.train, FUNCTION_SPACE // k + 1)
    width = experiment.model.width
    width = width if setup.model.own else min(width, SMALL)
    small = fewer(setup, 1.0)
    small = replace(
        small,
        name="plan",
        samples=min(experiment.samples, 2),
        data=replace(data, train=min(data.train, few), test=min(data.test, SMALL)),
        model=replace(experiment.model, width=width),
        optimizer=replace(
            opt, lr=1e-6, steps=min(opt.steps, 2), batch=opt.batch and min(opt.batch, SMALL // 2)
        ),
        log=replace(log, points=2, steps=[], train=log.train and min(log.train, SMALL)),
        results="",
        sweep=[],
    )
    key = config.run_id(small)
    if key not in started:
        many = replace(small.optimizer, steps=LOGGED)
        each = replace(small.log, steps=list(range(LOGGED)))
        with tempfile.TemporaryDirectory() as folder:
            small = replace(small, results=folder)
            first = seconds_once(partial(compute, small))
            kept = resident() - before
            again, logging = (
                seconds_once(partial(compute, point))
                for point in (small, replace(small, optimizer=many, log=each))
            )
        more = LOGGED - small.optimizer.steps
        started[key] = Start(first, again, max(0, logging - again) / more, max(0, kept))
    return started[key]


started: dict[str, Start] = {}


def resident() -> int:
    return psutil.Process().memory_info().rss


def seconds_once(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Group(NamedTuple):
    """Points of a sweep that share shapes: compiled once."""

    label: str
    points: list[Experiment]
    plan: Plan

    @property
    def seconds(self) -> float:
        again = (len(self.points) - 1) * (self.plan.start.again + self.plan.working)
        return self.plan.seconds + again


def groups(points: list[Experiment]) -> list[Group]:
    """Each with the plan of its first point. Raises UserError."""
    alike: dict[str, list[Experiment]] = {}
    for point in points:
        alike.setdefault(shape_key(point), []).append(point)
    names = state.labels([some[0] for some in alike.values()], NO_SHAPES)
    return [Group(names[id(some[0])], some, plan(some[0])) for some in alike.values()]


def shape_key(experiment: Experiment) -> str:
    return repr([(k, v) for k, v in config.flat(experiment).items() if k not in NO_SHAPES])


def report(points: list[Experiment]) -> str:
    """The plan of one run in full, or of a sweep a line for each shape and their sum."""
    found = groups(points)
    title = f"{points[0].name}, scale={points[0].scale.name}"
    lines = [f"{title}: {len(points)} run{'s' * (len(points) > 1)}, {ready(points)} of them there"]
    lines += table(found[0].plan) if len(found) == 1 else [summary(group) for group in found]
    flops = sum(len(group.points) * group.plan.flops for group in found)
    seconds = sum(group.seconds for group in found)
    most = max(found, key=lambda group: group.plan.bytes)
    bound = "at most " if any(map(may_take_less, found)) else "about "
    lines += [
        f"in all {si(flops)}FLOP, {bound}{duration(seconds)} on this {device()}",
        fit(most),
    ]
    return "\n".join(lines)


def may_take_less(group: Group) -> bool:
    """Whether runs may end early, or share a program that trains several at once."""
    point = group.points[0]
    early = point.optimizer.stop or point.optimizer.plateau
    return bool(early) or min(packs.size(point), len(group.points)) > 1


def ready(points: list[Experiment]) -> int:
    return sum(records.path_of(point).is_file() for point in points)


def table(plan: Plan) -> list[str]:
    step = ", ".join(f"{si(flops)}FLOP {name}" for name, flops in plan.step.items())
    lines = [f"{si(plan.parameters)}parameters; a step: {step or 'none'}"]
    lines.append(f"{'':26}{'calls':>10}{'FLOP each':>12}{'s each':>11}{'s':>9}{'memory':>11}")
    for cost in plan.costs:
        flops = "-" if cost.flops is None else si(cost.flops)
        memory = cost.device + is_host() * cost.host
        lines.append(
            f"{cost.name:26}{cost.calls:>10.6g}{flops:>12}{cost.seconds:>11.3g}"
            f"{cost.calls * cost.seconds:>9.2f}{gib(memory):>11}"
        )
    for name, calls, seconds in (
        ("other work at logged steps", plan.logged, plan.start.logged),
        ("start-up, compilation", 1, plan.start.first),
    ):
        lines.append(f"{name:26}{calls:>10}{'-':>12}{seconds:>11.3g}{calls * seconds:>9.2f}")
    return lines


def summary(group: Group) -> str:
    plan = group.plan
    return (
        f"  {group.label:40} x {len(group.points):<4} {si(plan.parameters):>7}parameters "
        f"{si(plan.flops):>7}FLOP {gib(plan.bytes):>9} {duration(group.seconds):>9}"
    )


def fit(group: Group) -> str:
    """Whether the largest run fits, and the key to lower where it doesn't."""
    plan, there, unused = group.plan, footprint.device_memory(), free()
    needed = f"{gib(plan.bytes)} at the peak ({plan.peak.name})"
    if plan.bytes < unused:
        return f"fits: {needed}, {gib(unused)} of {gib(there)} are free"
    with numerics(group.points[0]):
        setup = shapes(group.points[0])
        most = footprint.largest(PROGRAMS[setup.experiment.program].needs(setup))
    value = config.flat(group.points[0])[most.key]
    return (
        f"does not fit: {needed}, {gib(unused)} of {gib(there)} are free; "
        f"lower {most.key} (now {value}), which decides the memory of {most.what}"
    )


def device() -> str:
    chip = jax.devices()[0]
    return chip.device_kind if chip.platform != "cpu" else f"CPU, {psutil.cpu_count()} cores"


def si(number: float) -> str:
    """1.5e9 -> '1.5 G'."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if number < 1000 or prefix == "P":
            break
        number /= 1000
    return f"{number:.3g} {prefix}"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
