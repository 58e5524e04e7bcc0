"""A network of the user's own: what model.factory makes, behind the face of a Flax module."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from ntkrepro.config import held
from ntkrepro.config.schema import Model
from ntkrepro.errors import UserError, first_line, nearest
from ntkrepro.networks import frontends
from ntkrepro.networks.frontends import RANDOM, Unfit
from ntkrepro.networks.layers import ACTIVATIONS

OFFERED = ("width", "depth", "activation", "w_var", "b_var")  # keys of `model`; and `outputs` = k
ALONE = "outputs must be a function of parameters and x, of each example alone"


@dataclass(frozen=True, eq=False)  # a static argument of its own; `_build` keeps them
class Custom:
    """f(params, x) with params as {path: array}, whatever the user's own pytree is.

    `start`(key, x) -> pytree; `forward`(pytree, x) -> [n, k]. The rest is what Network says
    of every network.
    """

    structured: ClassVar[bool] = False
    own: ClassVar[bool] = True
    analytic: ClassVar[None] = None

    @classmethod
    def weights(cls, model: Model, inputs: int) -> None:
        return None

    start: Callable
    forward: Callable
    names: tuple[str, ...]
    tree: Any
    convolutional: bool
    mixes_examples: bool = False
    outputs: int = 0  # known where it mixes them

    def init(self, key: jax.Array, x: jax.Array) -> dict[str, Any]:
        """Parameters theta_0 in the dtype of `x`."""
        leaves = (jnp.asarray(leaf, x.dtype) for leaf in jax.tree.leaves(self.start(key, x)))
        return {"params": dict(zip(self.names, leaves, strict=True))}

    def apply(self, variables: Mapping[str, Any], x: jax.Array, mutable: Any = ()) -> Any:
        """Outputs [n, k]; with `mutable`, as in Flax, also what was sown: nothing."""
        leaves = [variables["params"][name] for name in self.names]
        f = self.forward(self.tree.unflatten(leaves), x)
        return (f, {}) if mutable else f

    @classmethod
    def build(cls, model: Model, n0: int, k: int, x: jax.Array) -> "Custom":
        """The network of a config for inputs like `x` [n, ...] and k outputs.

        Raises UserError where the factory, or what it makes, isn't what docs/your-network.md asks
        for.
        """
        factory = model.factory or ""
        offered = {key: getattr(model, key) for key in OFFERED}
        offered |= {"activation": ACTIVATIONS[model.activation.name], "outputs": k}
        target = load(factory, model.digest)
        taken = takes(factory, target, [*offered, *RANDOM])
        refuse_idle(model, taken)
        keywords = tuple((key, offered[key]) for key in taken if key in offered)
        drawn = tuple(key for key in taken if key in RANDOM)
        return _build(factory, target, keywords, drawn, (x.shape[1:], x.dtype), k)


LOADED: dict[str, str | None] = {}  # a module's digest when it was imported


def load(factory: str, digest: str | None) -> Any:
    """The object that MODULE:NAME names, or a caller's own in memory."""
    if own := held.find("model.factory", factory):
        return own.value
    module, _, name = factory.partition(":")
    if LOADED.setdefault(module, digest) != digest:
        what = f"{module}, or one of model.files,"
        raise refused(factory, f"{what} has changed since it was imported; start again")
    target = call(factory, f"importing {module}", partial(import_module, module))
    if not hasattr(target, name):
        names = [n for n, value in vars(target).items() if callable(value)]
        raise refused(factory, f"no {name} in {target.__file__}; {nearest(name, names)}")
    return getattr(target, name)


def takes(factory: str, target: Any, offered: Iterable[str]) -> list[str]:
    """Which of the offered keywords the factory takes."""
    try:
        named = keywords_of(target)
    except (TypeError, ValueError) as error:
        raise refused(factory, f"is no class or function but {target!r:.60}") from error
    lacks = [p.name for p in named if p.default is p.empty and p.name not in offered]
    if lacks:
        given = ", ".join(sorted(offered))
        raise refused(factory, f"needs {lacks[0]}, which must have a default; given are {given}")
    return [p.name for p in named if p.name in offered]


