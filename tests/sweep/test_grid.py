"""Grids: killed, shared, failing, on a full disk; packs and early ends."""

import itertools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.config import identity
from ntkrepro.config.catalog import experiments
from ntkrepro.config.compose import compose, expand
from ntkrepro.config.identity import Run
from ntkrepro.config.schema import Experiment
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.sweep import grid, locks, packs, status
from ntkrepro.sweep.attempt import Attempt
from ntkrepro.sweep.grid import compute_missing
from ntkrepro.sweep.walk import refuse_missing
from tests.conftest import COMMAND, TINY, wait_for

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_runs.py"
LONG = (  # seconds of training, a checkpoint at each look
    *("data.train=64", "data.test=8", "model.width=256", "model.depth=3", "log.points=12"),
    *("linearized.analytic=false", "log.kernel=false", "optimizer.steps=6000", "checkpoint=0"),
)


def start(folder, *words):
    return subprocess.Popen(
        [str(COMMAND), "run", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def others(folder):
    """Files beside the records."""
    found = {*folder.rglob("results/runs/*"), *folder.rglob("results/unfinished/*")}
    return {path.name for path in found if path.suffix != ".parquet"}


def rows(folder):
    return {path.name: store.read(path).rows for path in folder.rglob("*.parquet")}


def tiny(tmp_path, *words):
    return compose([*TINY, f"results={tmp_path}/results", *words])


def run_grid(runs, attempt=None):
    """compute_missing: the outcome told of each run."""
    told = {}
    tell = lambda run, outcome: told.update({run.id: outcome})  # noqa: E731
    compute_missing(runs, tell, attempt or Attempt.begin(runs))
    return [told.get(run.id) for run in runs]


@pytest.mark.slow
def test_killed_at_random_moments_a_grid_writes_the_same_bits(tfds_dir):
    """The script that does it 50 times."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "4"],
        env=os.environ | {"TFDS_DATA_DIR": str(tfds_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "4 x SIGKILL" in done.stdout
    assert "0 records lost, 0 with different bits, 0 files left" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_cut_off_in_training_goes_on_from_its_checkpoint(tmp_path, sent, ntkrepro):
    """And not from the start: the step that is stored rises from one kill to the next."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    assert start(whole, *LONG).wait() == 0
    steps = []
    for _ in range(2):
        process = start(cut, *LONG)
        before = steps[-1] if steps else 0
        wait_for(lambda before=before: stored_step(cut) > before)
        process.send_signal(sent)
        assert process.wait() == (143 if sent is signal.SIGTERM else -signal.SIGKILL)
        steps.append(stored_step(cut))
    assert 0 < steps[0] < steps[1] < 6000
    assert start(cut, *LONG).wait() == 0
    (name, one), (other, two) = *rows(whole).items(), *rows(cut).items()
    assert name == other
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not others(cut)


def stored_step(folder):
    for path in folder.rglob("*.checkpoint"):
        with np.load(path) as file:
            return int(file["step"])
    return 0


@pytest.mark.slow
def test_four_processes_share_a_grid(tmp_path):
    """Forty points, each computed exactly once."""
    words = ("-m", *TINY, "model.width=4,5,6,7", "seed=range(0,10)", "pack=2")
    processes = [start(tmp_path, *words) for _ in range(4)]
    texts = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, texts
    wrote = [path for text in texts for path in re.findall(r"wrote (\S+\.parquet)", text)]
    assert len(wrote) == len(set(wrote)) == 40
    assert sum("wrote" in text for text in texts) > 1
    assert len(rows(tmp_path)) == 40
    assert not others(tmp_path)


@pytest.mark.slow
def test_a_dead_process_s_run_is_taken_over(tmp_path):
    """By one that was waiting for it."""
    first = start(tmp_path, "-m", *LONG)
    wait_for(lambda: stored_step(tmp_path))
    first.send_signal(signal.SIGSTOP)  # it holds its lock, however fast the machine
    second = start(tmp_path, "-m", *LONG)
    time.sleep(3)
    asked = subprocess.run([COMMAND, "status", *LONG], cwd=tmp_path, capture_output=True, text=True)
    assert "0 done, 1 running" in asked.stdout
    assert f"(process {first.pid}) since 20" in asked.stdout
    first.kill()
    first.wait()
    assert second.wait() == 0
    assert len(rows(tmp_path)) == 1
    assert not others(tmp_path)


def test_what_failed_is_told_at_the_end_and_tried_again(ntkrepro, tmp_path):
    """The points that can be computed are, and are not computed again."""
    words = ("-m", *TINY, "model.activation=identity", "optimizer.steps=200", "pack=1")
    words = (*words, "optimizer.lr=0.01,100", "seed=0,1")
    for again in (False, True):
        done = ntkrepro("run", *words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        end = done.stderr[done.stderr.index("error: 2 of 4 points failed; run again") :]
        assert end.count("optimizer.lr=100.0: training diverged between") == 2
        assert done.stdout.count("wrote") == (0 if again else 2)
        assert ("2 of 4 points are there already" in done.stdout) == again
    told = ntkrepro("status", *words[1:]).stdout
    assert "2 done, 0 running, 2 failed, 0 missing" in told
    assert told.count("training diverged") == 2


def test_a_pack_leaves_out_those_that_diverge(tmp_path):
    words = ["model.activation=identity", "optimizer.steps=200"]
    points = [tiny(tmp_path, *words, f"optimizer.lr={lr}") for lr in (0.01, 100, 0.02)]
    assert packs.packs(points) == [points]
    attempt = Attempt.begin(points)
    good, bad, other = run_grid(points, attempt)
    assert isinstance(bad, RunFailed)
    assert "optimizer.lr=100" in str(bad)
    assert good.is_file()
    assert other.is_file()
    assert status.failure(points[1]).why == str(bad)
    assert run_grid(points, attempt) == [None, None, None]  # failed in this attempt: not again


def test_leaps_are_taken_alone(tmp_path):
    """Each run at its own pace, however many a pack is asked to have."""
    for words, sizes in ((["optimizer.solver=leaps"], [1, 1, 1]), ([], [3])):
        points = [tiny(tmp_path, "pack=3", *words, f"seed={seed}") for seed in range(3)]
        assert [len(pack) for pack in packs.packs(points)] == sizes


@pytest.mark.parametrize(
    "words",
    [
        ("optimizer.momentum=0.9",),
        ("optimizer.batch=2", "linearized.space=weights"),
        ("optimizer.name=adam", "log.kernel=true", "data.subspace=false", "data.augment=true"),
        ("optimizer.layer_rates=S33", "loss.name=xent", "data.targets=onehot"),
        ("optimizer.train=readout", "optimizer.momentum=0.9"),
    ],
)
def test_members_of_a_pack_are_the_runs_they_would_be_alone(tmp_path, words):
    """To rounding: initial parameters, batches, augmentation and rates are each one's own."""
    words = ("data.train=6", "optimizer.steps=8", "model.width=16", *words)
    points = [
        tiny(tmp_path / "pack", *words, f"seed={seed}", f"optimizer.lr={lr}")
        for seed, lr in itertools.product((0, 1), (0.1, 0.02))
    ]
    together = [store.read(path) for path in run_grid(points)]
    assert [record.provenance["pack"] for record in together] == [4] * 4
    for point, record in zip(points, together, strict=True):
        point = replace(point.experiment, results=str(tmp_path / "alone"))
        alone = store.read(compute(Run.of(point)))
        assert alone.provenance["pack"] == 1
        keys = ["step", "time", "model", "quantity", "split", "index"]
        both = record.rows.merge(alone.rows, on=keys, suffixes=("", "_alone"))
        assert len(both) == len(record.rows) == len(alone.rows)
        assert np.abs(both["value"] - both["value_alone"]).max() < 1e-4
    finals = [r.rows[r.rows["quantity"] == "output"]["value"].to_numpy() for r in together]
    for one, two in itertools.combinations(finals, 2):
        assert np.abs(one - two).max() > 1e-3


def test_a_member_that_is_missing_gets_the_bits_of_its_pack(tmp_path):
    points = [tiny(tmp_path, f"seed={seed}") for seed in range(3)]
    paths = run_grid(points)
    before = store.read(paths[1]).rows
    paths[1].unlink()
    kept = paths[0].stat().st_mtime_ns
    assert run_grid(points) == [None, paths[1], None]
    pd.testing.assert_frame_equal(store.read(paths[1]).rows, before, check_exact=True)
    assert paths[0].stat().st_mtime_ns == kept


def test_packs_hold_what_differs_in_seed_or_rate_alone(tmp_path):
    points = [
        tiny(tmp_path, f"seed={seed}", f"optimizer.lr={lr}", f"model.width={width}")
        for width, seed, lr in itertools.product((4, 8), range(6), (0.1, 0.2))
    ]
    whole = packs.packs(points)
    assert [len(pack) for pack in whole] == [12, 12]
    assert [{p.experiment.model.width for p in pack} for pack in whole] == [{4}, {8}]
    for point in points:
        point.experiment.pack = 5
    assert [len(pack) for pack in packs.packs(points)] == [5, 5, 2] * 2
    cnn = ("model.architecture=cnn", "data.subspace=false")
    alone = packs.packs([tiny(tmp_path, *cnn, f"seed={seed}") for seed in (0, 1)])
    assert [len(pack) for pack in alone] == [1, 1]


def test_a_damaged_record_is_set_aside_and_computed_again(ntkrepro, tmp_path):
    words = ("run", "-m", *TINY, "seed=0,1")
    assert ntkrepro(*words).returncode == 0
    path = sorted((tmp_path / "results/runs").iterdir())[0]
    before = store.read(path).rows
    path.write_bytes(path.read_bytes()[:-50])
    done = ntkrepro(*words)
    assert f"results/runs/{path.name} is damaged" in done.stderr
    assert done.stdout.count("wrote") == 1
    pd.testing.assert_frame_equal(store.read(path).rows, before, check_exact=True)
    assert others(tmp_path) == {f"{path.stem}.corrupt"}


def test_records_of_another_version_stay_and_are_not_taken_for_these(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(identity, "RECORDS_VERSION", 1)
        older.setattr(store, "RECORDS_VERSION", 1)
        old = compute(tiny(tmp_path))
    point = tiny(tmp_path)
    assert status.of(point) == ("missing", "")
    new = compute(point)
    assert old != new
    assert status.of(point) == ("done", "")
    assert [store.read(path) is not None for path in (old, new)] == [True, True]


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 64 KiB; skips where it can't be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_a_run_with_its_path_and_nothing_else(ntkrepro, small_disk):
    big = ("data.train=117", "data.test=117", "log.points=64", "optimizer.steps=64")
    words = ("run", "-m", *TINY, "seed=0,1", f"results={small_disk}")
    assert ntkrepro(*words).returncode == 0
    before = {path: path.read_bytes() for path in small_disk.rglob("*.parquet")}
    done = ntkrepro(*words, *big)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"can't write {small_disk}/runs/" in done.stderr
    assert "No space left on device" in done.stderr
    assert {path: path.read_bytes() for path in small_disk.rglob("*.parquet")} == before
    left = [*(small_disk / "runs").iterdir(), *(small_disk / "unfinished").iterdir()]
    assert not [p for p in left if p.suffix in (".lock", "")]


def test_a_disk_too_small_for_checkpoints_alone_ends_no_run(ntkrepro, small_disk):
    words = ("run", *TINY, "model.width=256", "model.depth=2", "checkpoint=0")
    done = ntkrepro(*words, f"results={small_disk}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: ") == done.stderr.count("No space left on device") == 1
    assert "; training goes on, but starts over if it is cut off" in done.stderr
    assert {path.suffix for path in small_disk.rglob("*.*")} == {".parquet"}


def test_on_a_disk_that_may_only_be_read_a_damaged_record_is_told_and_stays(ntkrepro, small_disk):
    words = (*TINY, f"results={small_disk}")
    assert ntkrepro("run", *words).returncode == 0
    (path,) = small_disk.glob("runs/*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    damaged = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (("run",), ("run", "-m"), ("figures", "custom")):
        done = ntkrepro(*command, *words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        told = f"error: {path} is damaged (its bytes are not those that were written) and can't be"
        assert done.stderr.count(told) == done.stderr.count("\n") == 1, done.stderr
        assert path.read_bytes() == damaged
    assert {p.name for p in small_disk.rglob("*") if p.is_file()} == {path.name}


def test_a_folder_that_may_only_be_read_is_told_before_training(ntkrepro, small_disk):
    words = ("run", *TINY, f"results={small_disk}")
    assert ntkrepro(*words).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "is there already" in ntkrepro(*words).stdout
    done = ntkrepro(*words, "seed=1", "optimizer.lr=100", "model.activation=identity")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"can't write {small_disk}/runs" in done.stderr


def test_what_was_left_beside_finished_records_is_removed(ntkrepro, tmp_path):
    """By a process that was killed between its last record and its end."""
    words = ("run", "-m", *TINY, "seed=0,1")
    assert ntkrepro(*words).returncode == 0
    for path in (tmp_path / "results/runs").glob("*.parquet"):
        (path.parent / f".{path.stem}.abc").touch()
        for name in (f"{path.stem}.lock", f"{path.stem}.checkpoint", f".{path.stem}.abc"):
            (tmp_path / "results/unfinished" / name).touch()
    assert len(others(tmp_path)) == 6  # two names in both folders
    assert "2 of 2 points are there already" in ntkrepro(*words).stdout
    assert not others(tmp_path)


def test_status_counts_every_experiment_and_imports_no_jax(ntkrepro):
    lines = ntkrepro("status").stdout.splitlines()
    assert [line.split()[0] for line in lines] == experiments()
    done = ntkrepro("status", "everything")
    assert done.returncode == 2
    assert "everything" in done.stderr


def test_a_lock_is_free_when_its_process_is_gone(tmp_path):
    path = tmp_path / "runs" / "x.lock"
    with locks.claimed([path]) as ours:
        assert ours
        with locks.claimed([path]) as again:
            assert not again
        assert re.search(r"\(process \d+\) since 20", locks.holder(path))
    assert locks.holder(path) is None
    assert not path.exists()
    path.write_text(json.dumps({}))  # left by a process that was killed
    assert locks.holder(path) is None
    with locks.claimed([path]) as ours:
        assert ours


def test_a_run_ends_at_its_floor_or_plateau(tmp_path):
    words = ["data.train=8", "model.width=64", "optimizer.steps=4096", "log.points=25"]
    words += ["optimizer.lr_over_critical=0.5"]
    whole, floor, flat = (
        store.read(compute(tiny(tmp_path, *words, *more)))
        for more in ([], ["optimizer.stop=1e-4"], ["optimizer.plateau=0.5"])
    )
    losses = {name: losses_of(r) for name, r in (("w", whole), ("s", floor), ("p", flat))}
    assert losses["w"].index[-1] == 4096
    for name, short in (("s", losses["s"]), ("p", losses["p"])):
        assert 0 < short.index[-1] < 4096, name
        assert (losses["w"][short.index] == short).all(), "the same run up to there"
    assert losses["s"].iloc[-1] < 1e-4 <= losses["s"].iloc[-2]
    last = losses["p"].index[-1]
    half = losses["w"][losses["w"].index <= last / 2].iloc[-1]
    assert abs(losses["p"].iloc[-1] / half - 1) < 0.5


def losses_of(record):
    rows = record.rows
    chosen = rows[(rows.model == "network") & (rows.quantity == "loss") & (rows.split == "train")]
    return chosen.set_index("step")["value"]


def test_the_rate_is_the_asked_fraction_of_the_measured_critical_one(tmp_path):
    record = store.read(compute(tiny(tmp_path, "optimizer.lr_over_critical=0.25")))
    rows = record.rows
    critical = rows[rows["quantity"] == "lr_critical"]["value"].item()
    assert record.lr == pytest.approx(0.25 * critical, rel=1e-12)
    assert record.lr == record.provenance["lr"] != record.config["optimizer"]["lr"]
    assert np.allclose(rows["time"], record.lr * rows["step"], rtol=1e-12)


def test_without_a_stored_kernel_lanczos_finds_the_same_critical_rate(tmp_path, monkeypatch):
    from ntkrepro.programs import setup

    words = ["optimizer.lr_over_critical=0.5", "linearized.space=weights", "data.train=12"]
    stored = store.read(compute(tiny(tmp_path / "stored", *words))).lr
    monkeypatch.setattr(setup, "FUNCTION_SPACE", 4)
    free = store.read(compute(tiny(tmp_path / "free", *words))).lr
    assert free == pytest.approx(stored, rel=1e-4)
    assert free != stored


def test_a_point_is_named_by_its_experiment_and_what_differs_within_it():
    points = expand(["experiment=digits,fc_cifar", "scale=smoke", "seed=0,1"])
    names = list(status.labels(points).values())
    assert names == ["digits seed=0", "digits seed=1", "fc_cifar seed=0", "fc_cifar seed=1"]
    assert list(status.labels(points[:2]).values()) == ["seed=0", "seed=1"]
    assert list(status.labels(points[:1]).values()) == [""]


CLOCK = """
import os, time
now = time.time
time.time = lambda: now() + float(os.environ["AHEAD"])
"""


@pytest.fixture
def clock(tmp_path):
    """clock(years): the environment of a process whose clock is so far ahead."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")])
    return lambda years: {"PYTHONPATH": path, "AHEAD": str(years * 365 * 86400)}


@pytest.mark.parametrize("years", [10, -10])
def test_a_failure_under_another_clock_is_tried_again_and_told(ntkrepro, tmp_path, clock, years):
    """Each time, whatever the times of the notes and of their files."""
    words = ("run", *TINY, "model.activation=identity", "optimizer.steps=200", "optimizer.lr=100")
    for ahead in (0, years, 0):
        done = ntkrepro(*words, **clock(ahead))
        assert done.returncode == 1
        assert "training diverged" in done.stderr
        (note,) = tmp_path.rglob("*.failed")
        os.utime(note, (time.time() + years * 365 * 86400,) * 2)
    told = ntkrepro("status", "experiment=digits", *words[1:]).stdout
    assert told.startswith("digits (laptop): 0 done, 0 running, 1 failed, 0 missing")


@settings(deadline=None, max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_a_note_that_says_something_else_is_none(value):
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Experiment(), "x", Path(folder, "runs", "x.parquet"))
        run.beside("failed").parent.mkdir()
        notes = [value, {"why": "x", "code": f"{value}", "nonce": "y"}]
        notes += [dict.fromkeys(("why", "code", "nonce", "at"), value), {"at": "now", "why": "x"}]
        notes += [{"why": "x", "code": True, "nonce": "y"}]
        for note in [*(json.dumps(note).encode() for note in notes), b"[" * 10**5, b"\xff"]:
            run.beside("failed").write_bytes(note)
            assert status.of(run) == ("missing", "")


def test_a_failure_keeps_its_kind_and_is_of_the_attempt_that_it_came_in(tmp_path):
    run = tiny(tmp_path)
    for error in (RunFailed("diverged"), UserError("data.train=0")):
        before = Attempt.begin([run])
        status.fail(run, error)
        found = before.failure(run)
        assert (type(found.error()), str(found.error())) == (type(error), str(error))
        assert Attempt.begin([run]).failure(run) is None
        assert before.failure(run) == found


@pytest.fixture
def beside(tmp_path):
    """beside(words): two processes with the same words, the first stopped as soon as its run has a
    file called `what`, the second when it has told that it waits; then both outputs."""
    processes = []

    def outputs(what, *words):
        for name in ("first", "second"):
            with open(tmp_path / name, "w") as log:
                command = [str(COMMAND), "run", *words]
                processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log))
            if name == "first":
                wait_for(lambda: list(tmp_path.rglob(f"*.{what}")))
                processes[0].send_signal(signal.SIGSTOP)
        waits = f"waiting for {platform.node()} (process {processes[0].pid}) since 20"
        wait_for(lambda: waits in (tmp_path / "second").read_text())
        processes[0].send_signal(signal.SIGCONT)
        codes = [process.wait(timeout=120) for process in processes]
        theirs, ours = ((tmp_path / name).read_text() for name in ("first", "second"))
        assert ours.count("waiting for") == 1
        return codes, theirs, ours

    yield outputs
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1", "pack=1")])
def test_who_waits_says_for_whom_and_what_was_found(beside, sweep):
    codes, theirs, ours = beside("checkpoint", *sweep, *LONG)
    assert codes == [0, 0]
    path = theirs.partition("wrote ")[2].split()[0]
    if sweep:
        assert "1 of 2 points are there now, of another process" in ours
    else:
        assert f"{path.rstrip(':')} is there now, of another process (same config)" in ours
        assert "x critical" in ours


def test_what_another_process_failed_at_is_told_as_its_failure(beside):
    words = ("model.activation=identity", "optimizer.steps=200", "optimizer.lr=100")
    codes, theirs, ours = beside("lock", *TINY, *words)
    assert codes == [1, 1]
    why = theirs.partition("error: ")[2].strip()
    assert "optimizer.lr=100" in why
    assert f"error: another process failed at it: {why}" in ours


@pytest.mark.parametrize("words", [("seed=0",), ("-m", "seed=0,1,2", "pack=2")])
def test_force_computes_again_what_is_there(ntkrepro, tmp_path, words):
    count = 3 if "-m" in words else 1
    assert ntkrepro("run", *TINY, *words).returncode == 0
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*.parquet")}
    old = rows(tmp_path)
    assert len(before) == count
    done = ntkrepro("run", "--force", *TINY, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote") == count
    assert "already" not in done.stdout
    assert all(path.stat().st_ino != inode for path, inode in before.items())
    for name, again in rows(tmp_path).items():
        pd.testing.assert_frame_equal(again, old[name], check_exact=True)
    assert not others(tmp_path)


def test_a_forced_attempt_computes_each_run_once_in_all_of_its_processes(tmp_path):
    points = [tiny(tmp_path, f"seed={seed}") for seed in range(3)]
    paths = run_grid(points)
    attempt = Attempt.begin(points, force=True)
    assert not any(map(attempt.is_done, points))
    assert run_grid(points, attempt) == paths
    assert run_grid(points, attempt) == [None] * 3


def test_a_forced_run_that_fails_keeps_its_record_and_is_told(tmp_path, monkeypatch):
    """And is tried again by the next."""
    points = [tiny(tmp_path, f"seed={seed}", "pack=1") for seed in (0, 1)]
    before = [path.read_bytes() for path in run_grid(points)]
    attempt = Attempt.begin(points, force=True)
    with monkeypatch.context() as broken:
        broken.setattr("ntkrepro.programs.run.store.write", full_disk)
        assert [str(error) for error in run_grid(points, attempt)] == ["disk full"] * 2
    assert [point.path.read_bytes() for point in points] == before
    with pytest.raises(RunFailed, match=r"2 of 2 points failed(?s:.*)seed=1: disk full"):
        refuse_missing(points, attempt, {})
    assert run_grid(points, Attempt.begin(points, force=True)) == [p.path for p in points]


def full_disk(*_):
    raise RunFailed("disk full")


def test_a_forced_run_starts_over(tmp_path):
    """What its file was cut off with was computed by what has changed since."""
    point = tiny(tmp_path)
    point.beside("blocks").mkdir(parents=True)
    for path in (point.beside("checkpoint"), point.beside("blocks") / "0-1.npy"):
        path.touch()
    Attempt.begin([point])
    assert point.beside("checkpoint").is_file()
    with locks.claimed([point.beside("lock")]):
        Attempt.begin([point], force=True)  # another process's, which is at it
    assert point.beside("checkpoint").is_file()
    Attempt.begin([point], force=True)
    assert others(tmp_path) == set()


def test_a_pack_is_named_by_its_first_run_and_by_which_of_all_it_holds(tmp_path):
    points = [tiny(tmp_path, f"seed={seed}", "pack=2") for seed in range(3)]
    whole = packs.packs(points)
    titles = [grid.Grid(whole, print, Attempt()).title(pack) for pack in whole]
    assert titles == ["digits seed=0, 1 to 2 of 3", "digits seed=2, 3 of 3"]
    assert grid.Grid([points[:1]], print, Attempt()).title(points[:1]) == "digits"


def test_whoever_holds_any_run_of_a_pack_is_told_once(tmp_path, capsys):
    """And again when it changes; by a lock whose content says nothing, too."""
    pack = [tiny(tmp_path, f"seed={seed}") for seed in (0, 1)]
    waiting = grid.Grid([pack], print, Attempt())
    lock = pack[1].beside("lock")
    told = []
    with locks.claimed([lock]):
        for text in (lock.read_text(), lock.read_text(), "[]", '{"host": "b", "pid": 1}', "\0"):
            lock.write_text(text)
            waiting.tell_holders([pack])
            told.append(capsys.readouterr().err)
    assert re.fullmatch(rf"waiting for .* \(process {os.getpid()}\) since 20.*\n", told[0])
    assert told[2] == "waiting for another process, which computes digits seed=0, 1 to 2 of 2\n"
    assert told[1] == told[3] == told[4] == ""
