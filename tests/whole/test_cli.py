"""The real command, in a process of its own: what it answers, and every row of bad input."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ntkrepro.cli import COMMANDS
from ntkrepro.config.catalog import experiments
from ntkrepro.config.schema import DataSet
from ntkrepro.config.words import quoted
from ntkrepro.figures.catalog import FIGURES
from tests.conftest import COMMAND, TINY

DIVERGING = ("model.activation=identity", "optimizer.steps=200", "optimizer.lr=100")
NO_TENSORFLOW = pytest.mark.skipif(bool(find_spec("tensorflow")), reason="TensorFlow is here")
KERNELS = "run experiment=kernel_convergence data.name=gaussian data.classes=[positive,negative]"


def refused(done, *told, code=2):
    """The exit code, and an explanation in place of a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr[done.stderr.index("error: ") :]
    assert [words for words in told if words not in error] == []


def names(folder):
    return {path.name for path in folder.iterdir()}


def loaded(tmp_path, *words, **environment):
    """Which of the slow modules a command loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ntkrepro", *words],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    slow = {"jax", "flax", "hydra", "omegaconf", "matplotlib", "pandas", "tensorflow_datasets"}
    return slow & {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",), ("list",)])
def test_help_and_list_load_nothing_slow(tmp_path, words):
    assert loaded(tmp_path, *words) == set()


def test_completion_and_figures_do_without_jax(tmp_path, digits):
    line = "ntkrepro run model."
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    assert not loaded(tmp_path, "-sc", "query=bash", **asked) & {"jax", "flax", "matplotlib"}
    results = digits.parents[1]
    drawing = loaded(tmp_path, "figures", "digits", "scale=smoke", f"results={results}")
    assert "matplotlib" in drawing
    assert not drawing & {"jax", "flax", "tensorflow_datasets"}


def test_list_names_every_experiment_and_figure(ntkrepro):
    lines = ntkrepro("list").stdout.splitlines()
    for name in experiments():
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1
    assert lines[-1].split(": ")[1].split() == list(FIGURES)


def test_help_names_every_command(ntkrepro):
    done = ntkrepro("--help")
    for command in COMMANDS:
        assert f"\n    {command}" in done.stdout
    assert ntkrepro().stdout == done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_own_help(ntkrepro, command):
    done = ntkrepro(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"ntkrepro {command}" in done.stdout


def test_the_package_is_the_command_and_has_its_version(ntkrepro):
    words = [sys.executable, "-m", "ntkrepro", "list"]
    assert subprocess.check_output(words, text=True) == ntkrepro("list").stdout
    assert ntkrepro("--version").stdout == f"ntkrepro {version('ntkrepro')}\n"


def test_run_help_and_cfg_answer_without_running(ntkrepro, tmp_path):
    assert "fc_cifar_standard" in ntkrepro("run", "--help").stdout
    shown = ntkrepro("run", "experiment=fc_cifar", "scale=paper", "--cfg", "job").stdout
    assert "  width: 2048\n" in shown
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ntkrepro run experiment=", [f"experiment={name}" for name in experiments()]),
        ("ntkrepro run seed=1 model.wi", ["model.width="]),
        ("ntkrepro fi", ["figures"]),
    ],
)
def test_completion(ntkrepro, line, offered):
    done = ntkrepro("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert done.stdout.split() == offered


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_completion_in_bash(tmp_path):
    """The line of `ntkrepro --help`, then what bash does at a Tab."""
    script = """
        eval "$(ntkrepro -sc install=bash)"
        COMP_LINE="ntkrepro run scale=s" COMP_CWORD=2 COMP_POINT=20
        $(complete -p ntkrepro | grep -o '[a-z_]*completion')
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = os.pathsep.join((str(COMMAND.parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": path}
    done = subprocess.check_output(["bash", "-c", script], cwd=tmp_path, env=environment, text=True)
    assert done.split() == ["scale=smoke"]


def test_data_lists_every_set_and_how_to_prepare_it(ntkrepro, tmp_path):
    done = ntkrepro("data", TFDS_DATA_DIR=str(tmp_path))
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert set(lines) == {name.name for name in DataSet}
    assert lines["digits"] == "built in"
    assert str(tmp_path) in lines["mnist"]
    assert "ntkrepro data prepare mnist" in lines["mnist"]


def test_data_says_what_is_prepared_and_where(ntkrepro, tfds_dir):
    done = ntkrepro("data", f"data.dir={tfds_dir}")
    assert f"prepared in {tfds_dir}/cifar10" in done.stdout
    assert "train 50000, test 10000" in done.stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("fly", ["fly: no such command; one of", ", ".join(COMMANDS)]),
        ("--fly", ["--fly: no such option", "ntkrepro --help"]),
        ("plan --fly", ["--fly: no such option", "ntkrepro plan --help"]),
        ("figures 99", ["99", ", ".join(FIGURES)]),
        ("list all", ["list all: takes no arguments"]),
        ("data prepare imagenet", ["imagenet", "mnist, cifar10"]),
        pytest.param("data prepare cifar10", ["ntkrepro[prepare]"], marks=NO_TENSORFLOW),
        ("data fetch", ["data fetch", "ntkrepro data [prepare NAME]"]),
        ("status digits", ["status digits: takes KEY=VALUE"]),
        ("run experiment=digitz", ["experiment=digitz", "did you mean digits?"]),
        ("run -m experiment=digits,digitz", ["experiment=digitz", "did you mean digits?"]),
        ("run model.widht=3", ["model.widht", "did you mean model.width"]),
        ("run model.activation=rellu", ["model.activation=rellu", "relu, tanh, erf"]),
        ("run -m model.activation=relu,tanhh", ["activation=tanhh", "relu, tanh, erf"]),
        ("run model.width=wide", ["model.width=wide", "Integer"]),
        ("run model.width=64,128", ["model.width=64,128", "-m"]),
        ("run model.width=0", ["model.width=0", "1 to 10,000,000"]),
        ("run -m model.width=4,0,-1,5", ["model.width=0: must be", "model.width=-1: must be"]),
        ("run data.train=241", ["data.train=241", "at most 240"]),
        ("run --fly", ["--fly: no such option", "ntkrepro run --help"]),
        ("run --resolve", ["--cfg", "must be job, hydra or all"]),
        ("run --experimental-rerun x", ["--experimental-rerun: no such option"]),
        ("run -m --cfg job", ["--cfg shows the config of one run; leave out -m"]),
        ("run --cfg job -p modle", ["modle: no such key; did you mean model"]),
        ("run hydra=1", ["hydra: no such key"]),
        ("run hydra.mode=MULTIRUN", ["must be hydra/launcher=NAME"]),
        ("run hydra/launcher=joblib", ["hydra/launcher=joblib", "add -m"]),
        ("run -m seed=0,1 hydra/launcher=nope", ["hydra/launcher/nope"]),
        ("run --config-dir nowhere", ["--config-dir nowhere: no experiment/NAME.yaml"]),
        ("run --config-dir", ["--config-dir: needs FOLDER"]),
        ("-sc", ["-sc takes install|uninstall|query=SHELL"]),
        ("data dir=3", ["data dir=3: usage is"]),
        ("status sed=3", ["sed: no such key; did you mean seed"]),
        ("run data.name=mnist 'data.dir=\"~nouser\"'", ["no prepared data set in ~nouser/mnist"]),
        ("run model.width=1000000", ["model.width=1000000", "GiB", "lower model.width"]),
        (f"{KERNELS} data.train=1000000", ["data.train=1000000", "GiB", "lower data.train"]),
    ],
)
def test_bad_input_is_refused_at_once_before_anything_is_written(ntkrepro, tmp_path, line, told):
    refused(ntkrepro(*shlex.split(line), timeout=60), *told)
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("words", "flag", "told"),
    [
        ("run", "JAX_PLATFORMS=nope", "JAX finds no such device here; unset JAX_PLATFORMS, or"),
        ("run", "JAX_DEFAULT_DEVICE=tpu", "JAX finds no such device here; unset JAX_DEFAULT_D"),
        ("run", "JAX_DEFAULT_DEVICE=x", "JAX refuses it (jax.default_device must be"),
        ("plan", "JAX_ENABLE_X64=maybe", "JAX refuses it (invalid truth value 'maybe'"),
        ("plan", "JAX_SERIALIZATION_VERSION=x", "JAX refuses it (invalid literal for int()"),
        ("run -m seed=0,1 hydra/launcher=joblib", "JAX_DEBUG_NANS=x", "JAX refuses it (invalid"),
    ],
)
def test_what_jax_refuses_of_the_environment_is_told(ntkrepro, tmp_path, words, flag, told):
    name, _, value = flag.partition("=")
    refused(ntkrepro(*words.split(), *TINY, **{name: value}), f"{flag}: {told}")
    assert not list(tmp_path.rglob("*.parquet"))


