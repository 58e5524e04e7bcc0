"""The command `ntkrepro`: a thin dispatcher; `run` speaks Hydra. Heavy imports come late."""

import os
import signal
import sys
from contextlib import contextmanager

from ntkrepro import signals
from ntkrepro.errors import RunFailed, UserError

TYPE_CHECKING = False  # typing's own takes half of the time of `ntkrepro --help`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from omegaconf import DictConfig

    from ntkrepro.config.identity import Run
    from ntkrepro.sweep.attempt import Attempt

    Job = Callable[[DictConfig], None]


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a run failed, 2 bad input; 128 + what signal ended it."""
    for stream in (sys.stdout, sys.stderr):  # an ASCII terminal, or a name that is no UTF-8
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = answer(sys.argv[1:] or ["--help"])
    try:
        sys.stdout.flush()
    except OSError:  # told already: what is left has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def answer(words: list[str]) -> int:
    """To the words, and the exit code."""
    try:
        try:
            dispatch(*words)
        finally:
            print(end="", flush=True)
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
    except BrokenPipeError:  # who read has read enough
        return 128 + signal.SIGPIPE
    except OSError as error:  # a folder that can't be searched, a full disk behind stdout
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        return RunFailed.exit_code
    return 0


def dispatch(command: str, *words: str) -> None:
    """To the subcommand, which gets its words as a list, and of its options those that it takes."""
    if command in ("-sc", "--shell-completion"):
        return complete(list(words))
    if command in ("help", "-h", "--help"):
        return print(help_of_all())
    if command == "--version":
        from importlib.metadata import version

        return print(f"ntkrepro {version('ntkrepro')}")
    if command not in COMMANDS:
        kind = "option" if command.startswith("-") else "command"
        raise UserError(f"{command}: no such {kind}; one of {', '.join(COMMANDS)}; ntkrepro --help")
    given, rest = options_of(command, list(words))
    if "help" in given:
        return print(help_of(command))
    if folder := given.pop("config_dir", ""):
        from ntkrepro.config import catalog

        catalog.use(folder)
    with jax_refusals():
        COMMANDS[command].call(rest, **given)


def options_of(command: str, words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options among a command's words, by the names of their parameters, and the others."""
    known = {short: name for name, (short, *_) in OPTIONS.items()} | {n: n for n in OPTIONS}
    given, rest, todo = {}, [], iter(words)
    for word in todo:
        option, equals, value = word.partition("=")
        name = known.get(option, "")
        if not word.startswith("-"):
            rest.append(word)
            continue
        if name not in (*COMMANDS[command].options, "--help") or bool(equals) > bool(
            OPTIONS[name][1]
        ):
            raise UserError(f"{word}: no such option; ntkrepro {command} --help")
        if OPTIONS[name][1] and not (value := value or next(todo, "")):
            raise UserError(f"{word}: needs {OPTIONS[name][1]}; ntkrepro {command} --help")
        given[name.strip("-").replace("-", "_")] = value or "true"
    return given, rest


def help_of_all() -> str:
    """What `ntkrepro --help` prints; argparse alone would take twice the time of all the rest."""
    commands = [f"    {name:10}  {command.what}" for name, command in COMMANDS.items()]
    usage = "usage: ntkrepro [--version] [--help] COMMAND ..."
    return "\n".join([usage, "", ABOUT, "", "commands:", *commands, "", COMPLETION])


def help_of(command: str) -> str:
    """What `ntkrepro COMMAND --help` prints."""
    own = COMMANDS[command]
    lines = [f"usage: ntkrepro {command} [OPTION ...] {f'[{own.takes} ...]' if own.takes else ''}"]
    lines += ["", own.what, "", "options:"]
    for name in (*own.options, "--help"):
        short, value, what = OPTIONS[name]
        lines.append(f"    {', '.join(filter(None, [short, name]))} {value}".ljust(36) + what)
    if command == "run":
        from ntkrepro.config import catalog, keys

        lines += ["", catalog.listing(), "", f"keys (also in {KEYS_PAGE}):", keys.table()]
    elif KV in own.takes:
        lines += ["", KEYS]
    return "\n".join(lines)


