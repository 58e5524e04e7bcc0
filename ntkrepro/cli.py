"""The command `ntkrepro`: a thin dispatcher; `run` speaks Hydra. Heavy imports come late."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING

from ntkrepro.errors import RunFailed, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

    from ntkrepro.config import Experiment

    Task = Callable[[DictConfig], None]

USAGE = """\
ntkrepro: does this network train like its linearization?

  ntkrepro run [experiment=NAME] [scale=paper|laptop|smoke] [KEY=VALUE ...]
                                     compute a record (Hydra's grammar: -m sweeps over a,b,c;
                                     --cfg job shows the config; --help all keys)
  ntkrepro plan [experiment=NAME] [scale=...] [KEY=VALUE ...]
                                     before anything runs: FLOPs, memory, time; of a sweep, in all
  ntkrepro status [experiment=NAME] [KEY=VALUE ...]
                                     what is done, running, failed, missing
  ntkrepro figures [4 S2 ...] [scale=...] [KEY=VALUE ...]
                                     draw figures from records, check the paper's claims
  ntkrepro report [scale=...]        write results/report/SCALE/index.html and results/claims.md
  ntkrepro reproduce [scale=...]     run what the report lacks, and report
  ntkrepro list                      experiments and figures
  ntkrepro data [prepare NAME]       what is prepared, and where; prepare MNIST or CIFAR-10

Shell completion:  eval "$(ntkrepro -sc install=bash)"
"""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a run failed, 2 bad input."""
    command, *rest = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(USAGE, end="")
        return
    if command in ("-sc", "--shell-completion"):
        return complete(rest)
    try:
        if command not in COMMANDS:
            raise UserError(f"{command}: no such command; one of {', '.join(COMMANDS)}")
        COMMANDS[command](rest)
    except UserError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def run(arguments: list[str]) -> None:
    """One run, or with -m every point of what the arguments and the experiment's `sweep` list.

    Raises UserError; a failing point doesn't keep the others from being computed.
    """
    from ntkrepro import config

    sys.argv = ["ntkrepro run", *arguments]  # what provenance records, and Hydra reads
    config.refuse_unknown(arguments)
    flags = {word for word in arguments if word.startswith("-")}
    if not flags or not flags <= {"-m", "--multirun"}:
        failed: dict[str, UserError] = {}
        hydra_main(arguments, partial(one, failed=failed))
        for error in failed.values():
            raise error
        return
    words = [word for word in arguments if word not in flags]
    hydra = [word for word in words if word.lstrip("+~").startswith("hydra")]
    words = [word for word in words if word not in hydra]
    points, since = config.expand(words), time.time()
    if hydra:
        launch(points, hydra, partial(worker, words=words, since=since))
        told = {}
    else:
        told = walk(points, since)
    refuse_missing(points, told)
    if hydra:
        print(f"all {len(points)} points are there")


def launch(points: "list[Experiment]", hydra: list[str], task: "Task") -> None:
    """`workers` processes by Hydra's launcher: one job each, all of them walk the same grid."""
    jobs = ",".join(str(i + 1) for i in range(points[0].workers))
    hydra_main(["--multirun", f"workers={jobs}", f"results='{points[0].results}'", *hydra], task)


def worker(composed: "DictConfig", words: list[str], since: float) -> None:
    """One of the processes on a grid. What fails is told at the end by who started it."""
    from ntkrepro import config

    walk(config.expand(words), since)


def one(composed: "DictConfig", failed: dict[str, UserError]) -> None:
    """A single run. Its error goes into `failed`: raised through Hydra it would be told twice."""
    from ntkrepro import config, records

    try:
        point = config.to_experiment(composed)
        failed |= walk([point], time.time())
        records.remove_empty_folders(point)
    except UserError as error:
        failed[""] = error


def walk(points: "list[Experiment]", since: float) -> dict[str, UserError]:
    """Compute the points that have no record yet, tell what each holds; run_id -> why it failed."""
    from ntkrepro import config, records, state, termination
    from ntkrepro.summary import summary

    termination.install()
    names, failed = state.labels(points), {}

    def tell(point: "Experiment", outcome: "Path | UserError") -> None:
        chosen = names[id(point)]
        if isinstance(outcome, UserError):
            failed[config.run_id(point)] = outcome
            if len(points) > 1:
                print(f"error: {outcome} ({chosen})", file=sys.stderr)
            return
        record = records.read(outcome)
        assert record
        print(f"wrote {outcome}{': ' if chosen else ''}{chosen}\n{summary(record)}", flush=True)

    there = [path for point in points if records.is_done(path := records.path_of(point))]
    if len(points) == 1 and there and (record := records.read(there[0])):
        print(f"{there[0]} is there already (same config)\n{summary(record)}")
    elif there:
        print(f"{len(there)} of {len(points)} points are there already", flush=True)
    if not all(records.path_of(point).is_file() for point in points):
        from ntkrepro import grid

        grid.run(points, tell, since)
    state.tidy(points)
    return failed


