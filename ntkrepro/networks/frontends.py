"""Whose networks are taken: a row for each library, which makes functions of what it calls a model.

A library that isn't imported made no network: it is never imported to ask.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import ModifyScopeVariableError

from ntkrepro.errors import UserError

Make = Callable[[jax.Array], Any]  # a key -> what the user's factory returns
SOWN = {"intermediates", "perturbations", "layer"}  # Flax collections that f doesn't depend on
FROZEN = (
    "freeze BatchNorm by use_running_average=True, .eval() or equinox.nn.inference_mode, or say "
    "mixes_examples = True"
)


class Unfit(Exception):
    """What a network does that none may; told after its name."""


class Functions(NamedTuple):
    """`draw`(key, x) -> (params, constants): pytrees, of real numbers that are trained and of all
    that stays, as BatchNorm's running statistics; `forward`(params, constants, x) -> [n, k].
    `mixes`: outputs may depend on the rest of the batch."""

    draw: Callable
    forward: Callable
    mixes: bool = False


class FrontEnd(NamedTuple):
    """Whether a network `is_of` a library, and its `functions`(make, mixes). `drawn`: a model
    holds its arrays, which whoever makes it draws from a key that it is given."""

    is_of: Callable[[Any], bool]
    functions: Callable[[Make, bool], Functions]
    drawn: bool


def of_linen(make: Make, mixes: bool) -> Functions:
    net = make(jax.random.key(0))

    def draw(key: jax.Array, x: jax.Array) -> Any:
        return variables(net.init(key, x))

    def forward(params: Any, constants: Any, x: jax.Array) -> Any:
        every = {"params": params, **constants}
        if mixes:
            return net.apply(every, x, mutable=list(constants))[0]
        try:
            return net.apply(every, x)
        except ModifyScopeVariableError as error:
            raise Unfit(f"updates its {', '.join(constants)} in a call: {FROZEN}") from error

    return Functions(draw, forward, mixes)


def variables(found: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(params, constants) of Linen's variables."""
    constants = {name: found[name] for name in found if name not in {"params", *SOWN}}
    return found.get("params", {}), constants


def of_nnx(make: Make, mixes: bool) -> Functions:
    nnx: Any = import_module("flax.nnx")

    def split(net: Any) -> tuple[Any, Any]:
        graph, theta, random, rest = nnx.split(net, nnx.Param, nnx.RngState, ...)
        params, whole = named(theta)
        return (params, rest), (graph, whole, jax.tree.map(jax.typeof, random))

    def call(static: Any, params: Any, constants: Any, x: jax.Array) -> Any:
        graph, whole, random = static
        own = jax.tree.map(lambda leaf: leaf, constants)  # else the call would change them
        net = nnx.merge(graph, whole(params), jax.tree.map(unread, random), own)
        kinds = nnx.RngState, nnx.Not(nnx.RngState)
        before = [named(nnx.state(net, kind))[0] for kind in kinds]
        f = net(x)
        drew, moved = (
            [name for name, leaf in old.items() if named(nnx.state(net, kind))[0][name] is not leaf]
            for kind, old in zip(kinds, before, strict=True)
        )
        if drew:
            raise Unfit(f"draws random numbers from {drew[0]}: call .eval() on it in the factory")
        if moved and not mixes:
            raise Unfit(f"updates {moved[0]} in a call: {FROZEN}")
        return f

    return carried(make, mixes, split, call)


def unread(kind: Any) -> jax.Array:
    """In place of a state of random numbers, which no network may draw from."""
    if jnp.issubdtype(kind.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), kind.shape)
    return jnp.zeros(kind.shape, kind.dtype)


def of_equinox(make: Make, mixes: bool) -> Functions:
    """A model of one example, as Equinox's are; with state, under the name that its docs use."""
    eqx: Any = import_module("equinox")

    def split(net: Any) -> tuple[Any, Any]:
        model, *state = net if isinstance(net, tuple) else (net,)
        theta, rest = eqx.partition(model, eqx.is_inexact_array)
        constants, static = eqx.partition(rest, eqx.is_array)
        params, whole = named(theta)
        return (params, (constants, state)), (whole, static)

    def call(static: Any, params: Any, constants: Any, x: jax.Array) -> Any:
        (whole, rest), (arrays, state) = static, constants
        model = eqx.combine(whole(params), arrays, rest)
        if not state:
            return jax.vmap(model)(x)
        return jax.vmap(model, (0, None), (0, None), axis_name="batch")(x, *state)[0]

    return carried(make, mixes, split, call)


def carried(
    make: Make, mixes: bool, split: Callable[[Any], Any], call: Callable[..., Any]
) -> Functions:
    """Of a model that holds its arrays: split(model) -> ((params, constants), static), and
    call(static, params, constants, x)."""
    kept = []

    def arrays(key: jax.Array) -> Any:
        found, static = split(make(key))
        kept.append(static)
        return found

    jax.eval_shape(arrays, jax.random.key(0))
    return Functions(lambda key, x: split(make(key))[0], partial(call, kept[0]), mixes)


def named(tree: Any) -> tuple[dict[str, Any], Callable[[Mapping[str, Any]], Any]]:
    """Arrays by their paths, and what makes such a tree of others by the same names."""
    structure: Any = jax.tree.structure(tree)
    leaves = jax.tree.leaves_with_path(tree)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    names = [path.removesuffix("/value") for path in paths]  # of NNX's variables
    found = {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True)}
    return found, lambda params: structure.unflatten([params[name] for name in names])


