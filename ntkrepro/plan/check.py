"""What the device at hand computes, against a CPU in float64 and against itself.

Small networks on scikit-learn's digits, by the functions of the programs themselves.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run
from ntkrepro.errors import first_line
from ntkrepro.plan.measure import rate
from ntkrepro.plan.plan import lower, own_bytes
from ntkrepro.plan.table import device, si
from ntkrepro.programs import ensemble, function_space, leaping
from ntkrepro.programs.calls import Call
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.memory import backend, gib
from ntkrepro.programs.observe import observe
from ntkrepro.programs.run import numerics
from ntkrepro.programs.setup import Setup, prepare, shapes
from ntkrepro.programs.weight_space import recipe_of, task_of
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import loop
from ntkrepro.training.leaps import rms

STEPS, NAMES, NETWORK = 64, ("network", "linearized"), ("network",)
WORDS = (
    *("data.train=16", "data.test=8", "data.subspace=false", f"optimizer.steps={STEPS}"),
    *("linearized.space=weights", "linearized.analytic=false", "log.kernel=false"),
)
NETWORKS = {
    "FC": ("model.width=128",),
    "CNN": ("model.architecture=cnn", "model.depth=2", "model.width=32", "model.activation=tanh"),
    "WRN": (
        *("model.architecture=wrn", "model.depth=1", "model.width=16", "model.b_var=0"),
        *("optimizer.batch=8", "optimizer.momentum=0.9"),
    ),
}
# A sixteenth of what TF32 rounds a number by (10 bits: 2^-11). On a CPU float32 is 1e-6 off at most
# in what is looked at here, and with operands of 10 bits 1e-4 at least.
BOUND = 2.0**-15
LEAPS = 2  # times optimizer.tolerance, which holds what leaps estimate to be off
MEMORY = 1.5  # times, either way: the plan's estimate against the device
LARGE = ("model.width=4096", "optimizer.steps=8", "log.points=2", "checkpoint=1000000")
WIDTHS = (36, 24, 12, 4)
SIZES = {"cpu": 2048}  # of a product that is timed
ACCELERATOR = 8192


class Row(NamedTuple):
    """What was looked at, what was found, what that must be (empty: anything), and if it is."""

    what: str
    found: str
    wanted: str = ""
    good: bool = True


def difference(a: Any, b: Any) -> float:
    """The largest of two arrays over the largest number of the second."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())


def apart(what: str, a: Any, b: Any) -> Row:
    return below(what, difference(a, b), BOUND)


def below(what: str, value: float, bound: float) -> Row:
    return Row(what, f"{value:.1e}", f"<= {bound:.1e}", value <= bound)  # nan isn't


def run(name: str, *words: str) -> Run:
    return compose([*WORDS, *NETWORKS[name], *words])


def seen(name: str, precision: str) -> dict[str, np.ndarray]:
    """Kernels of a network at theta_0, and its outputs and its linearization's after STEPS."""
    own = run(name, f"precision={precision}")
    with numerics(own.experiment):
        setup = prepare(own)
        theta = function_space.empirical_kernels(setup)
        found = {
            "NTK": np.concatenate([theta.train_train, theta.test_train]),
            "NNGP": empirical.nngp(setup.model, setup.params0, setup.x_train),
        }
        recipe, task = recipe_of(setup), task_of(setup, NAMES)
        for _, omegas in loop.train(recipe, task, NAMES, [STEPS]):
            found |= {f"{n}, {STEPS} steps": outputs(setup, n, omegas[n]) for n in NAMES}
        return {what: np.asarray(value, np.float64) for what, value in found.items()}


def outputs(setup: Setup, name: str, omega: Any) -> np.ndarray:
    point = observe(recipe_of(setup), setup, name, omega)
    return np.concatenate([point.train, point.test])


def on_cpu() -> None:
    """This process, whatever its environment asks for; before anything is computed."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_device", None)


def errors(name: str, reference: Callable[[], dict[str, np.ndarray]]) -> Iterator[Row]:
    found, exact = seen(name, "float32"), reference()
    for what, value in found.items():
        yield apart(f"{name} {what}", value, exact[what])


def rates() -> Iterator[Row]:
    size = SIZES.get(backend(), ACCELERATOR)
    for precision in ("highest", "default"):
        found = f"{si(rate(size, precision))}FLOP/s"
        yield Row(f"float32 product, {precision} precision", found)


def float64() -> Iterator[Row]:
    with jax.enable_x64(True):
        a = np.random.default_rng(0).standard_normal((256, 256))
        off = difference(jnp.asarray(a) @ jnp.asarray(a), a @ a)
    yield Row("float64", f"{'there' if off < 1e-12 else 'not there'} ({off:.1e})")


def leaps() -> Iterator[Row]:
    """In parts of the network's deviation from its linearization."""
    own = run("FC")
    with numerics(own.experiment):
        setup = prepare(own)
        task, tolerance = task_of(setup, NAMES), own.experiment.optimizer.tolerance
        (_, omegas), *_ = loop.train(recipe_of(setup), task, NAMES, [STEPS])
        f, linear = (outputs(setup, name, omegas[name]) for name in NAMES)
        start, nothing = (0, leaping.start(setup)), lambda *state: None
        theta = function_space.empirical_kernels(setup)
        (reached,) = leaping.train(setup, theta, [STEPS], nothing, nothing, start)
        off = rms(outputs(setup, "network", reached.omegas["network"]) - f) / rms(f - linear)
    yield below("FC leaps against steps", off, LEAPS * tolerance)


