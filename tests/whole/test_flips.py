"""One flipped bit in any file that is read back: what it held, or made anew and told."""

import pytest

from ntkrepro.programs.run import share_compilations
from scripts.flip_bits import CASES, RIGHT, flip


@pytest.mark.parametrize("name", CASES)
def test_a_flipped_bit_is_found_and_mended(name, tmp_path, monkeypatch):
    """The script that does it 5,000 times."""
    share_compilations()  # as other tests do, not below this one's folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = flip(name, tmp_path, 200, seed=1)
    assert {what: count for what, count in found.items() if what not in RIGHT} == {}
    assert sum(found.values()) == 200
