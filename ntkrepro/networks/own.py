"""A network of the user's own: what model.factory makes, behind the face of a Flax module."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from ntkrepro.config import held
from ntkrepro.config.schema import Model
from ntkrepro.errors import UserError, first_line, nearest
from ntkrepro.networks.layers import ACTIVATIONS

OFFERED = ("width", "depth", "activation", "w_var", "b_var")  # keys of `model`; and `outputs` = k
SOWN = {"intermediates", "perturbations", "layer"}  # Flax collections that f doesn't depend on
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
    mixes_examples: ClassVar[bool] = False

    @classmethod
    def weights(cls, model: Model, inputs: int) -> None:
        return None

    start: Callable
    forward: Callable
    names: tuple[str, ...]
    tree: Any
    convolutional: bool

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
        taken = takes(factory, target, offered)
        refuse_idle(model, taken)
        keywords = tuple((key, offered[key]) for key in taken)
        return _build(factory, target, keywords, (x.shape[1:], x.dtype), k)


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


def takes(factory: str, target: Any, offered: Mapping[str, Any]) -> list[str]:
    """Which of the offered keywords the factory takes."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError) as error:
        raise refused(factory, f"is no class or function but {target!r}") from error
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    lacks = [p.name for p in named if p.default is p.empty and p.name not in offered]
    if lacks:
        given = ", ".join(sorted(offered))
        raise refused(factory, f"needs {lacks[0]}, which must have a default; given are {given}")
    return [p.name for p in named if p.name in offered]


def refuse_idle(model: Model, taken: list[str]) -> None:
    """A key that changes nothing must not name another run."""
    for key in OFFERED:
        value, default = (getattr(m, key) for m in (model, Model()))
        if key not in taken and value != default:
            value, default = (getattr(v, "name", v) for v in (value, default))
            why = f"{model.factory} takes no {key}"
            raise UserError(f"model.{key}={value}: must be left out ({default}), as {why}")


@lru_cache
def _build(factory: str, target: Any, keywords: Any, like: Any, k: int) -> Custom:
    """Cached: runs that differ in seed, say, share their compiled programs."""
    net = call(factory, "calling it", partial(target, **dict(keywords)))
    start, forward = pair(factory, net)
    forward = partial(columns, forward)
    key, x = jax.random.key(0), jax.random.normal(jax.random.key(1), (2, *like[0]), like[1])
    params = call(factory, "its init", partial(jax.eval_shape, start, key, x))
    names, tree = paths(factory, params)
    cast = partial(jax.tree.map, lambda leaf: jnp.asarray(leaf, x.dtype))  # as Custom.init does
    params = jax.eval_shape(cast, params)
    trace = partial(jax.make_jaxpr(forward, return_shape=True), params, x)
    jaxpr, f = call(factory, "its apply", trace, f"; {ALONE}")
    if getattr(f, "shape", None) != (len(x), k):
        what = list(f.shape) if hasattr(f, "shape") else jax.tree.structure(f)
        wanted = f"must be {[len(x), k]}, an output for each class, or column of targets"
        raise refused(factory, f"outputs for {len(x)} examples are {what}: {wanted}")
    for found in (f"outputs are {f.dtype}", *(f"computes in {d}" for d in narrowed(jaxpr.jaxpr))):
        if found != f"outputs are {x.dtype}":
            why = f"must be {x.dtype}, as its inputs are; leave its dtype out"
            raise refused(factory, f"{found}: {why}")

    def twice(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = cast(start(key, x))
        return forward(params, x)[:1], forward(params, x[:1])

    among, alone = call(factory, "running it", partial(jax.jit(twice), key, x))
    if not jnp.isfinite(among).all():
        raise refused(factory, "outputs at its initial parameters are not finite")
    if jnp.abs(among - alone).max() > 1e-3 * jnp.abs(among).max():
        raise refused(factory, f"outputs depend on the rest of the batch; {ALONE}")
    return Custom(start, forward, names, tree, "conv_general_dilated" in str(jaxpr))


def pair(factory: str, net: Any) -> tuple[Callable, Callable]:
    """(init, apply) of what the factory returned."""
    if isinstance(net, tuple) and len(net) == 2 and all(map(callable, net)):
        return net
    if not (hasattr(net, "init") and hasattr(net, "apply")) or isinstance(net, tuple):
        raise refused(
            factory, f"returned {net!r:.60}: must be a Flax Linen module or (init, apply)"
        )
    if not isinstance(net, nn.Module):
        return net.init, net.apply

    def start(key: jax.Array, x: jax.Array) -> Any:
        return parameters(factory, net.init(key, x))

    return start, lambda params, x: net.apply({"params": params}, x)


def parameters(factory: str, variables: Mapping[str, Any]) -> Any:
    """Those among a Flax module's variables, which must have no state."""
    state = sorted(set(variables) - {"params", *SOWN})
    if state:
        raise refused(factory, f"keeps state in {', '.join(state)}; {ALONE}")
    return variables.get("params", {})


def starting(factory: str, net: Any, params0: Any) -> tuple[Callable, Callable]:
    """`pair` of a network that starts at params0, whatever the key; `net` may be its apply alone.

    Of a Flax module params0 are its variables, or the parameters among them.
    """
    forward = pair(factory, net)[1] if isinstance(net, tuple) or hasattr(net, "apply") else net
    flax = isinstance(net, nn.Module) and "params" in params0
    theta = parameters(factory, params0) if flax else params0
    return (lambda key, x: theta), forward


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
    except Exception as error:
        told = f"{what} raised {type(error).__name__}: {first_line(error)}{needs}"
        shows = "" if held.find("model.factory", factory) else "; HYDRA_FULL_ERROR=1 shows where"
        raise refused(factory, f"{told}{shows}") from error


def refused(factory: str, why: str) -> UserError:
    return UserError(f"{held.told('model.factory', factory)}: {why}")
