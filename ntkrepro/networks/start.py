"""theta_0 as model.params has it: from an .npz or .safetensors file, or from an orbax checkpoint.

A parameter is named by its path in the network, as in Dense_0/kernel or layer1/w.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.config import digests, npz
from ntkrepro.errors import UserError, first_line, nearest
from ntkrepro.networks.functions import flatten, unflatten

FLAX = "params/"  # Flax's variables, or a state of the training, have the parameters below this


class Stored(NamedTuple):
    """What a file says of an array, and what reads it."""

    shape: tuple[int, ...]
    read: Callable[[], Any]


Found = dict[str, Stored]


def parameters(path: str, digest: str | None, wanted: Any) -> Any:
    """theta_0 like `wanted`, a network's parameters as shapes, in their dtype.

    Raises UserError where the file can't be read, isn't the one of this digest any more, or has
    other parameters: it names the first of these, with the shape found and the one wanted.
    """
    if digests.of_params(path) != digest:
        raise refused(path, "has changed since the command began; start again")
    leaves = {"/".join(name): (name, leaf) for name, leaf in flatten(wanted).items()}
    with opened(path) as found:
        own = {name.removeprefix(FLAX): s for name, s in found.items() if name.startswith(FLAX)}
        found = own or found
        refuse(path, found, {name: tuple(leaf.shape) for name, (_, leaf) in leaves.items()})
        return unflatten(
            {key: array(path, n, found[n].read(), leaf) for n, (key, leaf) in leaves.items()}
        )


def refuse(path: str, found: Found, wanted: dict[str, tuple[int, ...]]) -> None:
    """Raises UserError for parameters that aren't those of the network."""
    wrong = [
        f"{name} is {list(found[name].shape)}: must be {list(shape)}"
        if name in found
        else f"has no {name} {list(shape)}; {nearest(name, list(found))}"
        for name, shape in wanted.items()
        if name not in found or tuple(found[name].shape) != shape
    ]
    wrong += [
        f"{name} {list(found[name].shape)} is none of the network's; {nearest(name, list(wanted))}"
        for name in found
        if name not in wanted
    ]
    if wrong:
        others = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
        raise refused(path, f"{wrong[0]}{others}; a changed layer's arrays must be replaced")


def array(path: str, name: str, value: Any, like: Any) -> jax.Array:
    """A parameter in the dtype of `like`. Raises UserError for what is no finite real number."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise refused(path, f"{name} is {value.dtype}: must be of real numbers")
    with np.errstate(over="ignore"):
        given = jnp.asarray(value, like.dtype)
    if not jnp.isfinite(given).all():
        raise refused(path, f"{name} has values that are not finite in {like.dtype}")
    return given


@contextmanager
def opened(path: str) -> Iterator[Found]:
    """The arrays of a file by their names; what its readers raise is told in one line."""
    kind = CHECKPOINT if Path(path).is_dir() else Path(path).suffix
    if kind not in READERS:
        raise refused(path, "must be an .npz or .safetensors file, or an orbax checkpoint's folder")
    try:
        with READERS[kind](path) as found:
            yield found
    except UserError:
        raise
    except Exception as error:
        raise refused(path, f"can't be read ({first_line(error)})") from error


@contextmanager
def of_npz(path: str) -> Iterator[Found]:
    """Nothing is unpacked before its shape is known to be wanted: it may be damaged, or hostile."""
    with zipfile.ZipFile(path) as file:
        found = {}
        for name in (n.removesuffix(".npy") for n in file.namelist() if n.endswith(".npy")):
            with file.open(f"{name}.npy") as member:
                found[name] = Stored(npz.header(member)[0], partial(npz.unpack, file, name))
        yield found


@contextmanager
def of_safetensors(path: str) -> Iterator[Found]:
    try:
        from safetensors import safe_open
    except ImportError as error:
        mend = "pip install 'ntkrepro[safetensors]', or write the arrays with numpy.savez"
        raise refused(path, f"reading it needs safetensors: {mend}") from error
    with safe_open(path, framework="flax") as file:
        yield {
            name: Stored(tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name))
            for name in file.keys()  # noqa: SIM118 - it is no dict
        }


@contextmanager
def of_checkpoint(path: str) -> Iterator[Found]:
    """All that it holds, as NumPy's arrays, whatever the devices that it was saved from."""
    import orbax.checkpoint as ocp  # takes seconds

    reader, folder = ocp.PyTreeCheckpointer(), Path(path).absolute()
    tree = reader.metadata(folder).item_metadata.tree
    kinds = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    leaves, _ = jax.tree.flatten_with_path(reader.restore(folder, restore_args=kinds))
    named = [(jax.tree_util.keystr(p, simple=True, separator="/"), leaf) for p, leaf in leaves]
    yield {name: Stored(np.shape(leaf), leaf.__array__) for name, leaf in named}


CHECKPOINT = "orbax"
READERS: dict[str, Callable[[str], AbstractContextManager[Found]]] = {
    ".npz": of_npz,
    ".safetensors": of_safetensors,
    CHECKPOINT: of_checkpoint,
}


def refused(path: str, why: str) -> UserError:
    return UserError(f"model.params={path}: {why}")
