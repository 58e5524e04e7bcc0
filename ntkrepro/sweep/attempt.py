"""One call of the command, which several processes may share: what is new since it began.

No clock is asked, as those of two machines differ: what was there before is remembered instead.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ntkrepro.config.identity import Run
from ntkrepro.records import archive
from ntkrepro.sweep import status
from ntkrepro.sweep.status import Failure

Stamp = tuple[int, int]


class Attempt(NamedTuple):
    """`words`: typed, for provenance. `failed`: the notes of earlier failures. `replaced`: records
    that --force computes again, by their run's id. `shared`: among runs, or processes."""

    words: Sequence[str] | None = None
    failed: frozenset[str] = frozenset()
    replaced: dict[str, Stamp] = {}  # noqa: RUF012
    shared: bool = False

    @classmethod
    def begin(
        cls,
        runs: list[Run],
        words: Sequence[str] | None = None,
        force: bool = False,
        shared: bool = False,
    ) -> "Attempt":
        """What is there now is from before. With `force` that is neither kept nor gone on from."""
        for folder in {run.path.parent for run in runs}:
            archive.unpack(folder)
        notes = [status.failure(run) for run in runs]
        failed = frozenset(note.nonce for note in notes if note)
        stamps = {run.id: stamp(run) for run in runs if force}
        if force:
            status.forget_beginnings(runs)
        replaced = {name: found for name, found in stamps.items() if found}
        return cls(words, failed, replaced, shared or len(runs) > 1)

    def is_done(self, run: Run) -> bool:
        """Whether a run has the record that is asked for."""
        return stamp(run) not in (None, self.replaced.get(run.id))

    def failure(self, run: Run) -> Failure | None:
        """Why a run has none: of this attempt's failures, in whichever process."""
        note = status.failure(run)
        return None if note is None or note.nonce in self.failed else note


def stamp(run: Run) -> Stamp | None:
    """What tells a record from the one that replaces it; none where there is none."""
    if not run.path.is_file():
        return None
    about = run.path.stat()
    return about.st_mtime_ns, about.st_size
