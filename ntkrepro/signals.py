"""SIGTERM, which batch systems send before they take a machine back: exit code 143.

At once, or within `deferred` where the program next asks: training saves its state first.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
_state = {"deferred": False, "asked": False}


def install() -> None:
    """From now on SIGTERM is answered here. Of the main thread only."""
    signal.signal(signal.SIGTERM, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    _state["asked"] = True
    if not _state["deferred"]:
        raise SystemExit(EXIT_CODE)


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block SIGTERM only sets `asked`."""
    _state["deferred"] = True
    try:
        yield
    finally:
        _state["deferred"] = False


def asked() -> bool:
    return _state["asked"]
