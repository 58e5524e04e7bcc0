"""Which grid points run as one compiled program: those that differ in seed or learning rate alone.

A point's bits are those of its pack, so packs depend on the grid alone, not on what is done.
"""

import jax

from ntkrepro.config import LABELS, Experiment, flat
from ntkrepro.footprint import at_once
from ntkrepro.models import ARCHITECTURES
from ntkrepro.programs import PROGRAMS

OWN = {"seed", "optimizer.lr", "optimizer.lr_over_critical"}  # what members may differ in
MOST = 16


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
    for networks whose size is not known."""
    network, inputs = ARCHITECTURES[point.model.architecture], point.data.train + point.data.test
    weights = network.weights(point.model, inputs)
    if weights is None or not PROGRAMS[point.program].packs:
        return 1
    if network.convolutional and jax.default_backend() == "cpu":
        return 1
    return point.pack or min(MOST, at_once(4 * weights))
