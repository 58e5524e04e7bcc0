"""The command `ntkrepro`: a thin dispatcher; `run` speaks Hydra. Heavy imports come late."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ntkrepro import signals
from ntkrepro.errors import RunFailed, UserError

if TYPE_CHECKING:
    import argparse

    from omegaconf import DictConfig

    from ntkrepro.config.identity import Run
    from ntkrepro.sweep.attempt import Attempt

    Job = Callable[[DictConfig], None]


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a run failed, 2 bad input; 128 + what signal ended it."""
    try:
        try:
            code = answer(sys.argv[1:] or ["--help"])
        finally:
            print(end="", flush=True)
    except BrokenPipeError:  # who read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)


def answer(words: list[str]) -> int:
    """To the words, and the exit code."""
    try:
        dispatch(*words)
    except UserError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except signals.Stopped as stop:
        kept = f"{stop.kept}; the same command goes on from there"
        print("stopped;", "records are kept" if FORCE in words else kept, file=sys.stderr)
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def dispatch(command: str, *words: str) -> None:
    """To the subcommand, which gets its words as a list; those of `run` are left to Hydra."""
    if command in ("-sc", "--shell-completion"):
        return complete(list(words))
    command = "--help" if command == "help" else command
    if command not in COMMANDS and not command.startswith("-"):
        raise UserError(f"{command}: no such command; one of {', '.join(COMMANDS)}")
    options = [word for word in (command, *words) if word.startswith("-")]
    if command == "run" or not options:
        return COMMANDS[command].call(list(words))
    given, _ = parsed([command, *words])
    if given.version:
        from importlib.metadata import version

        return print(f"ntkrepro {version('ntkrepro')}")
    wrong = [word for word in options if word not in MULTIRUN or command not in COMMANDS]
    if wrong:
        raise UserError(f"{' '.join(wrong)}: no such option; ntkrepro --help")
    return COMMANDS[command].call([word for word in words if word not in MULTIRUN])


def parsed(words: list[str]) -> "tuple[argparse.Namespace, list[str]]":
    """By argparse, which writes the help of all commands and of each; and what it doesn't know."""
    import argparse

    shown = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(
        "ntkrepro", description=ABOUT, epilog=COMPLETION, formatter_class=shown
    )
    whole.add_argument("--version", action="store_true", help="show the version and exit")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.what, description=command.what)
        if command.takes:
            keys = KEYS if KV in command.takes else ""
            own.add_argument("words", nargs="*", metavar=command.takes, help=keys)
    return whole.parse_known_args(words)


def run(words: list[str]) -> None:
    """Compute a record; with -m, each of a grid's.

    Hydra's grammar: -m sweeps over a,b,c and the experiment's own sweep; --cfg job shows the
    config; --help all keys. A failing point doesn't keep the others from being computed. --force
    computes again what is there.
    """
    from ntkrepro.config import compose
    from ntkrepro.records import store
    from ntkrepro.sweep.attempt import Attempt
    from ntkrepro.sweep.walk import refuse_missing, walk

    command, force = ["ntkrepro", "run", *words], FORCE in words
    words = [word for word in words if word != FORCE]
    compose.refuse_unknown(words)
    flags = {word for word in words if word.startswith("-")}
    if not flags or not flags <= set(MULTIRUN):
        composed: list[DictConfig] = []
        hydra_main(words, composed.append)
        for config in composed:
            one = compose.to_run(config)
            failed = walk([one], Attempt.begin([one], command, force))
            store.remove_empty_folders(one)
            for error in failed.values():
                raise error
        return
    overrides = [word for word in words if word not in flags]
    hydra = [word for word in overrides if word.lstrip("+~").startswith("hydra")]
    overrides = [word for word in overrides if word not in hydra]
    runs, told = compose.expand(overrides), {}
    attempt = Attempt.begin(runs, command, force, shared=bool(hydra))
    if hydra:
        launch(runs, hydra, partial(worker, words=overrides, attempt=attempt))
    else:
        told = walk(runs, attempt)
    refuse_missing(runs, attempt, told)
    if hydra:
        print(f"all {len(runs)} points are there")


def launch(runs: "list[Run]", hydra: list[str], job: "Job") -> None:
    """`workers` processes by Hydra's launcher: one job each, all of them walk the same grid."""
    first = runs[0].experiment
    jobs = ",".join(str(i + 1) for i in range(first.workers))
    with signals.forwarded():
        hydra_main(
            ["--multirun", f"workers={jobs}", f"results={quoted(first.results)}", *hydra], job
        )