def run(
    words: list[str],
    multirun: str = "",
    force: str = "",
    cfg: str = "",
    package: str = "",
    resolve: str = "",
) -> None:
    """Compute a record; with `multirun`, each of a grid's; or show a config.

    A failing point doesn't keep the others from being computed. With `force` what is there is
    computed again.
    """
    from functools import partial

    from ntkrepro.config import catalog, compose
    from ntkrepro.config.words import split_hydra
    from ntkrepro.records import store
    from ntkrepro.sweep.attempt import Attempt
    from ntkrepro.sweep.walk import refuse_missing, walk

    hydra, overrides = split_hydra(words)
    if cfg or package or resolve:
        return show_config(words, multirun, cfg, package, resolve)
    options = [option for option, given in (("-m", multirun), (FORCE, force)) if given]
    command = ["ntkrepro", "run", *options, *words]
    if not multirun:
        if hydra:
            raise UserError(f"{hydra[0]}: starts the processes of a grid; add -m")
        one = compose.compose(overrides)
        failed = walk([one], Attempt.begin([one], command, bool(force)))
        store.remove_empty_folders(one)
        for error in failed.values():
            raise error
        return
    runs, told = compose.expand(overrides), {}
    attempt = Attempt.begin(runs, command, bool(force), shared=bool(hydra))
    if hydra:
        grid = partial(worker, words=overrides, attempt=attempt, folders=catalog.OWN)
        launch(runs, hydra, grid)
    else:
        told = walk(runs, attempt)
    refuse_missing(runs, attempt, told)
    if hydra:
        print(f"all {len(runs)} points are there")


def show_config(words: list[str], multirun: str, cfg: str, package: str, resolve: str) -> None:
    """By Hydra, which also shows its own part."""
    from ntkrepro.config import catalog
    from ntkrepro.config.words import read, refuse_sweeps, refuse_unknown

    if multirun:
        raise UserError("--cfg shows the config of one run; leave out -m")
    if cfg not in ("job", "hydra", "all"):
        raise UserError(f"--cfg {cfg}: must be job, hydra or all")
    if package and not package.startswith("hydra"):
        refuse_unknown(package)
    refuse_sweeps(read(words))
    options = ["--cfg", cfg, *(["--package", package] if package else [])]
    options += ["--resolve"] if resolve else []
    for folder in catalog.OWN:
        options += ["--config-dir", str(folder)]
    hydra_main([*options, *words], lambda composed: None)


def launch(runs: "list[Run]", hydra: list[str], job: "Job") -> None:
    """`workers` processes by Hydra's launcher: one job each, all of them walk the same grid."""
    from ntkrepro.config.words import quoted

    refuse_without_plugins(hydra)
    first = runs[0].experiment
    jobs = ",".join(str(i + 1) for i in range(first.workers))
    with signals.forwarded():
        hydra_main(
            ["--multirun", f"workers={jobs}", f"results={quoted(first.results)}", *hydra], job
        )


def refuse_without_plugins(hydra: list[str]) -> None:
    """Raises UserError for a launcher other than Hydra's own where the others aren't installed."""
    from importlib.metadata import PackageNotFoundError, version

    for word in hydra:
        key, _, name = word.partition("=")
        if key != "hydra/launcher" or name == "basic":
            continue
        try:
            list(map(version, LAUNCHERS))
        except PackageNotFoundError as error:
            told = f"needs {error.name}; pip install 'ntkrepro[cluster]'"
            raise UserError(f"{word}: {told}") from error


def worker(
    composed: "DictConfig", words: list[str], attempt: "Attempt", folders: list[str]
) -> None:
    """One of the processes on a grid. What fails is told at the end by who started it."""
    from ntkrepro.config import catalog
    from ntkrepro.config.compose import expand
    from ntkrepro.sweep.walk import walk

    catalog.OWN[:] = folders
    try:
        with jax_refusals():
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
        raise UserError(compose.explain(error)) from error
    except (BrokenPipeError, UserError):
        raise
    except OSError as error:  # hydra.sweep.dir
        raise RunFailed(f"can't write the results folder: {error}") from error
    except Exception as error:
        if not raised_in(error, "hydra_plugins."):  # a cluster, or a worker that was killed
            raise
        text = "; ".join(str(error).strip().splitlines()[:2])
        raise RunFailed(f"the launcher failed, finished points are kept: {text}") from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if asked is not None:
            os.environ["HYDRA_FULL_ERROR"] = asked


