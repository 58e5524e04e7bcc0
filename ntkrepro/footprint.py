"""The least memory that a run needs, from shapes alone, and which key lowers it."""

from typing import NamedTuple

import jax
import psutil

from ntkrepro import models
from ntkrepro.config import Experiment, flat
from ntkrepro.errors import UserError
from ntkrepro.kernels.batches import rows_at_once
from ntkrepro.kernels.empirical import MEMORY
from ntkrepro.setup import Setup, fits, nbytes, outputs
from ntkrepro.train import OPTIMIZERS
from ntkrepro.weight_space import recipe

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


def train(setup: Setup) -> list[Need]:
    """A network with its displacement, gradient, momentum and activations; kernels."""
    log, opt = setup.experiment.log, setup.experiment.optimizer
    n, k, params = len(setup.x_train), setup.dataset.y_train.shape[1], nbytes(setup.params0)
    layers, own = layer_inputs(setup), setup.model.own
    memory = jax.eval_shape(OPTIMIZERS[opt.name.name](recipe(setup), opt.lr).init, setup.params0)
    by_rows = fits(setup) and setup.model.mixes_examples
    rows = min(rows_at_once(setup.params0, MEMORY), n * k) if by_rows else 0
    batch = "optimizer.batch" if opt.batch or n > len(setup.x_test) else "data.train"
    kept = min(log.outputs, n) * k if log.kernel else 0
    seen = (log.train or n, len(setup.x_test))
    most = max(seen) if setup.model.mixes_examples else sum(seen)
    at_once = min(log.batch or most, most)
    return [
        data(setup),
        Need(
            "parameters and their gradients",
            "model.factory" if own else "model.width",
            3 * params + nbytes(memory),
        ),
        Need("activations of a step", batch, (opt.batch or n) * sum(layers)),
        Need("outputs at a logged step", "log.batch", at_once * max(layers, default=0)),
        Need("kernel at a logged step", "log.outputs", 2 * kept**2 * setup.x_train.dtype.itemsize),
        Need("rows of the kernel", "linearized.space", rows * params, True),
        *([Need("kernel", "data.train", 3 * 8 * outputs(setup) ** 2, True)] if fits(setup) else []),
    ]


def layer_inputs(setup: Setup) -> list[int]:
    """Bytes of each layer's input, of one example."""
    found = models.shapes(setup.model, setup.x_train.shape[1:], setup.x_train.dtype)
    sown = models.flatten(found.get("layer", {}))
    return [nbytes(x) for path, x in sown.items() if path[-1] == "x"]


def kernel_convergence(setup: Setup) -> list[Need]:
    """Features of one random network and the kernels of all."""
    n, item = len(setup.x_train), setup.x_train.dtype.itemsize
    model = setup.experiment.model
    return [
        data(setup),
        Need("features", "model.width", 2 * model.depth * n * model.width * item),
        Need("kernels", "data.train", 2 * 8 * (setup.experiment.samples + 1) * n**2, host=True),
    ]


def ensemble(setup: Setup) -> list[Need]:
    """One member at least, and the analytic kernels over train points and path."""
    points = len(setup.x_train) + len(setup.x_test)
    return [
        data(setup),
        Need("parameters and their gradients", "model.width", 3 * nbytes(setup.params0)),
        Need("analytic kernels", "data.train", 4 * 8 * points**2, host=True),
    ]


def device_memory() -> int:
    """Bytes of the device that computes; of a CPU those of the machine."""
    stats = jax.devices()[0].memory_stats()
    return stats["bytes_limit"] if stats else psutil.virtual_memory().total


def is_host() -> bool:
    """Whether the device's memory is the host's."""
    return jax.default_backend() == "cpu"


def at_once(nbytes: int) -> int:
    """Networks of so many bytes whose theta_0, theta, omega and gradients fit, on all devices."""
    budget = CACHES.get(jax.default_backend(), ACCELERATOR)
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
