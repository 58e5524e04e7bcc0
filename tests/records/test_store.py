import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.config.identity import RECORDS_VERSION, flat
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.files import BLANK, sealed
from ntkrepro.records import store
from ntkrepro.records.rows import rows
from ntkrepro.records.summary import summary
from ntkrepro.sweep import locks, status
from ntkrepro.sweep.attempt import Attempt
from ntkrepro.sweep.grid import compute_missing
from ntkrepro.training import checkpoint
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]

# not in a record: where and in which portions it was computed
HERE = ("results", "data.dir", "data.path", "model.files", "model.params", "sweep")
HERE += ("checkpoint", "pack", "workers")


@pytest.fixture
def copy(digits, tmp_path):
    """The digits' record in a folder of its own."""
    path = tmp_path / "runs" / digits.name
    path.parent.mkdir()
    path.write_bytes(digits.read_bytes())
    return path


def write(results):
    """A record of one row of a run that never was."""
    rows = pd.DataFrame(
        {"step": [3], "model": "network", "quantity": "loss", "split": "test", "index": [0]}
    )
    run = compose([f"results={results}", "optimizer.lr=0.5"])
    store.write(run, rows.assign(value=1.0), {})
    return run.path


def test_the_schema_is_what_the_docstring_promises(digits):
    columns = {field.name: str(field.type) for field in pq.read_schema(digits)}
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert columns == {
        "run": text,
        "step": "int32",
        "time": "double",
        "model": text,
        "quantity": text,
        "split": text,
        "index": "int32",
        "value": "double",
    }


def test_pandas_reads_it_without_this_package(digits):
    frame = pd.read_parquet(digits)
    assert isinstance(frame["model"].dtype, pd.CategoricalDtype)
    network = frame[(frame["model"] == "network") & (frame["quantity"] == "loss")]
    losses = network[network["split"] == "train"].sort_values("step")["value"]
    assert losses.iloc[-1] < 0.2 * losses.iloc[0]


def test_time_is_the_rate_times_the_step(digits):
    rows = store.read(digits).rows
    assert rows["step"].max() == 32
    assert (rows["time"] == 0.1 * rows["step"]).all()


def test_the_metadata_hold_the_config_and_what_it_was_computed_with(digits):
    metadata = pq.read_schema(digits).metadata
    assert {b"config", b"provenance", b"records_version"} <= set(metadata)
    assert metadata[b"records_version"] == str(RECORDS_VERSION).encode()
    stored = pd.json_normalize(json.loads(metadata[b"config"])).to_dict("records")[0]
    chosen = flat(compose(["scale=smoke"]).experiment)
    assert stored == {key: chosen[key] for key in chosen if key not in HERE}
    provenance = json.loads(metadata[b"provenance"])
    assert {"jax", "numpy", "ntkrepro"} <= set(provenance["versions"])
    assert {"commit", "device", "started", "seconds", "data"} <= set(provenance)


def test_a_record_from_before_a_key_was_there_is_still_told(digits):
    record = store.read(digits)
    older = {
        key: value for key, value in record.config.items() if key not in ("program", "samples")
    }
    assert summary(record._replace(config=older)) == summary(record)


def test_a_run_that_never_was_is_none(tmp_path):
    assert store.read(tmp_path / "0.parquet") is None


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[50:]])
def test_a_damaged_record_is_set_aside(copy, capsys, damage):
    copy.write_bytes(damage(copy.read_bytes()))
    assert store.read(copy) is None
    assert not list(copy.parent.iterdir())
    assert [path.name for path in copy.parents[1].glob("unfinished/*")] == [f"{copy.stem}.corrupt"]
    assert f"{copy} is damaged" in capsys.readouterr().err


