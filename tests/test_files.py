"""Sealed files, and the cache folder."""

import os
import re
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ntkrepro import files
from ntkrepro.errors import warn_once
from ntkrepro.files import BLANK, MARK, cache_folder, is_whole, sealed
from tests.conftest import TINY

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONTENT = st.lists(st.binary(max_size=40) | st.sampled_from([MARK, BLANK]), max_size=4).map(
    b"".join
)


@FEW
@given(CONTENT, st.binary(max_size=40).filter(lambda b: MARK not in b), st.integers(1, 200))
@pytest.mark.parametrize("change", ["none", "flipped", "cut", "longer"])
def test_a_sealed_file_is_whole_until_a_bit_changes(tmp_path, change, head, foot, tail):
    """Wherever its seal is, however long the part that is read at once."""
    path = tmp_path / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "TAIL", len(BLANK) + len(foot) + tail)
        with sealed(path) as file:
            file.write(head + BLANK + foot)
        data = path.read_bytes()
        assert len(data) == len(head + BLANK + foot)
        place, bit = divmod(tail * 7919 % (8 * len(data)), 8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        changed = {"none": data, "flipped": flipped, "cut": data[:-1], "longer": data + b"0"}
        path.write_bytes(changed[change])
        assert is_whole(path) == (change == "none")


def test_a_file_without_a_seal_is_not_whole(tmp_path):
    path = tmp_path / "a"
    for data in (b"", b"0" * 64, b"something", MARK, BLANK):
        path.write_bytes(data)
        assert not is_whole(path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    warn_once.cache_clear()
    return tmp_path / "home"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_cache_folder_is_this_user_s_alone_whatever_the_umask(home, umask, capsys):
    before = os.umask(umask)
    try:
        found = cache_folder()
    finally:
        os.umask(before)
    assert found == home / "cache" / "ntkrepro"
    assert {mode(place) for place in (found, home / "cache", home)} == {0o700}
    assert not capsys.readouterr().err


def spoil(kind, home):
    """A cache folder that others can write, or that can't be written."""
    folder = home / "cache" / "ntkrepro"
    folder.mkdir(parents=True)
    if kind == "another's":
        os.chown(folder, 12345, 12345)
    elif kind == "its parent is everybody's":
        (home / "cache").chmod(0o777)
    elif kind == "a file":
        folder.rmdir()
        folder.touch()
    else:
        folder.chmod(int(kind, 8))


@pytest.mark.parametrize("kind", ["777", "775", "another's", "its parent is everybody's", "a file"])
def test_a_cache_folder_that_is_not_ours_alone_is_told_once_and_not_used(home, kind, capsys):
    try:
        spoil(kind, home)
    except PermissionError:
        pytest.skip("only root may give a folder away")
    assert cache_folder() is cache_folder() is None
    told = capsys.readouterr().err
    assert re.fullmatch(rf"warning: cache folder {home}/cache/ntkrepro: .*\n", told)


def test_everybody_s_folder_with_a_sticky_bit_may_hold_it(home):
    home.mkdir()
    home.chmod(0o1777)
    assert cache_folder()


def test_without_a_cache_folder_a_run_says_so_and_goes_on(ntkrepro, tmp_path):
    (tmp_path / "taken").touch()
    done = ntkrepro("run", *TINY, XDG_CACHE_HOME=str(tmp_path / "taken"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: ") == done.stderr.count("warning: cache folder") == 1
    assert "wrote results/runs/" in done.stdout
