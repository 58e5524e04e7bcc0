"""The real command in an empty folder, the prepared data sets, and records at smoke scale."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ntkrepro.config.compose import expand
from ntkrepro.config.identity import Run
from ntkrepro.data import load, tfds
from ntkrepro.errors import UserError
from ntkrepro.records import archive
from tests import own

TINY = (  # a run of nothing but start-up and compilation
    "data.train=4",
    "data.test=4",
    "model.width=4",
    "model.depth=1",
    "optimizer.steps=2",
    "linearized.analytic=false",
    "log.kernel=false",
)
COMMAND = Path(sys.executable).with_name("ntkrepro")
NOT_INHERITED = ("HYDRA_FULL_ERROR", "TFDS_DATA_DIR", "COMP_LINE", "COMP_POINT", "COLUMNS")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def wait_for(ready: Callable[[], object], seconds: float = 120) -> None:
    """Wait until ready() is true; at most so long, or the test fails."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def pytest_configure(config: pytest.Config) -> None:
    """The committed records lie unpacked before any test, or process of tests, looks for them."""
    if not hasattr(config, "workerinput"):
        archive.unpack(Path(__file__).parents[1] / "results/runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, else one process ends alone with them."""
    items.sort(key=lambda item: item.path.name not in ("test_docs.py", "test_controls.py"))


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder that holds the prepared data sets; skips, saying how to prepare what lacks."""
    try:
        for name in load.TFDS_NAMES:
            tfds.prepared(name, None)
    except UserError as error:
        pytest.skip(str(error))
    return tfds.folder(None).resolve()


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Thousands of compiled programs in one process end in a crash: the system's map count."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of claims' intervals."""
    monkeypatch.setattr("ntkrepro.claims.intervals.RESAMPLES", 50)


@pytest.fixture
def ntkrepro(tmp_path: Path) -> Command:
    """ntkrepro("run", "seed=1", TFDS_DATA_DIR=...): the command in a process of its own."""
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}

    def command(
        *words: str, timeout: float = 300, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(COMMAND), *words],
            cwd=tmp_path,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder: nets.py and own.npz, and no module of it is left behind."""
    (tmp_path / "nets.py").write_text(own.NETS)
    np.savez(tmp_path / "own.npz", **own.ARRAYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr("ntkrepro.networks.own.LOADED", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="session")
def smoke_records(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str], list[Path]]:
    """smoke_records(experiment): the records of its sweep at smoke scale, in one results folder.

    They are computed at the first call, by one of the processes that test beside each other; skips
    where the experiment's data set isn't prepared.
    """
    from ntkrepro.sweep import grid  # JAX: not for tests that do without
    from ntkrepro.sweep.attempt import Attempt

    temporary = tmp_path_factory.getbasetemp()
    results = (temporary if worker_id == "master" else temporary.parent) / "smoke"

    @cache
    def paths(name: str) -> list[Path]:
        runs = expand([f"experiment={name}", "scale=smoke", f"results={results}"])
        failed: list[UserError] = []

        def tell(run: Run, outcome: Path | UserError) -> None:
            if isinstance(outcome, UserError):
                failed.append(outcome)

        grid.compute_missing(runs, tell, Attempt.begin(runs))
        if failed and "ntkrepro data prepare" in str(failed[0]):
            pytest.skip(str(failed[0]))
        assert not failed
        return [run.path for run in runs]

    return paths


@pytest.fixture
def digits(smoke_records: Callable[[str], list[Path]]) -> Path:
    """The record of the default experiment at smoke scale, on embedded data."""
    (path,) = smoke_records("digits")
    return path


@pytest.fixture
def complete(smoke_records: Callable[[str], list[Path]]) -> list[str]:
    """The words of a report whose runs are all there."""
    from ntkrepro.figures.catalog import figure
    from ntkrepro.report.page import NAMES

    needed = sorted({e for name in NAMES for e in figure(name).experiments})
    results = {smoke_records(experiment)[0].parents[1] for experiment in needed}
    return ["scale=smoke", f"results={results.pop()}"]
