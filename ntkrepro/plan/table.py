"""A plan in words, for the terminal."""

from collections.abc import Iterator

import jax
import psutil
from rich.console import RenderableType
from rich.table import Table

from ntkrepro.config.identity import Run, flat
from ntkrepro.config.schema import Optimizer
from ntkrepro.plan.measure import free
from ntkrepro.plan.plan import Group, Plan, groups
from ntkrepro.programs import memory
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.memory import gib
from ntkrepro.programs.run import numerics
from ntkrepro.programs.setup import shapes
from ntkrepro.sweep import packs


def report(runs: list[Run], there: int) -> Iterator[RenderableType]:
    """The plan of one run in full, or of a sweep a line for each shape and their sum; and how many
    more are `there`."""
    found, first, count = groups(runs), runs[0].experiment, len(runs) + there
    title = f"{first.name}, scale={first.scale.name}"
    yield f"{title}: {count} run{'s' * (count > 1)}, {there} of them there"
    if len(found) == 1:
        plan = found[0].plan
        step = ", ".join(f"{si(flops)}FLOP {name}" for name, flops in plan.step.items())
        yield f"{si(plan.parameters)}parameters; a step: {step or 'none'}"
        yield from leaps(first.optimizer, plan)
        yield costs(plan)
    else:
        yield summary(found)
    flops = sum(len(group.runs) * group.plan.flops for group in found)
    bound = "at most " if any(map(may_take_less, found)) else "about "
    seconds = duration(sum(group.seconds for group in found))
    yield f"in all {si(flops)}FLOP, {bound}{seconds} on this {device()}"
    yield fit(max(found, key=lambda group: group.plan.bytes))


def leaps(opt: Optimizer, plan: Plan) -> Iterator[str]:
    """How many a run by leaps is expected to take, and that this is not known before it runs."""
    if plan.leaps:
        steps, many, points, _ = plan.leaps
        yield (
            f"by leaps, tolerance {opt.tolerance:g}: an estimate of {points} linearizations, for "
            f"{many} leaps and {steps} single steps, in place of {opt.steps} steps; a narrow "
            "network takes more"
        )


def may_take_less(group: Group) -> bool:
    """Whether runs may end early, or share a program that trains several at once."""
    point = group.runs[0].experiment
    early = point.optimizer.stop or point.optimizer.plateau
    return bool(early) or min(packs.size(point), len(group.runs)) > 1


def table(*heads: str) -> Table:
    """The first column is text, which folds in a narrow terminal, the others are numbers."""
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, head in enumerate(heads):
        out.add_column(head, justify="right" if i else "left", overflow="fold", no_wrap=bool(i))
    return out


def costs(plan: Plan) -> Table:
    out = table("", "calls", "FLOP each", "s each", "s", "memory")
    for cost in plan.costs:
        flops = "-" if cost.flops is None else si(cost.flops)
        each, whole = f"{cost.seconds:.3g}", f"{cost.calls * cost.seconds:.2f}"
        out.add_row(cost.name, f"{cost.calls:.6g}", flops, each, whole, gib(cost.bytes))
    for name, calls, seconds, kept in (
        ("other work at logged steps", plan.logged, plan.start.logged, ""),
        ("start-up, compilation", 1, plan.start.first, gib(plan.start.kept)),
    ):
        out.add_row(name, str(calls), "-", f"{seconds:.3g}", f"{calls * seconds:.2f}", kept)
    return out


def summary(found: list[Group]) -> Table:
    out = table("", "runs", "parameters", "FLOP each", "memory", "time in all")
    for group in found:
        plan = group.plan
        sizes = si(plan.parameters), si(plan.flops), gib(plan.bytes)
        out.add_row(group.label, str(len(group.runs)), *sizes, duration(group.seconds))
    return out


def fit(group: Group) -> str:
    """Whether the largest run fits, and the key to lower where it doesn't."""
    plan, there, unused = group.plan, memory.device_memory(), free()
    needed = f"{gib(plan.bytes)} at the peak ({plan.peak.name})"
    if plan.bytes < unused:
        return f"fits: {needed}, {gib(unused)} of {gib(there)} are free"
    experiment = group.runs[0].experiment
    with numerics(experiment):
        setup = shapes(group.runs[0])
        most = memory.largest(PROGRAMS[experiment.program].needs(setup))
    value = flat(experiment)[most.key]
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