def loops() -> Iterator[Row]:
    """Of the networks whose steps are a compiled loop here."""
    for name in NETWORKS:
        own = run(name)
        with numerics(own.experiment):
            setup = prepare(own)
            recipe, task = recipe_of(setup), task_of(setup, NETWORK)
            if loop.steps_in_python(recipe):
                continue
            ends = (
                forward(recipe, task, loop.start(recipe, task, NETWORK), 0, STEPS)
                for forward in (loop.in_loop, loop.in_python)
            )
            yield apart(f"{name} compiled loop against Python's", *map(flat, ends))


def flat(states: Any) -> np.ndarray:
    """All omegas."""
    omegas = [omega for omega, _ in states.values()]
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(omegas)])


def members() -> Iterator[Row]:
    """Several networks by one program over all devices, against each alone on one."""
    count = jax.device_count()
    if count == 1:
        yield Row("members over devices", "one device")
        return
    own = run("FC")
    with numerics(own.experiment):
        setup = prepare(own)
        recipe, task = recipe_of(setup), task_of(setup, NETWORK)
        tasks = [task._replace(params0=ensemble.member(setup, i)) for i in range(2 * count)]
        stacked = loop.stack(tasks)
        states = loop.start_members(recipe, stacked, NETWORK)
        states = loop.advance_members(recipe, stacked, states, 0, STEPS)
        alone = [loop.advance(recipe, t, loop.start(recipe, t, NETWORK), 0, STEPS) for t in tasks]
    used = min(len(leaf.sharding.device_set) for leaf in jax.tree.leaves(states))
    yield Row("devices that hold members", str(used), str(count), used == count)
    each = [flat(loop.member(states, i)) for i in range(len(tasks))]
    yield apart("members over them against each alone", each, list(map(flat, alone)))


def peak() -> int | None:
    """Bytes that this process had alive on the device, where that is known."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def memory(*words: str) -> Iterator[Row]:
    """Of a run that is larger than all that this process had on the device before."""
    what = "peak memory, planned over real"
    if peak() is None:
        yield Row(what, "not known of this device")
        return
    own = compose([*LARGE, *words])
    program = PROGRAMS[own.experiment.program]
    with numerics(own.experiment):
        calls = [call for call in program.calls(shapes(own)) if isinstance(call, Call)]
        planned = max(call.held + own_bytes(lower(call).compile()) for call in calls)
        program.run([own], lambda line: None, lambda *step, **values: None)
    there = peak()
    assert there, "known before"
    found, ratio = f"{planned / there:.2f}, {gib(planned)} planned", planned / there
    yield Row(what, found, f"{1 / MEMORY:.2f} to {MEMORY}", 1 / MEMORY <= ratio <= MEMORY)


def rows() -> Iterator[Row]:
    """All of them; what can't be computed at all is a row that isn't good."""
    with ProcessPoolExecutor(1, get_context("spawn"), on_cpu) as pool:
        yield from tried("memory", memory)  # the first: it needs a peak of its own
        yield from tried("rates", rates)
        yield from tried("float64", float64)
        for name, reference in references(pool).items():
            yield from tried(name, partial(errors, name, reference))
        for other in (leaps, loops, members):
            yield from tried(other.__name__, other)


def references(pool: Executor) -> dict[str, Callable[[], dict[str, np.ndarray]]]:
    """Begun at once, beside what this process computes."""
    return {name: pool.submit(seen, name, "float64").result for name in NETWORKS}


def tried(what: str, part: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    try:
        yield from part()
    except Exception as error:  # a device's own, a process that was killed
        yield Row(what, f"{type(error).__name__}: {first_line(error)}", "no error", False)


def heading() -> Table:
    """Raises UserError where there is no device."""
    backend()
    title = f"{device()} x {jax.device_count()}, JAX {jax.__version__}"
    note = "errors: the largest difference from a CPU in float64, over the largest number"
    return line("what", "found", "must be", "", title=f"{title}; {note}")


def shown(row: Row) -> Table:
    verdict = ("ok" if row.good else "FAIL") if row.wanted else ""
    return line(row.what, row.found, row.wanted, verdict)


def line(*cells: str, title: str = "") -> Table:
    """Of the table, which is shown row by row: some take long, and a device's time may end."""
    one = Table(title=title or None, title_justify="left", box=None, show_header=False)
    one.padding, one.pad_edge = (0, 1, 0, 0), False
    for width in WIDTHS:
        one.add_column(width=width, overflow="fold")
    one.add_row(*cells)
    return one