def refuse_missing(points: "list[Experiment]", told: dict[str, UserError]) -> None:
    """Raises UserError that names every point without a record, and why it has none."""
    from ntkrepro import config, records, state

    names, lines = state.labels(points), []
    for point in points:
        if not records.path_of(point).is_file():
            failure = state.failure(point)
            why = told.get(config.run_id(point)) or (failure and failure.why) or "no process ended"
            lines.append(f"{names[id(point)] or point.name}: {why}")
    if lines:
        first = next(iter(told.values()), RunFailed())
        head = f"{len(lines)} of {len(points)} points failed; run again to retry them"
        raise type(first)("\n  ".join([head, *lines]))


def status(arguments: list[str]) -> None:
    """What is done, running (where, since when), failed (why) and missing."""
    from ntkrepro import config, state

    refuse = [word for word in arguments if "=" not in word]
    if refuse:
        raise UserError(f"status {refuse[0]}: takes KEY=VALUE, as run does")
    named = any(word.startswith("experiment=") for word in arguments)
    for name in [None] if named else config.experiments():
        points = config.expand([*arguments, *([f"experiment={name}"] if name else [])])
        for group in state.by_experiment(points):
            print(state.table(group))


def hydra_main(arguments: list[str], task: "Task") -> None:
    """`@hydra.main` over `task`, with Hydra's and its launchers' errors told our way.

    Raises UserError.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from ntkrepro import config

    config.register()
    sys.argv[1:] = arguments
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises where it would print and exit
    entry = hydra.main(version_base="1.3", config_path=str(config.configs_dir()), config_name="run")
    try:
        entry(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(config.explain(error, arguments)) from error
    except OSError as error:  # hydra.sweep.dir
        raise RunFailed(f"can't write the results folder: {error}") from error
    except Exception as error:
        if not from_launcher(error):
            raise
        text = "; ".join(str(error).strip().splitlines()[:2])
        raise RunFailed(f"the launcher failed, finished points are kept: {text}") from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if asked is not None:
            os.environ["HYDRA_FULL_ERROR"] = asked


def from_launcher(error: Exception) -> bool:
    """Whether a launcher raised it: a cluster that refuses the jobs, a worker that was killed."""
    frames = [frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)]
    return any(name.startswith("hydra_plugins.") for name in frames)


def plan(arguments: list[str]) -> None:
    """What a run, or an experiment's sweep, will cost. Raises UserError like the run."""
    from ntkrepro import config
    from ntkrepro.plan import report

    print(report(config.expand([w for w in arguments if w not in ("-m", "--multirun")])))


def figures(arguments: list[str]) -> None:
    """Draw the named figures (all, if none is named) and print their claims."""
    from ntkrepro.figures import draw

    names = [word for word in arguments if "=" not in word]
    draw(names, [word for word in arguments if "=" in word])


def report(arguments: list[str]) -> None:
    """Write the report of a scale, and the claims of all."""
    from ntkrepro import report

    report.report(arguments)


def reproduce(arguments: list[str]) -> None:
    """Compute what the report of a scale lacks, then report: in one process, as both read the same
    grids. What fails keeps nothing else from being computed or shown.
    """
    from ntkrepro import report

    sys.argv = ["ntkrepro reproduce", *arguments]  # what provenance records
    points, since = report.points(arguments), time.time()
    told, code = walk(points, since), 0
    try:
        refuse_missing(points, told)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    report.report(arguments)
    sys.exit(code)


def list_all(arguments: list[str]) -> None:
    """Experiments with the first line of what each shows, and figures."""
    if arguments:
        raise UserError(f"list {' '.join(arguments)}: takes no arguments")
    from ntkrepro.figures import FIGURES
    from ntkrepro.listing import listing

    print(listing(FIGURES))


def data(arguments: list[str]) -> None:
    """Show the data sets, or prepare one."""
    from ntkrepro import data as sets

    where = next(
        (word.partition("=")[2] for word in arguments if word.startswith("data.dir=")), None
    )
    words = [word for word in arguments if "=" not in word]
    if not words:
        print(f"TFDS folder: {sets.folder(where)}")
        for line in sets.status(where):
            print(f"  {line}")
    elif words[0] == "prepare" and len(words) == 2:
        print(sets.prepare(words[1], where))
    else:
        raise UserError(f"data {' '.join(words)}: usage is `ntkrepro data [prepare NAME]`")


def complete(arguments: list[str]) -> None:
    """Hydra's shell completion, for the words after `run`."""
    line = os.environ.get("COMP_LINE", "")
    if line.startswith("ntkrepro run"):
        os.environ["COMP_LINE"] = line.replace("ntkrepro run", "ntkrepro", 1)
        os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", len(line))) - len(" run"))
    elif line:
        begun = line.split(" ")[-1]
        print(" ".join(name for name in COMMANDS if name.startswith(begun)))
        return
    hydra_main(["-sc", *arguments], lambda composed: None)


COMMANDS = {
    "run": run,
    "plan": plan,
    "status": status,
    "figures": figures,
    "report": report,
    "reproduce": reproduce,
    "list": list_all,
    "data": data,
}