@contextmanager
def jax_refusals() -> "Iterator[None]":
    """What JAX says of the environment when it is imported, as a UserError."""
    try:
        yield
    except Exception as error:
        given = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
        if "jax" in sys.modules or not given or not raised_in(error, "jax."):
            raise
        text = str(error)
        named = [n for n, v in given.items() if n.lower() in text.lower() or repr(v) in text]
        what = " ".join(f"{name}={given[name]}" for name in named or given)
        raise UserError(f"{what}: JAX refuses it ({text}); unset it") from error


def raised_in(error: Exception, package: str) -> bool:
    """Whether it passed through a module whose name begins so."""
    from traceback import walk_tb  # 8 ms

    frames = [frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)]
    return any(name.startswith(package) for name in frames)


def plan(words: list[str], multirun: str = "") -> None:
    """What a run, or what is missing of a sweep, will cost: FLOPs, memory, time."""
    from rich.console import Console

    from ntkrepro.config.compose import expand
    from ntkrepro.records import store

    runs = expand(words)
    missing = [run for run in runs if not store.is_done(run.path)]
    if missing:
        from ntkrepro.plan.table import report  # JAX

        console = Console(markup=False, emoji=False, highlight=False, soft_wrap=False)
        for part in report(missing, len(runs) - len(missing)):
            console.print(part, soft_wrap=isinstance(part, str))
    elif len(runs) > 1:
        print(f"all {len(runs)} runs are there already")
    elif record := store.read(runs[0].path):
        seconds = record.provenance["seconds"]["all"]
        print(f"{runs[0].path} is there already: it took {seconds:.3g} s")


def status(words: list[str], multirun: str = "") -> None:
    """What is done, running (where, since when), failed (why) and missing."""
    from ntkrepro.config.catalog import experiments
    from ntkrepro.config.compose import expand
    from ntkrepro.sweep.status import by_experiment, table

    refuse = [word for word in words if "=" not in word]
    if refuse:
        raise UserError(f"status {refuse[0]}: takes KEY=VALUE, as run does")
    if any(word.lstrip("+").startswith("experiment=") for word in words):
        asked = {"": words}
    else:
        asked = {name: [*words, f"experiment={name}"] for name in experiments()}
    refused = {}
    for name, own in asked.items():
        try:
            for group in by_experiment(expand(own)):
                print(table(group))
        except UserError as error:
            refused[name] = str(error)
    if len(refused) == len(asked):  # what is wrong is the words themselves
        raise UserError(next(iter(refused.values())))
    for name, why in refused.items():
        print(f"{name}: none; {why}")


def figures(words: list[str], multirun: str = "") -> None:
    """Draw figures from records (all, if none is named) and check the paper's claims."""
    from ntkrepro.figures.save import draw

    draw([word for word in words if "=" not in word], [word for word in words if "=" in word])


def report(words: list[str]) -> None:
    """Write results/report/SCALE/index.html and results/claims.md; of a named figure of the user's
    own runs, a page of it."""
    from ntkrepro.report import own, page

    if names := [word for word in words if "=" not in word]:
        return own.report(names, [word for word in words if "=" in word])
    page.report(words)


def bundle(words: list[str], multirun: str = "") -> None:
    """Archive figures, their claims and records for a reader who has nothing else."""
    from ntkrepro.report.bundle import bundle

    print(bundle(words))


def reproduce(words: list[str]) -> None:
    """Run what the report lacks, and report; of a budget=TIME, what takes no longer.

    In one process, as both read the same grids. What fails keeps nothing else from being computed
    or shown.
    """
    from ntkrepro.report import page
    from ntkrepro.sweep.attempt import Attempt
    from ntkrepro.sweep.walk import refuse_missing, walk

    command = ["ntkrepro", "reproduce", *words]
    times = [word.removeprefix("budget=") for word in words if word.startswith("budget=")]
    words = [word for word in words if not word.startswith("budget=")]
    runs, code = page.runs(words), 0
    for text in times[-1:]:
        runs = within(text, runs)
    attempt = Attempt.begin(runs, command)
    told = walk(runs, attempt)
    try:
        refuse_missing(runs, attempt, told)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    page.report(words)
    sys.exit(code)


def within(budget: str, runs: "list[Run]") -> "list[Run]":
    """Those of the runs without a record that a budget has time for; tells of all that are missing
    which."""
    from ntkrepro.plan.budget import choose, seconds_of
    from ntkrepro.records import store

    seconds = seconds_of(budget)
    found = list(choose([run for run in runs if not store.is_done(run.path)], seconds))
    for share in found:
        print(f"{'left out: ' if share.why else ''}{share}", flush=True)
    return [run for share in found if not share.why for run in share.runs]


