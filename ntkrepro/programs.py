"""What one run can be."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ntkrepro import convergence, ensemble, footprint, pieces, side_by_side
from ntkrepro.config import Experiment, Program
from ntkrepro.footprint import Need
from ntkrepro.pieces import HostPiece, Piece
from ntkrepro.setup import Setup
from ntkrepro.side_by_side import Say
from ntkrepro.weight_space import Tick


class Spec(NamedTuple):
    """A program: `run`(pack, say, tick) computes the records of configs that differ in seed and
    learning rate alone; what a run `calls`, how often, for the plan; the memory that it `needs` at
    least; and the `models` that it trains. These three are of a setup of shapes. `packs`: whether
    one pack may have several configs.
    """

    run: Callable[[list[Experiment], Say, Tick], list[Any]]
    calls: Callable[[Setup], list[Piece | HostPiece]]
    needs: Callable[[Setup], list[Need]]
    models: Callable[[Setup], tuple[str, ...]]
    packs: bool = False


PROGRAMS = {
    Program.train: Spec(
        side_by_side.run, pieces.side_by_side, footprint.train, side_by_side.trained, packs=True
    ),
    Program.kernel_convergence: Spec(
        lambda pack, say, tick: [convergence.run(pack[0], say, tick)],
        pieces.kernel_convergence,
        footprint.kernel_convergence,
        lambda setup: (),
    ),
    Program.ensemble: Spec(
        lambda pack, say, tick: [ensemble.run(pack[0], say, tick)],
        pieces.ensemble_of_networks,
        footprint.ensemble,
        lambda setup: ("network",),
    ),
}
