"""A plan in words, for the terminal."""

import jax
import psutil

from ntkrepro.config.identity import Run, flat
from ntkrepro.plan.measure import free
from ntkrepro.plan.plan import Group, Plan, groups
from ntkrepro.programs import memory
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.memory import gib, is_host
from ntkrepro.programs.run import numerics
from ntkrepro.programs.setup import shapes
from ntkrepro.sweep import packs


def report(runs: list[Run]) -> str:
    """The plan of one run in full, or of a sweep a line for each shape and their sum."""
    found, first = groups(runs), runs[0].experiment
    ready = sum(run.path.is_file() for run in runs)
    title = f"{first.name}, scale={first.scale.name}"
    lines = [f"{title}: {len(runs)} run{'s' * (len(runs) > 1)}, {ready} of them there"]
    lines += table(found[0].plan) if len(found) == 1 else [summary(group) for group in found]
    flops = sum(len(group.runs) * group.plan.flops for group in found)
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
    point = group.runs[0].experiment
    early = point.optimizer.stop or point.optimizer.plateau
    return bool(early) or min(packs.size(point), len(group.runs)) > 1


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
        f"  {group.label:40} x {len(group.runs):<4} {si(plan.parameters):>7}parameters "
        f"{si(plan.flops):>7}FLOP {gib(plan.bytes):>9} {duration(group.seconds):>9}"
    )


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