def keywords_of(target: Any) -> list[inspect.Parameter]:
    """What a class or a function can be given by name. Raises TypeError, ValueError for neither."""
    found = list(inspect.signature(target).parameters.values())
    if inspect.isclass(target) and all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found):
        made_by: Any = target  # a metaclass's call is what `signature` saw, as of NNX's modules
        found = list(inspect.signature(made_by.__init__).parameters.values())[1:]
    return [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def drawing(target: Any) -> Callable | None:
    """A class or a function that draws a model, as one that takes nothing but what it is drawn
    from, and its outputs; none where it is no such thing."""
    try:
        named = keywords_of(target)
    except (TypeError, ValueError):
        return None
    taken = [p for p in named if p.name in {"outputs", *RANDOM}]
    lacks = [p for p in named if p.default is p.empty and p not in taken]
    if lacks or not any(p.name in RANDOM for p in taken):
        return None

    def make(**given: Any) -> Any:
        return target(**given)

    told = {"__signature__": inspect.Signature(taken), "mixes_examples": frontends.mixes(target)}
    vars(make).update(told)
    return make


def refuse_idle(model: Model, taken: list[str]) -> None:
    """A key that changes nothing must not name another run."""
    for key in OFFERED:
        value, default = (getattr(m, key) for m in (model, Model()))
        if key not in taken and value != default:
            value, default = (getattr(v, "name", v) for v in (value, default))
            why = f"{model.factory} takes no {key}"
            raise UserError(f"model.{key}={value}: must be left out ({default}), as {why}")


@lru_cache
def _build(
    factory: str, target: Any, keywords: Any, drawn: tuple[str, ...], like: Any, k: int
) -> Custom:
    """Cached: runs that differ in seed, say, share their compiled programs."""
    make = partial(frontends.functions_of, target, dict(keywords), drawn)
    own = call(factory, "calling it", make)
    key, x = jax.random.key(0), jax.random.normal(jax.random.key(1), (2, *like[0]), like[1])
    params, kept = call(factory, "its init", partial(jax.eval_shape, own.draw, key, x))
    names, tree = paths(factory, params)
    cast = partial(jax.tree.map, lambda leaf: jnp.asarray(leaf, x.dtype))  # as Custom.init does
    params = jax.eval_shape(cast, params)
    if jax.tree.leaves(kept):
        kept = call(factory, "its init", partial(frontends.constants, own, x))

    def forward(params: Any, x: jax.Array) -> Any:
        return columns(lambda params, x: own.forward(params, kept, x), params, x)

    trace = partial(jax.make_jaxpr(forward, return_shape=True), params, x)
    jaxpr, f = call(factory, "its apply", trace, f"; {ALONE}")
    refuse_outputs(factory, jaxpr, f, x, k)

    def start(key: jax.Array, x: jax.Array) -> Any:
        return own.draw(key, x)[0]

    def twice(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = cast(start(key, x))
        return forward(params, x)[:1], forward(params, x[:1])

    among, alone = call(factory, "running it", partial(jax.jit(twice), key, x))
    if not jnp.isfinite(among).all():
        raise refused(factory, "outputs at its initial parameters are not finite")
    if not own.mixes and jnp.abs(among - alone).max() > 1e-3 * jnp.abs(among).max():
        why = f"outputs depend on the rest of the batch; {ALONE}: {frontends.FROZEN}"
        raise refused(factory, why)
    convolutional = "conv_general_dilated" in str(jaxpr)
    return Custom(start, forward, names, tree, convolutional, own.mixes, k)


def refuse_outputs(factory: str, jaxpr: Any, f: Any, x: jax.Array, k: int) -> None:
    """Raises UserError where f isn't [n, k] in the dtype of x, or was computed in another."""
    if getattr(f, "shape", None) != (len(x), k):
        what = list(f.shape) if hasattr(f, "shape") else jax.tree.structure(f)
        wanted = f"must be {[len(x), k]}, an output for each class, or column of targets"
        raise refused(factory, f"outputs for {len(x)} examples are {what}: {wanted}")
    for found in (f"outputs are {f.dtype}", *(f"computes in {d}" for d in narrowed(jaxpr.jaxpr))):
        if found != f"outputs are {x.dtype}":
            why = f"must be {x.dtype}, as its inputs are; leave its dtype out"
            raise refused(factory, f"{found}: {why}")


def columns(forward: Callable, params: Any, x: jax.Array) -> Any:
    """Outputs [n, k] of f(params, x), whose one output may be [n]."""
    f = forward(params, x)
    return f[:, None] if getattr(f, "ndim", None) == 1 else f


def real(params0: Any) -> Any:
    """A caller's own parameters as JAX's arrays. Raises UserError for what are no real numbers."""
    try:
        params = jax.tree.map(jnp.asarray, params0)
    except (TypeError, ValueError) as error:
        told = f"must be a pytree of arrays of real numbers ({first_line(error)})"
        raise UserError(f"params0: {told}") from error
    with held.holding({"model.factory": held.Held("params0", None, "", "params0")}):
        paths("params0", params)
    return params


def paths(factory: str, params: Any) -> tuple[tuple[str, ...], Any]:
    """A name for every array of the parameters, and their structure."""
    leaves, tree = jax.tree.flatten_with_path(params)
    if not leaves:
        raise refused(factory, "has no parameters")
    names = tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves)
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise refused(factory, f"parameter {name} is {leaf.dtype}: must be of real numbers")
        if jnp.finfo(leaf.dtype).bits < 32:
            why = "must be float32 or float64; leave its param_dtype out"
            raise refused(factory, f"parameter {name} is {leaf.dtype}: {why}")
    return names, tree


def narrowed(jaxpr: Any) -> Iterator[Any]:
    """What arrays of real numbers are rounded to on the way to the outputs."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            was, now = equation.invars[0].aval, equation.params["new_dtype"]
            real = all(jnp.issubdtype(dtype, jnp.floating) for dtype in (was.dtype, now))
            if real and was.ndim and jnp.finfo(now).bits < jnp.finfo(was.dtype).bits:
                yield now
        for inner in jaxprs_in_params(equation.params):
            yield from narrowed(inner)


def call(factory: str, what: str, function: Callable[[], Any], needs: str = "") -> Any:
    """The user's code, whose errors are told in one line."""
    try:
        return function()
    except UserError:
        raise
    except Unfit as error:
        raise refused(factory, str(error)) from error
    except jax.errors.UnexpectedTracerError as error:
        why = (
            "keeps an array where its library looks for none: make it a variable of NNX, or a field"
        )
        raise refused(factory, f"{why} of Equinox that isn't static") from error
    except Exception as error:
        told = f"{what} raised {type(error).__name__}: {first_line(error)}{needs}"
        shows = "" if held.find("model.factory", factory) else "; HYDRA_FULL_ERROR=1 shows where"
        raise refused(factory, f"{told}{shows}") from error


def refused(factory: str, why: str) -> UserError:
    return UserError(f"{held.told('model.factory', factory)}: {why}")