def of_pair(make: Make, mixes: bool) -> Functions:
    net = make(jax.random.key(0))
    init, apply = net if isinstance(net, tuple) else (net.init, net.apply)
    return Functions(lambda key, x: (init(key, x), {}), lambda p, _, x: apply(p, x), mixes)


def is_linen(net: Any) -> bool:
    return isinstance(net, nn.Module)


def is_nnx(net: Any) -> bool:
    return any(isinstance(net, nnx.Module) for nnx in imported("flax.nnx"))


def is_equinox(net: Any) -> bool:
    for eqx in imported("equinox"):
        stateful = isinstance(net, tuple) and len(net) == 2 and isinstance(net[1], eqx.nn.State)
        model = net[0] if stateful else net
        return isinstance(model, eqx.Module) and callable(model)
    return False


def is_pair(net: Any) -> bool:
    if isinstance(net, tuple):
        return len(net) == 2 and all(map(callable, net))
    return hasattr(net, "init") and hasattr(net, "apply")


def imported(library: str) -> Iterator[Any]:
    """A library, where something has imported it."""
    if found := sys.modules.get(library):
        yield found


def rngs(key: jax.Array) -> Any:
    """What NNX's modules are drawn from."""
    return import_module("flax.nnx").Rngs(key)


RANDOM: dict[str, Callable[[jax.Array], Any]] = {  # by name: what a factory may draw a model from
    "key": lambda key: key,
    "rngs": rngs,
}
FRONT_ENDS = {  # the first that it is of
    "a Flax Linen module": FrontEnd(is_linen, of_linen, drawn=False),
    "a Flax NNX module": FrontEnd(is_nnx, of_nnx, drawn=True),
    "an Equinox module": FrontEnd(is_equinox, of_equinox, drawn=True),
    "(init, apply)": FrontEnd(is_pair, of_pair, drawn=False),
}


def of(net: Any) -> str | None:
    """Which of them takes a network; none: no one."""
    return next((name for name, front in FRONT_ENDS.items() if front.is_of(net)), None)


def functions_of(target: Any, keywords: Mapping[str, Any], drawn: tuple[str, ...]) -> Functions:
    """Those of what target(**keywords) makes, with what it is `drawn` from, of RANDOM.

    Raises Unfit where that is no network of FRONT_ENDS.
    """

    def make(key: jax.Array) -> Any:
        return target(**keywords, **{name: RANDOM[name](key) for name in drawn})

    net = traced(make) if drawn else target(**keywords)
    if isinstance(net, Functions):
        return net
    name = of(net)
    if name is None:
        *most, last = FRONT_ENDS
        raise Unfit(f"returned {net!r:.60}: must be {', '.join(most)} or {last}")
    if drawn and not FRONT_ENDS[name].drawn:
        raise Unfit(f"takes {drawn[0]}, which its init is given: must be left out of {name}")
    mixing = mixes(target, net, *(net if isinstance(net, tuple) else ()))
    return FRONT_ENDS[name].functions(make if drawn else lambda key: net, mixing)


def mixes(*things: Any) -> bool:
    """Whether one of them says that outputs depend on their batch."""
    return any(getattr(thing, "mixes_examples", False) is True for thing in things)


def traced(make: Make) -> Any:
    """What it makes, without computing its arrays."""
    made: list[Any] = []
    jax.eval_shape(lambda key: made.append(make(key)), jax.random.key(0))
    return made[0]


def starting(name: str, net: Any, params0: Any) -> Functions:
    """Those of a network that starts at params0, whatever the key; `net` may be its apply alone.

    Of a Linen module params0 are its variables, or the parameters among them. Raises UserError for
    a model that holds its own.
    """
    library = of(net)
    if library is None:
        return Functions(lambda key, x: (params0, {}), lambda params, _, x: net(params, x))
    if FRONT_ENDS[library].drawn:
        raise UserError(f"params0: must be left out, as {name} is {library} and holds its own")
    own = functions_of(lambda: net, {}, ())
    if is_linen(net) and "params" in params0:
        return own._replace(draw=lambda key, x: variables(params0))
    return own._replace(draw=lambda key, x: (params0, own.draw(key, x)[1]))


def constants(own: Functions, x: jax.Array) -> Any:
    """What stays as it is at its start; real numbers in the dtype of x. Raises Unfit where it is
    another for each seed, or for each x."""
    draw = jax.jit(lambda key, x: own.draw(key, x)[1])
    first, second = (draw(jax.random.key(seed), x + seed) for seed in (0, 1))
    pairs = zip(named(first)[0].items(), jax.tree.leaves(second), strict=True)
    for name, one, other in ((name, one, other) for (name, one), other in pairs):
        if not ((one == other) | (one != one)).all():
            why = "is no parameter, and so must not be drawn from the seed, nor depend on x"
            raise Unfit(f"{name} {why}: draw it from a key of its own")
    return jax.tree.map(lambda leaf: real_in(x.dtype, leaf), first)


def real_in(dtype: Any, leaf: jax.Array) -> jax.Array:
    """Real numbers in this dtype; all else as it is."""
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
