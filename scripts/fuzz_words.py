"""Type COUNT command lines as nobody would; the shortest that is answered wrongly is shown.

python scripts/fuzz_words.py [COUNT=10000]
"""

import itertools
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parents[1]))

from ntkrepro.progress import progress
from tests.fuzz import COMMAND_LINES
from tests.whole.test_fuzz import check, without_work


def main(count: int) -> None:
    done = itertools.count(1)

    def told(words: list[str]) -> None:
        check(words)
        tick(next(done))

    some = settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        without_work(patch, Path(folder))
        with progress("command lines", count) as tick:
            some(given(COMMAND_LINES)(told))()
        patch.undo()
    print(f"{count} command lines: no traceback")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
