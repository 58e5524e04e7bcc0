"""Sweeps through Hydra's launchers: processes of this machine, and a real Slurm.

The Slurm is the one that scripts/slurm.sh starts; .ci/run does, and lets none of these skip.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ntkrepro import cli
from ntkrepro.errors import UserError
from ntkrepro.records import store
from tests.conftest import COMMAND, TINY, wait_for

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts/slurm.sh"
STATE = Path("/run/ntkrepro-slurm")


def slurm(*words: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def queue() -> Callable[[], list[str]]:
    """queue(): the ids of the jobs that wait or run in the Slurm of scripts/slurm.sh."""
    status = subprocess.run([SCRIPT, "status"], capture_output=True, text=True, timeout=60)
    if status.returncode or os.environ.get("SLURM_CONF") != str(STATE / "slurm.conf"):
        pytest.skip('no Slurm of ours here; start it: eval "$(scripts/slurm.sh start)"')
    return lambda: slurm("squeue", "--noheader", "--array", "--format=%i").split()


@pytest.fixture(params=["joblib", "slurm_local"])
def launcher(request: pytest.FixtureRequest) -> str:
    if request.param == "slurm_local":
        request.getfixturevalue("queue")
    return request.param


def test_workers_share_a_grid(ntkrepro, tmp_path, launcher):
    words = ("experiment=digits", "scale=smoke", *TINY, "seed=0,1,2,3", "workers=2")
    done = ntkrepro("run", "-m", *words, f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stderr
    assert "sacct" not in done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"results"}
    found = [store.read(path).config for path in tmp_path.glob("results/runs/*.parquet")]
    assert sorted(config["seed"] for config in found) == [0, 1, 2, 3]
    logs = [path.read_text() for path in tmp_path.glob("results/workers/*.out")]
    if launcher == "slurm_local":
        assert len(logs) == 2
        assert "".join(logs).count("wrote results/runs/") == 4


def test_a_results_folder_of_any_name_reaches_the_workers(ntkrepro, tmp_path):
    folder = "it's, a=$b {c} \\\\ d"
    word = f'results="{folder}"'
    done = ntkrepro("run", "-m", *TINY, "seed=0,1", word, "hydra/launcher=joblib")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {folder}
    assert len(list(tmp_path.glob("*/runs/*.parquet"))) == 2


@pytest.mark.parametrize("mode", [(), ("-m",), ("-m", "hydra/launcher=joblib")])
@pytest.mark.parametrize(("lr", "code"), [("0.1", 2), ("100", 1)])
def test_what_fails_has_the_same_exit_code_everywhere(ntkrepro, tmp_path, mode, lr, code):
    """A network of one's own that doesn't build, and a run that diverges."""
    (tmp_path / "broken.py").write_text("def net(outputs):\n    raise ValueError('no layer')\n")
    diverging = (*TINY, "model.activation=identity", "optimizer.steps=200", f"optimizer.lr={lr}")
    own = ("model=custom", "model.factory=broken:net", "data.train=4", "data.test=4")
    done = ntkrepro("run", *mode, *(own if code == 2 else diverging))
    assert done.returncode == code, done.stderr
    assert ("no layer" if code == 2 else "training diverged") in done.stderr
    assert "Traceback" not in done.stderr


# with Ctrl-C as in a terminal: a shell's background processes inherit that it is ignored
HEARD = "import os, signal as s, sys; s.signal(2, s.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize(
    "mode", [(), ("-m", "seed=0,1", "pack=1", "workers=2", "hydra/launcher=joblib")]
)
@pytest.mark.parametrize("whole", [True, False])
def test_ctrl_c_keeps_the_state_and_says_so(tmp_path, mode, whole):
    """As a terminal sends it, to all of a command's processes; and to the first alone."""
    words = (*mode, *TINY, "optimizer.steps=1000000000", "log.points=4")
    head = subprocess.Popen(
        [sys.executable, "-c", HEARD, COMMAND, "run", *words, "checkpoint=0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    count = 2 if mode else 1
    wait_for(lambda: len(list(tmp_path.rglob("*.checkpoint"))) == count)
    workers = psutil.Process(head.pid).children(recursive=True)
    (os.killpg if whole else os.kill)(head.pid, signal.SIGINT)
    _, told = head.communicate(timeout=60)
    assert head.returncode == 130, told
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("stopped; ")]
    kept = "checkpoints" if mode else r"the checkpoint at step \d+"
    again = "; the same command goes on from there"
    assert re.fullmatch(f"stopped; finished records and {kept} are kept{again}", line)
    assert len(list(tmp_path.rglob("*.checkpoint"))) == count
    wait_for(lambda: not [p for p in workers if p.is_running() and p.status() != "zombie"], 10)


def test_a_worker_that_is_cut_off_goes_on_from_its_checkpoint(tmp_path, queue):
    """Cut off by the signal that the preset asks for before a time limit, then by preemption."""
    words = ("-m", "seed=0,1", "hydra/launcher=slurm_local")
    script = Path(__file__).with_name("cut_off.py")

    def notes() -> list[str]:
        return [path.read_text() for path in sorted(tmp_path.glob("results/[01]"))]

    with subprocess.Popen([sys.executable, script, *words], cwd=tmp_path) as head:
        wait_for(lambda: notes() == ["started", "started"], 60)
        preempted, limited = sorted(queue())
        slurm("scancel", "--signal=TERM", limited)
        wait_for(lambda: notes() == ["started", "done"], 60)
        slurm("scontrol", "requeue", preempted)
        assert head.wait(timeout=120) == 0
    assert notes() == ["done", "done"]
    (batch,) = tmp_path.glob("results/workers/*_submission.sh")
    assert "#SBATCH --signal=TERM@120\n" in batch.read_text()


def test_a_cancelled_worker_is_told_and_stays_cancelled(tmp_path, queue):
    words = (*TINY, "optimizer.steps=1000000000", "seed=0,1", "workers=2")
    words += ("hydra/launcher=slurm_local",)
    head = subprocess.Popen(
        [COMMAND, "run", "-m", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    with head:
        wait_for(lambda: len(queue()) == 2 and list(tmp_path.glob("results/workers/*.out")), 60)
        slurm("scancel", *queue())
        assert head.wait(timeout=120) == 1
        assert head.stderr
        told = head.stderr.read()
    assert "has not produced any output (state: CANCELLED)" in told
    assert "Traceback" not in told
    wait_for(lambda: not queue(), 60)


def test_jobs_that_slurm_refuses_are_told(ntkrepro, queue):
    words = ("run", "-m", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=none_such")
    done = ntkrepro(*words)
    assert done.returncode == 1
    assert "invalid partition specified: none_such" in done.stderr
    assert "Traceback" not in done.stderr


def test_starting_the_slurm_twice_changes_nothing(queue):
    def pids() -> dict[str, str]:
        return {path.stem: path.read_text() for path in STATE.glob("*/*.pid")}

    before = pids()
    assert set(before) == {"munged", "slurmctld", "slurmd"}
    assert f"SLURM_CONF={STATE}/slurm.conf" in slurm(str(SCRIPT), "start")
    assert pids() == before


def test_without_the_launchers_a_grid_says_what_to_install(monkeypatch):
    cli.refuse_without_plugins(["hydra/launcher=joblib"])
    monkeypatch.setattr(cli, "LAUNCHERS", ("hydra-nowhere",))
    with pytest.raises(
        UserError, match=r"=slurm: needs hydra-nowhere; pip install 'ntkrepro\[cluster\]'"
    ):
        cli.refuse_without_plugins(["hydra.launcher.x=1", "hydra/launcher=slurm"])
    cli.refuse_without_plugins(["hydra.launcher.x=1", "hydra/launcher=basic"])