def verify(words: list[str], seed: str = "0", minutes: str = "5") -> None:
    """Compute some of the report's records again, and compare: exit code 1 where one differs."""
    from rich.console import Console

    from ntkrepro.config.words import quoted
    from ntkrepro.report import page
    from ntkrepro.sweep import verify as checks

    counts = [word for word in words if "=" not in word] or ["3"]
    for name, value in (("N", counts[-1]), ("--seed", seed), ("--minutes", minutes)):
        if not value.isdecimal() or len(counts) > 1:
            raise UserError(f"verify {' '.join(words)}: {name} is one number")
    rest = [word for word in words if "=" in word]
    runs = page.runs(rest)
    chosen = checks.choose(runs, int(counts[0]), int(seed), float(minutes))
    if not chosen:
        raise UserError(f"no record of the report is there that takes less than {minutes} minutes")
    with checks.folder() as folder:
        elsewhere = page.runs([*rest, f"results={quoted(folder)}"])
        found = checks.verify(runs, elsewhere, chosen, ["ntkrepro", "verify", *words])
    Console(markup=False, emoji=False, highlight=False).print(checks.table(runs, found))
    good = sum(one.agrees for one in found)
    print(f"{good} of {len(found)} records are what this code computes")
    sys.exit(good < len(found))


def controls(words: list[str]) -> None:
    """Run what the negative controls lack, and judge them: exit code 1 where a claim doesn't turn.

    They are kept in results/controls.json, which the report shows.
    """
    from ntkrepro.report import controls as checks
    from ntkrepro.report import page
    from ntkrepro.sweep.attempt import Attempt
    from ntkrepro.sweep.walk import refuse_missing, walk

    page.refuse_unknown(words)
    runs = checks.runs(checks.results_of(words))
    attempt = Attempt.begin(runs, ["ntkrepro", "controls", *words])
    refuse_missing(runs, attempt, walk(runs, attempt))
    found = checks.write(words)
    print("\n".join(checks.table(found)))
    good = sum(outcome.turns for outcome in found)
    print(f"{good} of {len(found)} claims hold where they are true, and don't where they are false")
    sys.exit(good < len(found))


def check(words: list[str]) -> None:
    """Whether this machine's device computes what a CPU does in float64: exit code 1, with the rows
    that failed, where it doesn't."""
    from rich.console import Console

    if words:
        raise UserError(f"check {' '.join(words)}: takes no arguments")
    from ntkrepro.plan import check as checks  # JAX

    console, bad = Console(markup=False, emoji=False, highlight=False), []
    console.print(checks.heading())
    for row in checks.rows():
        console.print(checks.shown(row))
        bad += [] if row.good else [f"{row.what}: {row.found}, must be {row.wanted}"]
    if bad:
        raise RunFailed(f"check failed: {'; '.join(bad)}")


def list_all(words: list[str]) -> None:
    """Experiments, with the first line of what each shows, and figures."""
    if words:
        raise UserError(f"list {' '.join(words)}: takes no arguments")
    from ntkrepro.config.catalog import listing
    from ntkrepro.figures.catalog import FIGURES

    print(listing())
    print(f"figures (ntkrepro figures NAME): {' '.join(FIGURES)}")


def data(words: list[str], first: str = "") -> None:
    """What is prepared, and where; prepare MNIST or CIFAR-10, or pack some of it."""
    from ntkrepro.data import load, tfds

    folders = [word.partition("=")[2] for word in words if word.startswith("data.dir=")]
    where = folders[-1] if folders else None
    asked = [word for word in words if not word.startswith("data.dir=")]
    if not asked:
        print(f"TFDS folder: {tfds.folder(where)}")
        for line in load.status(where):
            print(f"  {line}")
    elif asked[0] == "prepare" and len(asked) == 2:
        print(load.prepare(asked[1], where))
    elif asked[0] == "pack" and len(asked) in (2, 3):
        print(load.pack(asked[1], first, "".join(asked[2:]), where))
    else:
        usage = "`ntkrepro data [prepare NAME]` or `ntkrepro data pack NAME --first N [FILE]`"
        raise UserError(f"data {' '.join(asked)}: usage is {usage}")