def test_an_ascii_terminal_is_told_what_it_can_show(ntkrepro):
    done = ntkrepro("run", "results=données", PYTHONIOENCODING="ascii")
    refused(done, "donn\\xe9es", "quote the text")


def test_status_walks_on_past_an_experiment_that_refuses_a_word(ntkrepro):
    done = ntkrepro("status", "log.train=2000")
    assert done.returncode == 0, done.stderr
    assert "fc_mnist (laptop): 0 done" in done.stdout
    assert "digits: none; log.train=2000: must be null (all) or 1 to data.train=" in done.stdout


def test_experiments_of_ones_own_outside_the_checkout(ntkrepro, tmp_path):
    """Seen by every command that takes an experiment, and named in what it tells to type."""
    mine = tmp_path / "it's mine/experiment/mine.yaml"
    mine.parent.mkdir(parents=True)
    text = "# @package _global_\n# Mine.\nname: mine\nsweep:\n  - seed: [3, 4]\n"
    mine.write_text(text)
    own = ("--config-dir", str(mine.parents[1]), "experiment=mine")
    assert "  mine                 Mine." in ntkrepro("list", *own[:2]).stdout
    assert (
        "mine (laptop): 0 done, 0 running, 0 failed, 2 missing" in ntkrepro("status", *own).stdout
    )
    assert ntkrepro("run", "--cfg", "job", *own).stdout.startswith("name: mine\n")
    lacks = ntkrepro("figures", "custom", *own, *TINY)
    refused(lacks, "missing 2 of 2 runs")
    _, *words = shlex.split(lacks.stderr.rpartition(": ")[2])
    done = ntkrepro(*words)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("results/runs/*.parquet"))) == 2
    mine.write_text(f"{text}model: [")
    refused(ntkrepro("run", *own), "mine.yaml")
    mine.write_text(text.partition("\n")[2])
    refused(ntkrepro("run", *own), "its first line must be `# @package _global_`")