CHANGES = {
    "renamed": lambda table: table.rename_columns(
        ["run", "step", "time", "model", "quantity", "split", "value", "index"]
    ),
    "halved": lambda table: table[: len(table) // 2],
    "doubled": lambda table: pa.concat_tables([table, table]),
    "another seed": lambda table: about(table, b"config", b'"seed": 0', b'"seed": 1'),
    "another rate": lambda table: about(table, b"provenance", b'"lr": 0.1', b'"lr": 0.2'),
    "nothing": lambda table: table,  # as other bytes: what they hold is not compared
}


def about(table, entry, before, after):
    metadata = dict(table.schema.metadata)
    assert before in metadata[entry]
    metadata[entry] = metadata[entry].replace(before, after)
    return table.replace_schema_metadata(metadata)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("look", [store.read, store.is_done])
def test_a_record_that_was_written_anew_by_others_is_set_aside(copy, change, look):
    """With the seal of what it was before."""
    seal = pq.read_metadata(copy).metadata[b"digest"].decode()
    table = change(pq.read_table(copy))
    with pq.ParquetWriter(copy, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"digest": seal})
    assert not look(copy)
    assert not copy.exists()


def test_a_record_under_another_run_s_name_is_set_aside(copy):
    elsewhere = copy.with_name(f"{'0' * 16}.parquet")
    elsewhere.write_bytes(copy.read_bytes())
    assert store.read(elsewhere) is None


def unsealed(copy):
    """As records were before there were seals."""
    pq.write_table(pq.read_table(copy, columns=store.ROWS.names), copy)
    return copy.read_bytes()


@pytest.mark.parametrize("look", [store.read, store.is_done])
def test_a_record_from_before_there_were_seals_is_told_and_stays(copy, look):
    before = unsealed(copy)
    with pytest.raises(UserError, match=rf"seal_records.py {copy.parent}`"):
        look(copy)
    assert copy.read_bytes() == before


def test_records_from_before_there_were_seals_get_them(copy):
    record, before = store.read(copy), unsealed(copy)
    broken = copy.with_name(f"{'0' * 16}.parquet")
    broken.write_bytes(before)
    Path(f"{broken}.corrupt").touch()
    script = [sys.executable, str(ROOT / "scripts/seal_records.py"), str(copy.parent)]
    seen = set()
    for told in ("1 records sealed, 1 damaged", "0 records sealed, 1 damaged"):
        done = subprocess.run(script, capture_output=True, text=True)
        assert (done.returncode, broken.read_bytes()) == (1, before)
        assert told in done.stdout
        seen.add(copy.read_bytes())
    assert len(seen) == 1
    assert sorted(copy.parent.iterdir()) == sorted([copy, broken])
    assert (copy.parents[1] / "unfinished" / f"{broken.stem}.corrupt").exists()
    again = store.read(copy)
    pd.testing.assert_frame_equal(again.rows, record.rows, check_exact=True)
    assert again[1:] == record[1:]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("look", [store.read, store.is_done])
def test_what_keeps_a_record_from_being_read_is_told_and_it_stays(copy, look, number, monkeypatch):
    def refuse(path, *args, **options):
        raise OSError(number, os.strerror(number), str(path))

    before = copy.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(RunFailed, match=f"can't read {copy}: {os.strerror(number)}"):
            look(copy)
    assert copy.read_bytes() == before
    assert look(copy)


def test_pandas_reads_the_folder_whatever_else_there_is(tmp_path):
    """A failed point, one on its way, a damaged record; each row knows its run."""
    words = [*TINY, f"results={tmp_path}", "model.activation=identity", "optimizer.steps=200"]
    good, bad, lost = (compose([*words, f"optimizer.lr={lr}"]) for lr in (0.01, 100, 0.02))
    runs = [good, bad, lost]
    compute_missing(runs, lambda run, outcome: None, Attempt.begin(runs))
    assert status.failure(bad)
    lost.path.write_bytes(lost.path.read_bytes()[:-1])
    assert store.read(lost.path) is None
    with locks.claimed([bad.beside("lock")]), sealed(bad.path) as file:
        checkpoint.save(bad.beside("checkpoint"), bad.id, 1, None, {})
        frame = pd.read_parquet(tmp_path / "runs")
        file.write(BLANK)
    assert frame["run"].unique().tolist() == [good.id]
    pd.testing.assert_frame_equal(frame[store.ROWS.names], store.read(good.path).rows)


def test_the_rate_comes_from_the_rows(copy):
    record = store.read(copy)
    assert record._replace(provenance={}, config={}).lr == 0.1
    rows = record.rows.assign(time=0.25 * record.rows["step"])
    assert record._replace(rows=rows).lr == 0.25