def complete(arguments: list[str]) -> None:
    """Hydra's shell completion, for the words after `run`."""
    if arguments not in ([f"{verb}={shell}"] for verb in VERBS for shell in SHELLS):
        raise UserError(f"-sc takes {'|'.join(VERBS)}=SHELL, with {', '.join(SHELLS)}")
    line = os.environ.get("COMP_LINE", "")
    if line.startswith("ntkrepro run"):
        os.environ["COMP_LINE"] = line.replace("ntkrepro run", "ntkrepro", 1)
        point = os.environ.get("COMP_POINT", "")
        at = int(point) if point.isdecimal() else len(line)
        os.environ["COMP_POINT"] = str(max(at - len(" run"), 0))
    elif line or arguments[0].startswith("query"):
        begun = line.split(" ")[-1]
        print(" ".join(name for name in COMMANDS if name.startswith(begun)))
        return
    hydra_main(["-sc", *arguments], lambda composed: None)


class Command:
    """A subcommand, the words and the options that it takes, and what it does."""

    def __init__(self, call: "Callable[..., None]", takes: str, what: str, *options: str) -> None:
        self.call, self.takes, self.what, self.options = call, takes, what, options


FORCE = "--force"
LAUNCHERS = ("hydra-joblib-launcher", "hydra-submitit-launcher")
OPTIONS = {  # its short name, what it needs, what it does
    "--multirun": ("-m", "", "every point of what the words and the experiment sweep"),
    FORCE: ("", "", "compute again what is there"),
    "--cfg": ("-c", "job|hydra|all", "show the config, and run nothing"),
    "--package": ("-p", "KEY", "of --cfg: that part alone"),
    "--resolve": ("", "", "of --cfg: with values in place of ${...}"),
    "--config-dir": ("-cd", "FOLDER", "experiments of your own: FOLDER/experiment/NAME.yaml"),
    "--seed": ("", "NUMBER", "which records are drawn; 0 by default"),
    "--minutes": ("", "NUMBER", "that they may have taken together; 5 by default"),
    "--first": ("", "NUMBER", "of `data pack`: examples of each split"),
    "--help": ("-h", "", "show this"),
}
KV, GRID = "KEY=VALUE", ("--multirun", "--config-dir")
COMMANDS = {
    "run": Command(
        run,
        KV,
        "compute a record (Hydra's grammar: -m sweeps, --help shows all keys)",
        *GRID,
        *(FORCE, "--cfg", "--package", "--resolve"),
    ),
    "plan": Command(
        plan, KV, "before anything runs: FLOPs, memory, time; of a sweep, in all", *GRID
    ),
    "status": Command(status, KV, "what is done, running, failed, missing", *GRID),
    "figures": Command(
        figures,
        f"FIGURE|grid x=KEY hue=KEY|{KV}",
        "draw from records, check the paper's claims; draw any grid",
        *GRID,
    ),
    "report": Command(
        report,
        "scale=...|custom KEY=VALUE",
        "write results/report/SCALE/ and results/claims.md; or a page of your own runs",
        "--config-dir",
    ),
    "bundle": Command(
        bundle, f"FIGURE|FILE.zip|{KV}", "archive figures, claims and records (RO-Crate)", *GRID
    ),
    "reproduce": Command(
        reproduce, "scale=...|budget=8h", "run what the report lacks, in such a time, and report"
    ),
    "verify": Command(
        verify, "N|scale=...", "compute N stored records again, and compare", "--seed", "--minutes"
    ),
    "controls": Command(controls, "results=...", "run every claim where it is false, and judge it"),
    "check": Command(check, "", "what this machine's device computes, against a CPU in float64"),
    "list": Command(list_all, "", "experiments and figures", "--config-dir"),
    "data": Command(
        data,
        "prepare NAME|pack NAME|data.dir=FOLDER",
        "what is prepared, and where; prepare, or pack to carry elsewhere",
        "--first",
    ),
}
ABOUT = "ntkrepro: does this network train like its linearization?"
KEYS_PAGE = "docs/keys.md"
KEYS = "experiment=NAME, scale=paper|laptop|smoke, ...; `ntkrepro run --help` lists all keys"
COMPLETION = 'shell completion:  eval "$(ntkrepro -sc install=bash)"'
VERBS, SHELLS = ("install", "uninstall", "query"), ("bash", "fish", "zsh")
