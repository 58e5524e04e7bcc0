"""The command `ntkrepro`: a thin dispatcher; `run` speaks Hydra. Heavy imports come late."""

import os
import sys
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from ntkrepro.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """\
ntkrepro: does this network train like its linearization?

  ntkrepro run [experiment=NAME] [scale=paper|laptop|smoke] [KEY=VALUE ...]
                                     compute a record (Hydra's grammar: -m sweeps over a,b,c;
                                     --cfg job shows the config; --help all keys)
  ntkrepro figures [4 S2 ...] [scale=...] [KEY=VALUE ...]
                                     draw figures from records, check the paper's claims
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
    commands = {"run": run, "figures": figures, "list": list_all, "data": data}
    try:
        if command not in commands:
            raise UserError(f"{command}: no such command; one of {', '.join(commands)}")
        commands[command](rest)
    except UserError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def run(arguments: list[str]) -> None:
    """One run, or with -m a sweep: over what the arguments list, and the experiment's own `sweep`.

    Raises UserError; a failing point of a sweep doesn't keep the others from being computed.
    """
    from ntkrepro import config

    config.refuse_unknown(arguments)
    sweep = [flag for flag in arguments if flag in ("-m", "--multirun")]
    if not sweep:
        return hydra_main(arguments)
    failed = None
    for words in config.sweeps([word for word in arguments if word not in sweep]):
        try:
            multirun(words)
        except UserError as error:
            failed = failed or error
    if failed:
        raise type(failed)(f"the sweep has failed points, first of all {failed}")


def multirun(words: list[str]) -> None:
    """Hydra's sweep of one grid. It writes a file of its own, which nobody reads: not here."""
    with tempfile.TemporaryDirectory() as folder:
        named = any(word.startswith("hydra.sweep.dir=") for word in words)
        hydra_main(["--multirun", *words, *([] if named else [f"hydra.sweep.dir={folder}"])])


def hydra_main(arguments: list[str]) -> None:
    """`@hydra.main` over `task`, with Hydra's errors told our way. Raises UserError."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from ntkrepro import config

    config.register()
    sys.argv = ["ntkrepro run", *arguments]
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises where it would print and exit
    entry = hydra.main(version_base="1.3", config_path=str(config.configs_dir()), config_name="run")
    failed: list[UserError] = []
    try:
        entry(partial(task, failed=failed))()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(config.explain(error, arguments)) from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if asked is not None:
            os.environ["HYDRA_FULL_ERROR"] = asked
    if failed:
        raise failed[0]


def task(composed: "DictConfig", failed: list[UserError]) -> None:
    """One run, or one point of a sweep, whose error is told when it happens.

    The error of a single run goes into `failed`: raised through Hydra it would be told twice.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    try:
        compute(composed, " ".join(hydra.overrides.task))
    except UserError as error:
        if hydra.mode is RunMode.RUN:
            failed.append(error)
            return
        print(f"error: {error} ({' '.join(hydra.overrides.task)})", file=sys.stderr)
        raise


def compute(composed: "DictConfig", chosen: str) -> None:
    """Compute the record of a config unless it is there already, and tell what it holds."""
    from ntkrepro import config, records
    from ntkrepro.progress import progress
    from ntkrepro.summary import summary

    experiment = config.to_experiment(composed)
    path = records.path_of(experiment)
    record = records.read(path)
    if record:
        print(f"{path} is there already (same config): {chosen}")
    else:
        from ntkrepro.experiment import run

        with progress(experiment.name, experiment.optimizer.steps) as tick:
            run(experiment, lambda line: print(line, file=sys.stderr), tick)
        record = records.read(path)
        print(f"wrote {path}: {chosen}")
    assert record
    print(summary(record))


def figures(arguments: list[str]) -> None:
    """Draw the named figures (all, if none is named) and print their claims."""
    from ntkrepro.figures import draw

    names = [word for word in arguments if "=" not in word]
    draw(names, [word for word in arguments if "=" in word])


def list_all(arguments: list[str]) -> None:
    """Experiments with the first line of what each shows, and figures."""
    if arguments:
        raise UserError(f"list {' '.join(arguments)}: takes no arguments")
    from ntkrepro.figures import FIGURES
    from ntkrepro.listing import listing

    print(listing(FIGURES))


def data(arguments: list[str]) -> None:
    """Show the data sets, or prepare one."""
    from ntkrepro import config
    from ntkrepro import data as sets

    where = next(
        (word.partition("=")[2] for word in arguments if word.startswith("data.dir=")), None
    )
    words = [word for word in arguments if "=" not in word]
    if not words:
        print(f"TFDS folder: {sets.folder(where)}")
        for name in config.DataSet:
            print(f"  {name.name:10} {sets.status(name.name, where)}")
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
        print(
            " ".join(
                w for w in ("run", "figures", "list", "data") if w.startswith(line.split(" ")[-1])
            )
        )
        return
    hydra_main(["-sc", *arguments])