def test_plan_tells_the_cost_of_a_run_and_writes_nothing(ntkrepro, tmp_path):
    done = ntkrepro("plan", *TINY)
    assert done.returncode == 0, done.stderr
    for told in ("steps, network", "start-up", "in all", "fits: "):
        assert told in done.stdout
    assert not names(tmp_path)


def test_a_traceback_is_there_for_whoever_asks(ntkrepro):
    done = ntkrepro("run", "model.width=0", HYDRA_FULL_ERROR="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "UserError: model.width=0: must be 1 to" in done.stderr


def test_a_data_set_that_is_not_prepared_is_told_at_once(ntkrepro, tmp_path):
    """Where it looked and what prepares it; a download or a retry loop would take minutes."""
    here = tmp_path / "tfds"
    here.mkdir()
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = ntkrepro("run", "experiment=fc_cifar", TFDS_DATA_DIR=str(here), timeout=30, **nowhere)
    refused(done, "data.name=cifar10", str(here), "ntkrepro data prepare cifar10", "data.dir=")
    assert names(tmp_path) == {"tfds"}
    assert not names(here)


@pytest.mark.parametrize(
    ("form", "told"), [("array_record", "can't read tfds/cifar10"), ("tfrecord", "tfrecord")]
)
def test_a_prepared_folder_that_cannot_be_read_is_told_at_once(
    ntkrepro, tmp_path, tfds_dir, form, told
):
    """Without its files, and in a format that asks for TensorFlow."""
    (original,) = (tfds_dir / "cifar10").iterdir()
    copy = tmp_path / "tfds/cifar10" / original.name
    copy.mkdir(parents=True)
    shutil.copy(original / "features.json", copy)
    info = json.loads((original / "dataset_info.json").read_text()) | {"fileFormat": form}
    (copy / "dataset_info.json").write_text(json.dumps(info))
    done = ntkrepro("run", "experiment=fc_cifar", "data.dir=tfds", timeout=30)
    refused(done, "data.name=cifar10", "tfds/cifar10", told, "ntkrepro data prepare cifar10")
    assert "builder_kwargs" not in done.stderr
    assert names(tmp_path) == {"tfds"}


@pytest.mark.parametrize(
    ("figure", "overrides"),
    [("digits", TINY), ("S3", ("scale=smoke", "samples=4", "model.depth=1", "data.train=3"))],
)
def test_missing_records_come_with_the_command_that_makes_them(
    ntkrepro, tmp_path, figure, overrides
):
    """Followed to the letter, it leads to the figure."""
    missing = ntkrepro("figures", figure, *overrides)
    refused(missing, "missing")
    assert not names(tmp_path)
    program, *words = shlex.split(missing.stderr.rpartition(": ")[2])
    assert program == "ntkrepro"
    done = ntkrepro(*words)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == {"results"}
    assert ntkrepro("figures", figure, *overrides).returncode == 0
    assert len(list((tmp_path / "results/figures").rglob("*.png"))) == 1


def test_a_run_that_is_there_is_not_computed_again(ntkrepro, digits):
    before = digits.stat().st_mtime_ns
    done = ntkrepro("run", "scale=smoke", f"results={digits.parents[1]}")
    assert f"{digits} is there already" in done.stdout
    assert "x critical" in done.stdout
    assert digits.stat().st_mtime_ns == before


def test_divergence_ends_the_run_with_the_rate_over_the_critical_one(ntkrepro, tmp_path):
    """A linear network far above the critical rate overflows."""
    done = ntkrepro("run", *TINY, *DIVERGING)
    refused(done, "diverged between step", "optimizer.lr=100 is 1", "critical", code=1)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_results_folder_that_cannot_be_written_is_told_before_training(ntkrepro, tmp_path):
    """Not after hours of it: this training would diverge."""
    (tmp_path / "taken").touch()
    done = ntkrepro("run", *TINY, *DIVERGING, "results=taken")
    refused(done, "can't write", "taken", code=1)
    assert names(tmp_path) == {"taken"}


def test_a_damaged_record_is_never_drawn(ntkrepro, tmp_path, digits):
    copy = tmp_path / "results/runs" / digits.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(digits.read_bytes()[:-100])
    done = ntkrepro("figures", "digits", "scale=smoke")
    refused(done, "ntkrepro run experiment=digits scale=smoke")
    assert f"results/runs/{digits.name} is damaged" in done.stderr
    assert names(tmp_path / "results/unfinished") == {f"{copy.stem}.corrupt"}
    assert not Path(tmp_path, "results/figures").exists()


@pytest.mark.parametrize("line", ["list", "run --help", "run --cfg job", "status", "run"])
def test_who_stops_reading_ends_the_command_without_a_word(tmp_path, line):
    """As `| head` does."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [str(COMMAND), *line.split(), *(TINY if line == "run" else ())]
    with os.fdopen(writer) as closed:
        done = subprocess.run(words, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@given(st.text(st.sampled_from("a'\"\\$ ,={}[]():~.é\n")).filter(lambda text: text.strip() == text))
def test_a_results_folder_reaches_the_launcher_as_it_is(text):
    """Through Hydra's grammar and OmegaConf's, whatever its characters."""
    (override,) = OverridesParser.create().parse_overrides([f"results={quoted(text)}"])
    assert OmegaConf.create({"results": override.value()}).results == text


def test_a_full_disk_behind_stdout_is_told(ntkrepro):
    """/dev/full refuses every byte."""
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} list > /dev/full"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device\n"
