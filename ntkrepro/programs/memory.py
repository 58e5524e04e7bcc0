"""The least memory that a run needs, from shapes alone, and which key lowers it."""

from typing import NamedTuple

import jax
import psutil

from ntkrepro.config.identity import flat
from ntkrepro.config.schema import Experiment
from ntkrepro.errors import UserError
from ntkrepro.programs.setup import Setup, nbytes

# bytes that the parameters of a device's members may take, with gradients and displacement; on a
# CPU what its caches hold (width 256: blocks of 4 take 0.63 of the time of blocks of 10)
CACHES = {"cpu": 12 * 2**20}
ACCELERATOR = 2**32


class Need(NamedTuple):
    """Bytes that a run holds at one time; `host`: in the host's memory, whatever the device."""

    what: str
    key: str  # lowers it
    bytes: int
    host: bool = False


def data(setup: Setup) -> Need:
    return Need("data", "data.train", 2 * nbytes(setup.dataset[:4]), host=True)


def backend() -> str:
    """What computes: cpu, gpu or tpu. Raises UserError where what was asked for isn't there."""
    flags = ("jax_platforms", "jax_default_device")
    asked = {flag.upper(): found for flag in flags if (found := getattr(jax.config, flag))}
    try:
        jax.devices(asked.get("JAX_DEFAULT_DEVICE"))
        return jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # asserts where CUDA isn't installed
        given = " ".join(f"{name}={value}" for name, value in asked.items())
        raise UserError(
            f"{given}: JAX finds no such device here; unset {' or '.join(asked)}, or install what "
            "it asks for (NVIDIA GPUs: pip install 'ntkrepro[cuda]')"
        ) from error


def device_memory() -> int:
    """Bytes of the device that computes; of a CPU those of the machine."""
    stats = jax.devices()[0].memory_stats()
    return stats["bytes_limit"] if stats else psutil.virtual_memory().total


def is_host() -> bool:
    """Whether the device's memory is the host's."""
    return backend() == "cpu"


def of_host(size: int) -> int:
    """Bytes that NumPy has alive, as far as they are the device's too."""
    return size if is_host() else 0


def at_once(nbytes: int) -> int:
    """Networks of so many bytes whose theta_0, theta, omega and gradients fit, on all devices."""
    budget = CACHES.get(backend(), ACCELERATOR)
    return jax.device_count() * max(1, budget // (4 * nbytes))


def largest(found: list[Need]) -> Need:
    return max(found, key=lambda need: need.bytes)


def refuse_too_large(experiment: Experiment, found: list[Need]) -> None:
    """Raises UserError where a run needs more than all the memory there is, before it starts."""
    on_host = [need for need in found if need.host or is_host()]
    rest = [need for need in found if not (need.host or is_host())]
    for part, there in ((on_host, psutil.virtual_memory().total), (rest, device_memory())):
        total = sum(need.bytes for need in part)
        if total > there:
            most = largest(part)
            raise UserError(
                f"{most.key}={value(experiment, most.key)}: needs at least {gib(total)}, "
                f"{gib(most.bytes)} of it for {most.what}, and there are {gib(there)}; "
                f"lower {most.key}"
            )


def value(experiment: Experiment, key: str) -> object:
    return flat(experiment)[key]


def gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"
