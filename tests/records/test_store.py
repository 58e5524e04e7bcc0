import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.config.identity import RECORDS_VERSION, flat
from ntkrepro.errors import RunFailed
from ntkrepro.records import store
from ntkrepro.records.summary import summary
from tests.conftest import TINY

# not in a record: where and in which portions it was computed
HERE = ("results", "data.dir", "data.path", "sweep", "checkpoint", "pack", "workers")


@pytest.fixture
def copy(digits, tmp_path):
    """The digits' record in a folder of its own."""
    path = tmp_path / digits.name
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
    assert [path.name for path in copy.parent.iterdir()] == [copy.name + ".corrupt"]
    assert f"{copy} is damaged" in capsys.readouterr().err


def test_a_flipped_bit_never_changes_a_value(copy):
    whole, rows = copy.read_bytes(), store.read(copy).rows
    for place in np.random.default_rng(0).integers(len(whole), size=60):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        copy.write_bytes(damaged)
        record = store.read(copy)
        assert record is None or record.rows.equals(rows)


def test_a_record_of_another_config_is_not_taken_for_this_one(copy):
    """Metadata that say another width, or a file put under another run's name."""
    table, whole = pq.read_table(copy), copy.read_bytes()
    assert b'"width": 32' in table.schema.metadata[b"config"]
    changed = table.schema.metadata[b"config"].replace(b'"width": 32', b'"width": 33')
    metadata = {**table.schema.metadata, b"config": changed}
    pq.write_table(table.replace_schema_metadata(metadata), copy)
    assert store.read(copy) is None
    elsewhere = copy.with_name(f"{'0' * 16}.parquet")
    elsewhere.write_bytes(whole)
    assert store.read(elsewhere) is None


def test_a_file_where_the_folder_should_be_is_named_and_nothing_remains(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(
        RunFailed, match=rf"can't write {tmp_path}/results/runs/\w+\.parquet: Not a"
    ):
        write(tmp_path / "results")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_failed_write_leaves_what_was_there_and_no_more(tmp_path, monkeypatch):
    def half(table, file, **options):
        file.write(b"PAR1")
        raise OSError(28, "No space left on device")

    path = write(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(pq, "write_table", half)
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
    assert Path(f"{path}.corrupt").read_bytes() == whole[:1000]
    Path(f"{path}.whole").write_bytes(whole)
    once, again = (pq.read_table(p)["value"] for p in (f"{path}.whole", path))
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
    folders = ("results", "data.dir", "hydra.run.dir")
    ntkrepro("run", *TINY, *(f"{key}={tmp_path}/{key}" for key in folders))
    (path,) = (tmp_path / "results/runs").iterdir()
    metadata = b"".join(pq.read_schema(path).metadata.values()).decode()
    assert str(tmp_path) not in metadata
    assert sys.prefix not in metadata
    provenance = json.loads(pq.read_schema(path).metadata[b"provenance"])
    assert provenance["command"] == " ".join(("ntkrepro run", *TINY))
