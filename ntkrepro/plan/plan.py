"""What a run will cost, before it runs: parameters, FLOPs, memory, time.

FLOPs are XLA's count of every call's program, memory is XLA's of the compiled one and what is
alive beside it: both from shapes. Seconds are measured here and now: each at its own size, or
on fewer examples where that would take long or more memory than is free, and a run of next to
nothing, which pays for libraries, compilation and reading the data.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax

from ntkrepro.compilation import options
from ntkrepro.config.identity import LABELS, Run, flat, run_id
from ntkrepro.config.schema import Experiment, Program, Solver, Space
from ntkrepro.plan.measure import LONG, free, measure, rate, resident, seconds_of, seconds_once
from ntkrepro.programs import memory
from ntkrepro.programs.calls import Call, HostCall, task_shapes
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.leaping_costs import Expected, expected
from ntkrepro.programs.run import compute, numerics
from ntkrepro.programs.setup import Setup, log_steps, shapes
from ntkrepro.programs.side_by_side import spaces
from ntkrepro.programs.weight_space import recipe_of
from ntkrepro.sweep import packs, status
from ntkrepro.training import loop

SMALL = 16  # width and examples of the run of next to nothing
TRAINED = {Solver.steps: 2, Solver.leaps: 16}  # its steps: by leaps enough for the first ones
EXPECTED: dict[Solver, Callable[[Setup], Expected | None]]
EXPECTED = {Solver.steps: lambda setup: None, Solver.leaps: expected}  # leaps of a run
LOGGED = 48  # steps of another, all of them logged
REACHED = 0.25  # of a matrix product's rate, by calls that are measured at their own size
NO_SHAPES = LABELS | packs.OWN | {"data.seed"}  # change nothing that is compiled


class Cost(NamedTuple):
    """What is called, how often, FLOPs and seconds of one call, and bytes alive during it."""

    name: str
    calls: float
    flops: float | None  # none: not XLA's
    seconds: float
    bytes: int


class Start(NamedTuple):
    """Seconds of a run of next to nothing, alone and after another of the same shapes, and of one
    more logged step; bytes that its process has in the end: libraries and compiled code."""

    first: float
    again: float
    logged: float
    kept: int


class Plan(NamedTuple):
    """`step`: FLOPs of one step of each model; `logged`: steps; `leaps`: how many are expected."""

    parameters: int
    step: dict[str, float]
    start: Start
    logged: int
    costs: list[Cost]
    leaps: Expected | None = None

    @property
    def flops(self) -> float:
        return sum(cost.calls * (cost.flops or 0) for cost in self.costs)

    @property
    def working(self) -> float:
        """Seconds without start-up."""
        calls = sum(cost.calls * cost.seconds for cost in self.costs)
        return calls + self.logged * self.start.logged

    @property
    def seconds(self) -> float:
        return self.start.first + self.working

    @property
    def peak(self) -> Cost:
        """What has the most memory alive."""
        return max(self.costs, key=lambda cost: cost.bytes)

    @property
    def bytes(self) -> int:
        """On the device; of a CPU, which computes in the host's memory, of the process."""
        return self.peak.bytes + memory.of_host(self.start.kept)


def plan(run: Run) -> Plan:
    """The plan of one run. Raises UserError like the run itself, but for one too large to run."""
    jax.config.update("jax_enable_compilation_cache", False)  # a new run has nothing there
    experiment = run.experiment
    with numerics(experiment):
        setup, spec = shapes(run), PROGRAMS[experiment.program]
        spec.models(setup)  # refuses what can't be meant
        memory.refuse_too_large(experiment, [memory.data(setup)])
        start = start_up(setup)  # first, so that it pays for all that is paid once
        return Plan(
            sum(leaf.size for leaf in jax.tree.leaves(setup.params0)),
            step_flops(setup),
            start,
            len(setup.steps) if spec.logs else 0,
            [cost(setup, call) for call in spec.calls(setup)],
            EXPECTED[experiment.optimizer.solver](setup),
        )


def step_flops(setup: Setup) -> dict[str, float]:
    """FLOPs of one step of each model that is trained."""
    out = {}
    for name in PROGRAMS[setup.experiment.program].models(setup):
        recipe, task = recipe_of(setup), task_shapes(setup, (name,))
        states = jax.eval_shape(partial(loop.start, recipe, names=(name,)), task)
        one = jax.jit(partial(loop.step, recipe))
        out[name] = flops_of(one.lower(task, states, 0))
    return out


def flops_of(lowered: Any) -> float:
    """XLA's count; it sees no LAPACK."""
    return float(lowered.cost_analysis()["flops"])


def lower(call: Call) -> Any:
    function = jax.jit(call.function, donate_argnums=call.donated, compiler_options=options())
    return function.lower(*call.args)


def cost(setup: Setup, call: Call | HostCall) -> Cost:
    if isinstance(call, HostCall):
        seconds = call.share * seconds_of(lambda count: [call.function() for _ in range(count)])
        return Cost(call.name, call.calls, None, seconds, call.held)
    lowered = lower(call)
    compiled, flops = lowered.compile(), flops_of(lowered)
    own = own_bytes(compiled)
    if flops < enough() and call.held + own < free() / 2:
        seconds = measure(call, compiled)
    else:
        seconds = on_fewer(setup, call, flops)
    return Cost(call.name, call.calls, flops, seconds, call.held + own)


