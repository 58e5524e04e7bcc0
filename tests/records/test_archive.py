"""Small records in one file come back when they are asked for, once, and never over another."""

import io
import shutil
import tarfile

import pytest

from ntkrepro.config.compose import compose
from ntkrepro.errors import RunFailed
from ntkrepro.records import archive, store
from ntkrepro.sweep.attempt import Attempt


@pytest.fixture
def folder(digits, tmp_path):
    """A results/runs that has an archive of the default experiment's record, and nothing else."""
    folder = tmp_path / "results/runs"
    folder.mkdir(parents=True)
    shutil.copy(digits, folder)
    archive.pack(folder, [digits.name])
    (folder / digits.name).unlink()
    again()
    return folder


def again():
    """Another process."""
    archive._unpack.cache_clear()


def test_a_record_is_read_from_the_archive_bit_by_bit(folder, digits):
    path = folder / digits.name
    assert store.is_done(path)
    assert path.read_bytes() == digits.read_bytes()
    assert store.read(path).rows.equals(store.read(digits).rows)
    assert sorted(p.name for p in folder.iterdir()) == sorted([archive.MARKER, digits.name])


def test_what_was_removed_stays_so_until_the_archive_is_another(folder, digits):
    path = folder / digits.name
    assert store.is_done(path)
    path.unlink()
    again()
    assert not store.is_done(path)
    packed = archive.path_of(folder)
    packed.write_bytes(packed.read_bytes() + bytes(512))
    again()
    assert store.is_done(path)


def test_what_is_there_is_kept(folder, digits):
    path = folder / digits.name
    path.write_bytes(b"mine")
    archive.unpack(folder)
    assert path.read_bytes() == b"mine"


def test_an_attempt_sees_what_is_in_the_archive(folder, digits):
    run = compose(["scale=smoke", f"results={folder.parent}"])
    assert run.path == folder / digits.name
    assert Attempt.begin([run]).is_done(run)
    again()
    assert not Attempt.begin([run], force=True).is_done(run)


def test_nothing_but_records_comes_out(folder, digits, tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as packed:
        for name in ("../0123456789abcdef.parquet", "x.py", "0123456789abcdef.parquet"):
            packed.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("1123456789abcdef.parquet")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    archive.path_of(folder).write_bytes(content.getvalue())
    archive.unpack(folder)
    found = {p.name for p in tmp_path.rglob("*") if p.is_file() or p.is_symlink()}
    assert found == {archive.MARKER, "0123456789abcdef.parquet", "runs.tar.xz"}


@pytest.mark.parametrize("damage", [lambda b: b[:200], lambda b: b"x" + b[1:], lambda b: b""])
def test_a_damaged_archive_is_told(folder, digits, damage):
    packed = archive.path_of(folder)
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(RunFailed, match=r"can't unpack .*runs.tar.xz into .*runs: "):
        store.read(folder / digits.name)


def test_the_same_records_are_the_same_bytes(folder, digits):
    first = archive.path_of(folder).read_bytes()
    archive.unpack(folder)
    assert archive.pack(folder, [digits.name]).read_bytes() == first