def test_a_file_where_the_folder_should_be_is_named_and_nothing_remains(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(
        RunFailed, match=rf"can't write {tmp_path}/results/runs/\w+\.parquet: Not a"
    ):
        write(tmp_path / "results")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_failed_write_leaves_what_was_there_and_no_more(tmp_path, monkeypatch):
    def half(writer, table):
        own(writer, table)
        raise OSError(28, "No space left on device")

    path = write(tmp_path)
    before, own = path.read_bytes(), pq.ParquetWriter.write_table
    monkeypatch.setattr(pq.ParquetWriter, "write_table", half)
    with pytest.raises(RunFailed, match=rf"can't write {path}: No space left on device"):
        write(tmp_path)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_is_named_and_nothing_remains(tmp_path):
    """On a real file system of 16 KiB; skips where none can be mounted."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        (tmp_path / "runs").mkdir()
        (tmp_path / "full").write_bytes(bytes(16384))
        with pytest.raises(RunFailed, match=rf"can't write {tmp_path}.*: No space left on device"):
            write(tmp_path)
        assert not list((tmp_path / "runs").iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_truncated_record_is_computed_again_to_the_same_bytes(ntkrepro, tmp_path):
    """Two fresh processes, same config: the `value` column is the same, bit for bit."""
    first = ntkrepro("run", *TINY)
    (path,) = (tmp_path / "results/runs").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    second = ntkrepro("run", *TINY)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert f"warning: {path.relative_to(tmp_path)} is damaged" in second.stderr
    aside = tmp_path / "results/unfinished" / f"{path.stem}.corrupt"
    assert aside.read_bytes() == whole[:1000]
    aside.write_bytes(whole)
    once, again = (pq.read_table(p)["value"] for p in (aside, path))
    assert once.equals(again)


@pytest.mark.skipif(joblib.cpu_count() == 1, reason="one core: one thread")
def test_fewer_threads_in_the_environment_change_no_bit(ntkrepro, tfds_dir, tmp_path):
    """As Hydra's launchers ask for in their workers: of LAPACK's, on inputs in their span."""
    words = ("experiment=rmse_fc_data", "model.width=4", "data.train=256", "optimizer.steps=1")
    seen = []
    for threads in ({}, {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}):
        done = ntkrepro("run", *words, TFDS_DATA_DIR=str(tfds_dir), **threads)
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / "results/runs").glob("*.parquet")
        seen.append(pq.read_table(path)["value"])
        path.unlink()
    assert seen[0].equals(seen[1])


def test_no_folder_of_this_machine_is_in_a_record(ntkrepro, tmp_path):
    folders = ("results", "data.dir")
    ntkrepro("run", *TINY, *(f"{key}={tmp_path}/{key}" for key in folders))
    (path,) = (tmp_path / "results/runs").iterdir()
    metadata = b"".join(pq.read_schema(path).metadata.values()).decode()
    assert str(tmp_path) not in metadata
    assert sys.prefix not in metadata
    provenance = json.loads(pq.read_schema(path).metadata[b"provenance"])
    assert provenance["command"] == " ".join(("ntkrepro run", *TINY))


def test_the_summary_says_what_leaps_took(digits):
    """Of a run by leaps alone; an ensemble's older record doesn't tell how many."""
    record = store.read(digits)
    assert "leaps" not in summary(record)
    optimizer = record.config["optimizer"] | {"solver": "leaps", "tolerance": 0.02}
    leapt = record._replace(config=record.config | {"optimizer": optimizer})
    assert summary(leapt).splitlines()[-1] == "by leaps, tolerance 0.02"
    spent = {"linearizations": [3.0, 17.0], "gradients": [5.0, 40.5]}
    frames = [rows("network", name, [0, 32], values) for name, values in spent.items()]
    told = summary(leapt._replace(rows=pd.concat([record.rows, *frames])))
    assert told.splitlines()[-1] == (
        "by leaps, tolerance 0.02: 17 linearizations, worth 40.5 gradients (32 steps)"
    )