def own_bytes(compiled: Any) -> int:
    """What a program has alive beside its arguments."""
    used = compiled.memory_analysis()
    return used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes


def enough() -> float:
    """FLOPs of a call that takes LONG at most."""
    return LONG * REACHED * rate()


def on_fewer(setup: Setup, call: Call, flops: float) -> float:
    """Seconds of a call, from the same on so few examples that it takes LONG at most, and on half
    of those: what parameters take is in both, what examples take grows with FLOPs.

    Where one example is too much already: from the rate of a matrix product.
    """
    share = min(0.5, (enough() / flops) ** 0.5, free() / 4 / call.held)  # FLOPs may grow with n^2
    for _ in range(3):
        small, lowered = smaller(setup, call, share)
        its = flops_of(lowered)
        if its <= enough() and small.held < free() / 2:
            seconds = measure(small, lowered.compile())
            half, lowered = smaller(setup, call, share / 2)
            if (of_half := flops_of(lowered)) == its:
                return seconds * flops / its
            slope = (seconds - measure(half, lowered.compile())) / (its - of_half)
            return seconds + min(max(slope, 1 / rate()), seconds / its) * (flops - its)
        share *= min(0.5, enough() / its)
    return flops / rate()


def smaller(setup: Setup, call: Call, share: float) -> tuple[Call, Any]:
    """The call on a share of the examples, and its program, not compiled yet."""
    few = shapes(Run.of(fewer(setup, partial(portion, share))))
    calls = PROGRAMS[few.experiment.program].calls(few)
    small = next(other for other in calls if other.name == call.name)
    assert isinstance(small, Call)
    return small, lower(small)


def portion(share: float, count: int) -> int:
    return max(1, round(share * count))


def fewer(setup: Setup, cut: Callable[[int], int]) -> Experiment:
    """The config with so many of its examples, and the same sides."""
    experiment = setup.experiment
    data, log, opt = experiment.data, experiment.log, experiment.optimizer
    less = lambda count: count and cut(count)  # noqa: E731
    linearized = experiment.linearized
    if experiment.program is Program.train:
        linearized = replace(linearized, space=SPACES[spaces(setup)])
    return replace(
        experiment,
        linearized=linearized,
        data=replace(data, train=cut(data.train), test=cut(data.test), points=less(data.points)),
        optimizer=replace(opt, batch=less(opt.batch)),
        log=replace(log, outputs=cut(log.outputs), train=less(log.train), batch=less(log.batch)),
    )


SPACES = {  # linearized.space as it was decided
    (True, True): Space.both,
    (True, False): Space.function,
    (False, True): Space.weights,
    (False, False): Space.none,
}


def start_up(setup: Setup) -> Start:
    """From runs of the same kind with next to nothing in them: as many layers and outputs, steps
    that change next to nothing."""
    experiment = setup.experiment
    small, width = fewer(setup, partial(min, SMALL)), experiment.model.width
    opt, data = small.optimizer, small.data
    small = replace(
        small,
        name="plan",
        samples=min(experiment.samples, 2),
        # a path's ends are of two classes
        data=replace(data, train=experiment.data.train) if data.points else data,
        model=replace(experiment.model, width=width if setup.model.own else min(width, SMALL)),
        optimizer=replace(
            opt,
            lr=1e-6,
            lr_over_critical=opt.lr_over_critical and 1e-6,
            steps=min(opt.steps, TRAINED[opt.solver]),
            batch=opt.batch and min(opt.batch, SMALL // 2),
            stop=0.0,
            plateau=0.0,
        ),
        log=replace(small.log, points=2, steps=[]),
        results="",
        sweep=[],
    )
    key = run_id(small)
    if key not in started:
        started[key] = started_up(small)
    return started[key]


started: dict[str, Start] = {}


@cache
def kept_by_one() -> int:
    """Bytes of this process after its first run, as of one that has but one."""
    return resident()


def started_up(small: Experiment) -> Start:
    """What that run takes, again, and with LOGGED logged steps."""
    many = replace(small.optimizer, steps=LOGGED)
    each = replace(small.log, steps=list(range(LOGGED)))
    with tempfile.TemporaryDirectory() as folder:
        small = replace(small, results=folder)
        first, kept = seconds_once(partial(compute, Run.of(small))), kept_by_one()
        points = [Run.of(small), Run.of(replace(small, optimizer=many, log=each))]
        again, logging = (seconds_once(partial(compute, run)) for run in points)
    few, most = (len(log_steps(run.experiment.optimizer, run.experiment.log)) for run in points)
    return Start(first, again, max(0, logging - again) / (most - few), kept)


class Group(NamedTuple):
    """Runs of a sweep that share shapes: compiled once."""

    label: str
    runs: list[Run]
    plan: Plan

    @property
    def seconds(self) -> float:
        again = (len(self.runs) - 1) * (self.plan.start.again + self.plan.working)
        return self.plan.seconds + again


def groups(runs: list[Run]) -> list[Group]:
    """Each with the plan of its first run. Raises UserError."""
    shared = alike(runs)
    names = status.labels([some[0] for some in shared], NO_SHAPES)
    return [Group(names[some[0].id], some, plan(some[0])) for some in shared]


def alike(runs: list[Run]) -> list[list[Run]]:
    """Those that share shapes, together."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(shape_key(run.experiment), []).append(run)
    return list(found.values())


def shape_key(experiment: Experiment) -> str:
    return repr([(k, v) for k, v in flat(experiment).items() if k not in NO_SHAPES])