def quoted(text: str) -> str:
    """In Hydra's grammar, where it is no interpolation either."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text.replace("${", "\\${"), Quote.single).with_quotes()


def worker(composed: "DictConfig", words: list[str], attempt: "Attempt") -> None:
    """One of the processes on a grid. What fails is told at the end by who started it."""
    from ntkrepro.config.compose import expand
    from ntkrepro.sweep.walk import walk

    try:
        walk(expand(words), attempt)
    except signals.Stopped:
        if not signals.is_worker():  # else its end would cost the others theirs
            raise


def hydra_main(arguments: list[str], job: "Job") -> None:
    """`@hydra.main` over `job`, with Hydra's and its launchers' errors told our way.

    Raises UserError.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from ntkrepro.config import compose
    from ntkrepro.config.catalog import configs_dir

    compose.register()
    sys.argv = ["ntkrepro run", *arguments]
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises where it would print and exit
    entry = hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name="run")
    try:
        entry(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(compose.explain(error, arguments)) from error
    except BrokenPipeError:
        raise
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
    from traceback import walk_tb  # 8 ms

    frames = [frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)]
    return any(name.startswith("hydra_plugins.") for name in frames)


def plan(words: list[str]) -> None:
    """What a run, or a sweep, will cost: FLOPs, memory, time, before it runs."""
    from ntkrepro.config.compose import expand
    from ntkrepro.plan.table import report

    print(report(expand(words)))


def status(words: list[str]) -> None:
    """What is done, running (where, since when), failed (why) and missing."""
    from ntkrepro.config.catalog import experiments
    from ntkrepro.config.compose import expand
    from ntkrepro.sweep.status import by_experiment, table

    refuse = [word for word in words if "=" not in word]
    if refuse:
        raise UserError(f"status {refuse[0]}: takes KEY=VALUE, as run does")
    named = any(word.startswith("experiment=") for word in words)
    for own in [()] if named else [(f"experiment={name}",) for name in experiments()]:
        for group in by_experiment(expand([*words, *own])):
            print(table(group))


def figures(words: list[str]) -> None:
    """Draw figures from records (all, if none is named) and check the paper's claims."""
    from ntkrepro.figures.save import draw

    draw([word for word in words if "=" not in word], [word for word in words if "=" in word])


def report(words: list[str]) -> None:
    """Write results/report/SCALE/index.html and results/claims.md."""
    from ntkrepro.report import page

    page.report(words)


def reproduce(words: list[str]) -> None:
    """Run what the report lacks, and report.

    In one process, as both read the same grids. What fails keeps nothing else from being computed
    or shown.
    """
    from ntkrepro.report import page
    from ntkrepro.sweep.attempt import Attempt
    from ntkrepro.sweep.walk import refuse_missing, walk

    runs, code = page.runs(words), 0
    attempt = Attempt.begin(runs, ["ntkrepro", "reproduce", *words])
    told = walk(runs, attempt)
    try:
        refuse_missing(runs, attempt, told)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    page.report(words)
    sys.exit(code)


def list_all(words: list[str]) -> None:
    """Experiments, with the first line of what each shows, and figures."""
    if words:
        raise UserError(f"list {' '.join(words)}: takes no arguments")
    from ntkrepro.config.catalog import listing
    from ntkrepro.figures.catalog import FIGURES

    print(listing())
    print(f"figures (ntkrepro figures NAME): {' '.join(FIGURES)}")


def data(words: list[str]) -> None:
    """What is prepared, and where; prepare MNIST or CIFAR-10."""
    from ntkrepro.data import load, tfds

    folders = [word.partition("=")[2] for word in words if word.startswith("data.dir=")]
    where = folders[0] if folders else None
    asked = [word for word in words if "=" not in word]
    if not asked:
        print(f"TFDS folder: {tfds.folder(where)}")
        for line in load.status(where):
            print(f"  {line}")
    elif asked[0] == "prepare" and len(asked) == 2:
        print(load.prepare(asked[1], where))
    else:
        raise UserError(f"data {' '.join(asked)}: usage is `ntkrepro data [prepare NAME]`")


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


class Command(NamedTuple):
    """A subcommand, the words that it takes, and what it does."""

    call: Callable[[list[str]], None]
    takes: str
    what: str


KV = "KEY=VALUE"
COMMANDS = {
    "run": Command(
        run, KV, "compute a record (Hydra's grammar: -m sweeps, --force reruns, --help: all keys)"
    ),
    "plan": Command(plan, KV, "before anything runs: FLOPs, memory, time; of a sweep, in all"),
    "status": Command(status, KV, "what is done, running, failed, missing"),
    "figures": Command(figures, f"FIGURE|{KV}", "draw from records, check the paper's claims"),
    "report": Command(report, "scale=...", "write results/report/SCALE/ and results/claims.md"),
    "reproduce": Command(reproduce, "scale=...", "run what the report lacks, and report"),
    "list": Command(list_all, "", "experiments and figures"),
    "data": Command(
        data, "prepare NAME|data.dir=FOLDER", "what is prepared, and where; or prepare"
    ),
}
ABOUT = "ntkrepro: does this network train like its linearization?"
KEYS = "experiment=NAME, scale=paper|laptop|smoke, ...; `ntkrepro run --cfg job` shows all keys"
COMPLETION = 'shell completion:  eval "$(ntkrepro -sc install=bash)"'
MULTIRUN = ("-m", "--multirun")  # of run; plan takes it too
FORCE = "--force"  # of run: computes what is there again
