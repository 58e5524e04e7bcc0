"""SIGTERM, which batch systems send before they take a machine back, and SIGINT, which is Ctrl-C:
exit codes 143 and 130.

At once, or within `deferred` where the program next asks: training saves its state first. A second
Ctrl-C is always at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGINT)
_state = {"deferred": False, "asked": 0}


class Stopped(SystemExit):
    """Ends the program as the signal asks. `kept` says what outlives it."""

    def __init__(self, kept: str = "finished records and checkpoints are kept") -> None:
        super().__init__(128 + _state["asked"])
        self.kept = kept


def install(handle: Any = None) -> None:
    """From now on both are answered here. Of the main thread only."""
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of a shell's background
            signal.signal(number, handle or _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    again = number == _state["asked"] == signal.SIGINT
    _state["asked"] = _state["asked"] or number
    if again or not _state["deferred"]:
        raise Stopped


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block a signal only sets `asked`."""
    _state["deferred"] = True
    try:
        yield
    finally:
        _state["deferred"] = False


@contextmanager
def forwarded() -> Iterator[None]:
    """Within the block the processes that this one started are ended, and then it ends.

    At once where there are none: a cluster's jobs go on.
    """
    install(_forward)
    try:
        yield
    except Exception:
        if not asked():  # else it is a worker's end
            raise
    finally:
        install()
    if asked():
        raise Stopped


def _forward(number: int, frame: FrameType | None) -> None:
    import multiprocessing  # 8 ms

    _state["asked"] = _state["asked"] or number
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    if not workers:
        raise Stopped("what was submitted goes on")


def is_worker() -> bool:
    """Whether another process of this program waits for this one."""
    import multiprocessing

    return multiprocessing.current_process().name != "MainProcess"


def asked() -> bool:
    return bool(_state["asked"])
