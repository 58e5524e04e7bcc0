"""One run of a network and of arrays that are in memory, by the program of the command line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np

from ntkrepro.config import held
from ntkrepro.config.compose import compose
from ntkrepro.config.held import Held
from ntkrepro.config.identity import Run
from ntkrepro.config.npz import Arrays
from ntkrepro.config.words import text_of
from ntkrepro.errors import RunFailed, UserError, first_line
from ntkrepro.networks import frontends, own
from ntkrepro.programs.run import PINNED, Outcome, numerics
from ntkrepro.programs.setup import shapes
from ntkrepro.records import store
from ntkrepro.records.store import Record
from ntkrepro.sweep import grid
from ntkrepro.sweep.attempt import Attempt

FIDELITY = "log.fidelity=true"  # of its linearization, where there is one
FRACTION = 0.5  # of the critical learning rate, where none is given
DEFAULTS = (
    *("model=custom", "data=npz", "data.train=all", "data.test=all"),
    f"optimizer.lr_over_critical=${{unless_lr:{FRACTION}}}",
)


def record(
    network: Any, params0: Any, data: Any, keys: Mapping[str, Any], results: str | Path | None
) -> Record:
    """That of a run with these keys, computed unless `results` has it; none: nothing is kept.

    network, params0 and data as ntkrepro.compare takes them. Raises UserError.
    """
    if params0 is not None and keys.get("model.params"):
        raise UserError(f"model.params={keys['model.params']}: must be left out with params0=")
    things = {"model.factory": held_network(network, params0), "data.path": held_arrays(data)}
    given = {"name": things["model.factory"].name, **keys}
    alone = given.get("linearized.space") == "none"
    words = [*DEFAULTS, *([] if alone else [FIDELITY])]
    words += [*(f"{key}={text_of(value)}" for key, value in given.items())]
    words += [f"{key}={text_of(thing.name)}" for key, thing in things.items()]
    with flags_kept(), folder(results) as where, held.holding(things):
        words += [f"results={text_of(where)}"]
        run = compose(words)
        if run.experiment.optimizer.steps < 1:
            raise UserError("optimizer.steps=0: must be at least 1, to compare anything")
        if results is not None:  # else its name is gone with the folder
            things["model.factory"] = things["model.factory"]._replace(digest=source(run))
            run = compose(words)
        return computed(run)


def name_of(network: Any) -> str:
    """What a record calls it."""
    pair = isinstance(network, tuple) and len(network) == 2
    function = network[1 if callable(network[1]) else 0] if pair else network
    return getattr(function, "__name__", type(function).__name__)


def held_network(network: Any, params0: Any) -> Held:
    """What model.factory would name. Raises UserError for what can't be one."""
    name, library = name_of(network), frontends.of(network)
    drawing = own.drawing(network) if library is None and params0 is None else None
    if drawing:
        return Held(name, drawing, "", f"network {name}")
    if isinstance(network, type):
        raise UserError(f"network: {name} is a class: give a network of it, as in {name}(...)")
    if params0 is not None:
        own.real(params0)
    elif callable(network) and library is None:
        raise UserError(f"network: {name}(params, x) needs params0=, or give (init, {name})")

    def make() -> Any:
        return network if params0 is None else frontends.starting(name, network, params0)

    return Held(name, make, "", f"network {name}")


def arrays_of(data: Any) -> dict[str, np.ndarray]:
    """By their names, y [n] of real numbers as [n, 1]. Raises UserError where one lacks."""
    names = Arrays._fields
    if not isinstance(data, Mapping):
        if not isinstance(data, Sequence) or len(data) != len(names):
            told = f"must be ({', '.join(names)}), or a dict of these"
            raise UserError(f"data: is {type(data).__name__}: {told}")
        data = dict(zip(names, data, strict=True))
    if lacks := [name for name in names if name not in data]:
        raise UserError(f"data: has no {lacks[0]}; it needs {', '.join(names)}")
    found = {}
    for name in names:
        try:
            array = np.asarray(data[name])
        except ValueError as error:
            raise UserError(f"data: {name} is no array ({first_line(error)})") from error
        single = name.startswith("y") and array.dtype.kind == "f" and array.ndim == 1
        found[name] = array[:, None] if single else array
    return found


def held_arrays(data: Any) -> Held:
    """What data.path would name. Raises UserError where an array lacks."""
    digest, arrays = sha256(), arrays_of(data)
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return Held("in memory", arrays, digest.hexdigest()[:16], "data")


def source(run: Run) -> str:
    """Digest of what a network in memory computes: its program, as JAX hands it to the compiler."""
    with numerics(run.experiment):
        setup = shapes(run)
        x = jax.ShapeDtypeStruct((1, *setup.x_train.shape[1:]), setup.x_train.dtype)
        variables = {"params": setup.params0}
        texts = [
            jax.jit(setup.model.init).lower(jax.random.key(0), x).as_text(),
            jax.jit(setup.model.apply).lower(variables, x).as_text(),
        ]
    return sha256("".join(texts).encode()).hexdigest()[:16]


def computed(run: Run) -> Record:
    """That of a run, computed unless it is there. Raises UserError."""
    attempt, failed = Attempt.begin([run]), []

    def tell(run: Run, outcome: Outcome) -> None:
        failed.extend([outcome] if isinstance(outcome, UserError) else [])

    try:
        grid.compute_missing([run], tell, attempt)
    finally:
        store.remove_empty_folders(run)
    if note := attempt.failure(run):  # of another process, it may be
        failed.append(note.error())
    for error in failed:
        raise error
    if found := store.read(run.path):
        return found
    raise RunFailed(f"{run.path} was there and is not; compare again")


@contextmanager
def folder(results: str | Path | None) -> Iterator[str]:
    """Where records go: the caller's folder, or one that is gone after."""
    if results is not None:
        yield str(results)
        return
    with TemporaryDirectory(prefix="ntkrepro-") as temporary:
        yield temporary


@contextmanager
def flags_kept() -> Iterator[None]:
    """Within the block JAX's flags are the program's, after it the caller's."""
    before = {flag: getattr(jax.config, flag) for flag in PINNED if hasattr(jax.config, flag)}
    try:
        yield
    finally:
        for flag, value in before.items():
            if getattr(jax.config, flag) != value:
                jax.config.update(flag, getattr(value, "value", value))
