"""Every key of a config: what it may be, its default, its bound and what schema.py says of it."""

import ast
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

from ntkrepro.config import schema

KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    int | str: "an integer or all",
    float: "a number",
    str: "a text",
    list[str]: "a list of texts",
    list[int]: "a list of integers",
    list[dict[str, list[Any]]]: "a list of {KEY: [VALUE, ...], ...}",
}


def written(value: Any) -> Any:
    """As on a command line: enums by name, and YAML's words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return getattr(value, "name", value)


class Key(NamedTuple):
    """A key: the class that declares it, its field there, and its default."""

    owner: type
    field: Field[Any]
    value: Any

    @property
    def is_text(self) -> bool:
        return self.field.type in (str, str | None)

    @property
    def kind(self) -> str:
        """Which values there are, in words."""
        null = " or null" if type(None) in get_args(self.field.type) else ""
        (one, *_) = [t for t in get_args(self.field.type) if null] or [self.field.type]
        if isinstance(one, type) and issubclass(one, Enum):
            return " | ".join(member.name for member in one)
        return KINDS[one] + null

    @property
    def wanted(self) -> str:
        """What its bound says."""
        return self.bound.wanted if self.bound else ""

    @property
    def bound(self) -> schema.Bound | None:
        return self.field.metadata.get("bound")

    @property
    def default(self) -> str:
        return str(written(self.value))

    @property
    def comment(self) -> str:
        """Schema.py's, and what it says of the names that may stand there."""
        told = [comments().get((self.owner.__name__, self.field.name), "")]
        for name in getattr(self.field.type, "__members__", ()):
            text = comments().get((type(self.value).__name__, name))
            told += [f"{name}: {text}"] if text else []
        return "; ".join(filter(None, told))


def _declared(section: Any, prefix: str = "") -> Iterator[tuple[str, Key]]:
    for field in fields(section):
        value, name = getattr(section, field.name), prefix + field.name
        if is_dataclass(value):
            yield from _declared(value, f"{name}.")
        else:
            yield name, Key(type(section), field, value)


KEYS = dict(_declared(schema.Experiment()))


@cache
def comments() -> dict[tuple[str, str], str]:
    """(class, name) -> the comment in the lines above its declaration and at its end."""
    path = Path(schema.__file__)
    with path.open("rb") as file:
        found = [t for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT]
    at = {t.start[0]: t.string.lstrip("# ") for t in found}
    alone = {t.start[0] for t in found if t.line.lstrip().startswith("#")}
    classes = [n for n in ast.parse(path.read_bytes()).body if isinstance(n, ast.ClassDef)]
    out = {}
    for owner, node in ((of, node) for of in classes for node in of.body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            above = node.lineno
            while above - 1 in alone:
                above -= 1
            lines = (*range(above, node.lineno), node.end_lineno or node.lineno)
            text = " ".join(at[line] for line in lines if line in at)
            out[owner.name, ast.unparse(target)] = text
    return out


def table() -> str:
    """All of them in a terminal."""
    lines = []
    for name, key in KEYS.items():
        lines.append(f"  {name}={key.default}")
        for text in (told(key), key.comment):
            lines += textwrap.wrap(text, 96, initial_indent="      ", subsequent_indent="        ")
    return "\n".join(lines)


def told(key: Key) -> str:
    """Its values and their bound."""
    return ", ".join(filter(None, [key.kind, key.wanted]))
