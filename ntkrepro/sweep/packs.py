"""Which runs one compiled program computes: those that differ in seed or learning rate alone.

A run's bits are those of its pack, so packs depend on the grid alone, not on what is done.
"""

from ntkrepro.config.identity import LABELS, Run, flat
from ntkrepro.config.schema import Experiment, Solver
from ntkrepro.networks.architectures import ARCHITECTURES
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.memory import at_once, backend

OWN = {"seed", "optimizer.lr", "optimizer.lr_over_critical"}  # what members may differ in
MOST = 16
TOGETHER = {Solver.steps: lambda most: most, Solver.leaps: lambda most: 1}  # each at its own pace


def packs(runs: list[Run]) -> list[list[Run]]:
    """The runs in order of first appearance, in groups of at most `size`."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        values = flat(run.experiment).items()
        shared = tuple((k, str(v)) for k, v in values if k not in OWN | LABELS)
        groups.setdefault(shared, []).append(run)
    return [
        group[i : i + most]
        for group in groups.values()
        for most in [size(group[0].experiment)]
        for i in range(0, len(group), most)
    ]


def size(point: Experiment) -> int:
    """Members of a pack. One for convolutions on a CPU, where XLA trains them one step a call, and
    for networks whose size is not known, and by leaps."""
    network, inputs = ARCHITECTURES[point.model.architecture], point.data.train + point.data.test
    weights = network.weights(point.model, inputs)
    if weights is None or not PROGRAMS[point.program].packs:
        return 1
    if network.convolutional and backend() == "cpu":
        return 1
    most = point.pack or min(MOST, at_once(4 * weights))
    return TOGETHER[point.optimizer.solver](most)
