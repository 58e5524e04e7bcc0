"""Type COUNT command lines as nobody would; the shortest that is answered wrongly is shown.

python scripts/fuzz_words.py [COUNT=10000]
"""

import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzz import COMMAND_LINES
from tests.whole.test_fuzz import check, without_work


def main(count: int) -> None:
    some = settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        without_work(patch, Path(folder))
        some(given(COMMAND_LINES)(check))()
        patch.undo()
    print(f"{count} command lines: no traceback")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
