"""Which grid points run as one compiled program: those that differ in seed or learning rate alone.

A point's bits are those of its pack, so packs depend on the grid alone, not on what is done.
"""

import jax

from ntkrepro.config import LABELS, Architecture, Experiment, Program, flat

OWN = {"seed", "optimizer.lr", "optimizer.lr_over_critical"}  # what members may differ in
MOST = 16
# bytes that the parameters of a device's members may take, with gradients and displacement; on a
# CPU what its caches hold (width 256: blocks of 4 take 0.63 of the time of blocks of 10)
MEMORY = {"cpu": 12 * 2**20}
ACCELERATOR = 2**32


def packs(points: list[Experiment]) -> list[list[Experiment]]:
    """The points in order of first appearance, in groups of at most `size`."""
    groups: dict[tuple[tuple[str, str], ...], list[Experiment]] = {}
    for point in points:
        shared = {k: str(v) for k, v in flat(point).items() if k not in OWN | LABELS}
        groups.setdefault(tuple(shared.items()), []).append(point)
    return [
        group[i : i + size(group[0])]
        for group in groups.values()
        for i in range(0, len(group), size(group[0]))
    ]


def size(point: Experiment) -> int:
    """Members of a pack. One for convolutions on a CPU, where XLA trains them one step a call, and
    for a user's own network, whose size is not known."""
    architecture = point.model.architecture
    convolutional = architecture is not Architecture.fc and jax.default_backend() == "cpu"
    if point.program is not Program.train or convolutional or architecture is Architecture.custom:
        return 1
    return point.pack or min(MOST, at_once(4 * weights(point)))


def weights(point: Experiment) -> int:
    """Number of weights of all but the readout, with inputs reduced to their span."""
    n, layers = point.model.width, point.model.depth
    if point.model.architecture is Architecture.fc:
        return n * (point.data.train + point.data.test) + (layers - 1) * n**2
    return 9 * layers * n**2


def at_once(nbytes: int) -> int:
    """Networks of so many bytes whose theta_0, theta, omega and gradients fit, on all devices."""
    budget = MEMORY.get(jax.default_backend(), ACCELERATOR)
    return jax.device_count() * max(1, budget // (4 * nbytes))
