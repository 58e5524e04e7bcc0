"""What one run can be: every program, and all that is asked of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ntkrepro.config.identity import Run
from ntkrepro.config.schema import Program
from ntkrepro.errors import RunFailed
from ntkrepro.programs import (
    drawn_ensemble,
    ensemble,
    kernel_convergence,
    side_by_side,
    training_costs,
)
from ntkrepro.programs.calls import Call, HostCall
from ntkrepro.programs.memory import Need
from ntkrepro.programs.observe import Result
from ntkrepro.programs.setup import Setup
from ntkrepro.progress import Say, Tick


class Spec(NamedTuple):
    """A program: `run`(pack, say, tick) gives what the records of runs hold that differ in seed and
    learning rate alone, or why one has none; what a run `calls`, how often, for the plan; the
    memory that it `needs` at least; and the `models` that it trains by steps. These three are of a
    setup of shapes. `packs`: whether a pack may have several runs; `logs`: whether a run is seen
    at the logged steps.
    """

    run: Callable[[list[Run], Say, Tick], Sequence[Result | RunFailed]]
    calls: Callable[[Setup], list[Call | HostCall]]
    needs: Callable[[Setup], list[Need]]
    models: Callable[[Setup], tuple[str, ...]]
    packs: bool = False
    logs: bool = True


PROGRAMS = {
    Program.train: Spec(
        side_by_side.side_by_side,
        training_costs.calls,
        training_costs.needs,
        side_by_side.stepping,
        packs=True,
    ),
    Program.kernel_convergence: Spec(
        kernel_convergence.kernel_convergence,
        kernel_convergence.calls,
        kernel_convergence.needs,
        lambda setup: (),
        logs=False,
    ),
    Program.ensemble: Spec(ensemble.ensemble, ensemble.calls, ensemble.needs, ensemble.models),
    Program.drawn_ensemble: Spec(
        drawn_ensemble.drawn_ensemble,
        drawn_ensemble.calls,
        drawn_ensemble.needs,
        lambda setup: (),
    ),
}
