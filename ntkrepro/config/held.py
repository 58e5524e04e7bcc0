"""What a caller of the library has in memory, where a command line names a file.

A config then names it by a word that means nothing outside of `holding`, so that all else goes the
way of files: the same rules, programs and records.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Held(NamedTuple):
    """The `value` of a key that a config calls `name`; `digest`: of what it decides of a record.

    told: what errors call it, in place of KEY=NAME.
    """

    name: str
    value: Any
    digest: str
    told: str


_held: ContextVar[Mapping[str, Held]] = ContextVar("held")


@contextmanager
def holding(things: Mapping[str, Held]) -> Iterator[None]:
    """Within the block these keys may name what is held, in this thread alone."""
    token = _held.set(things)
    try:
        yield
    finally:
        _held.reset(token)


def find(key: str, name: str | None) -> Held | None:
    """What is held under this name of a key; none where it names a file."""
    found = _held.get({}).get(key)
    return found if found and found.name == name else None


def told(key: str, name: str) -> str:
    """What an error begins with."""
    found = find(key, name)
    return found.told if found else f"{key}={name}"
