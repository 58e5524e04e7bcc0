"""The words of a command line, KEY=VALUE in Hydra's grammar: read one by one, or refused."""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from fractions import Fraction
from math import ceil, prod
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    ValueType,
)
from hydra.errors import HydraException

from ntkrepro.config.catalog import experiments
from ntkrepro.config.keys import KEYS, written
from ntkrepro.config.schema import Experiment, Scale
from ntkrepro.errors import UserError, first_line, nearest

MOST = 100_000  # points of a sweep
SECTIONS = {f.name for f in fields(Experiment)} - set(KEYS)
GROUPS: dict[str, Callable[[], list[str]]] = {  # which files of configs there are
    "experiment": experiments,
    "scale": lambda: [scale.name for scale in Scale],
    "model": lambda: ["custom"],
    "data": lambda: ["npz"],
}


class Word(NamedTuple):
    """A word's key, its values, several or one of them swept, and a word for each."""

    key: str
    values: list[Any]
    texts: list[str]
    sweeps: bool

    @property
    def merges(self) -> bool:
        """Whether it leaves what it doesn't name as it was: optimizer={lr: 0.1}."""
        return any(isinstance(value, dict) for value in self.values)

    @property
    def composes(self) -> bool:
        """Whether its value decides more than the keys that it names."""
        return self.key == "sweep" or (self.key in GROUPS and not self.merges)


def read(words: Iterable[str]) -> list[Word]:
    """The words that count: of a repeated key the last. Raises UserError for the first bad one."""
    found: list[Word] = []
    for text in split_hydra(words)[1]:
        word = _read(text)
        if not word.merges:
            found = [w for w in found if w.key != word.key or w.merges]
        found.append(word)
    swept = ", ".join(word.key for word in found if word.sweeps)
    refuse_many(swept, prod(len(word.values) for word in found))
    return found


def split_hydra(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of Hydra's launchers, which start processes and decide no record, and the others."""
    hydra, others = [], []
    for word in words:
        if not word.lstrip("+~").startswith(("hydra.", "hydra/")):
            others.append(word)
            continue
        if not word.lstrip("+~").startswith(("hydra/launcher=", "hydra.launcher", "hydra.sweep.")):
            raise UserError(f"{word}: must be hydra/launcher=NAME or hydra.launcher.KEY=VALUE")
        if parse(word).is_sweep_override():
            raise UserError(f"{word}: must be one value; one launcher starts all of a grid")
        hydra.append(word)
    return hydra, others


def refuse_many(what: str, points: int) -> None:
    if points > MOST:
        raise UserError(f"{what}: {points:,} points; a sweep has at most {MOST:,}")


def _read(given: str) -> Word:
    text = given.lstrip("+")  # every key is there: to add it is to set it
    key, equals, _ = text.partition("=")
    if not equals or not key:
        raise UserError(f"{given or repr(given)}: overrides are KEY=VALUE")
    if key.startswith("~"):
        raise UserError(f"{given}: no key can be left out; give it another value")
    refuse_unknown(key)
    override = parse(text)
    sweeps = override.is_sweep_override()
    singles = [replace(override, value_type=ValueType.ELEMENT, _value=v) for v in _swept(override)]
    texts = [f"{key}={single.get_value_element_as_str()}" for single in singles]
    values = [single.value() for single in singles] if sweeps else [override.value()]
    word = Word(key, values, texts if sweeps else [text], sweeps)
    _refuse_unknown_values(word)
    return word


def _swept(override: Override) -> list[Any]:
    """The values of a sweep, as Hydra parsed them; counted before they are listed."""
    given: Any = override.value()
    if isinstance(given, RangeSweep):
        refuse_many(str(override.input_line), _count(given, str(override.input_line)))
        if not (numbers := list(given.range())):
            raise UserError(f"{override.input_line}: no values; a range ends before its stop")
        return numbers
    if isinstance(given, ChoiceSweep):
        return given.list
    if override.is_sweep_override():
        raise UserError(f"{override.input_line}: list the values, as in a,b,c or range(0,16)")
    return []


def _count(sweep: RangeSweep, text: str) -> int:
    """Values of a range, by arithmetic."""
    try:
        start, stop, step = (Fraction(x or 0) for x in (sweep.start, sweep.stop, sweep.step))
        return max(0, ceil((stop - start) / step))
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise UserError(f"{text}: must have finite bounds and a step other than 0") from error


def refuse_unknown(key: str) -> None:
    if key not in {*KEYS, *SECTIONS, "experiment"}:
        raise UserError(f"{key}: no such key; {nearest(key, list(KEYS))}")


def _refuse_unknown_values(word: Word) -> None:
    """Of groups, and the keys in KEY={...}."""
    for value in word.values:
        if isinstance(value, dict):
            for leaf in leaves(word.key, value):
                refuse_unknown(leaf)
        elif word.key in GROUPS and value not in (known := GROUPS[word.key]()):
            name = "null" if value is None else value
            raise UserError(f"{word.key}={name}: unknown; {nearest(str(name), known)}")


def leaves(key: str, value: Any) -> dict[str, Any]:
    """What KEY=VALUE sets: one key, or those in its braces."""
    if not isinstance(value, dict):
        return {key: value}
    parts = [leaves(f"{key}.{name}", part) for name, part in value.items()]
    return {leaf: found for part in parts for leaf, found in part.items()}


def parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:
        raise UserError(f"{text}: {unreadable(text)}") from error


def unreadable(text: str) -> str:
    """The mend of a word that Hydra's grammar doesn't allow, which is tried before it is told."""
    name, _, value = text.partition("=")
    key = KEYS.get(name)
    if name in SECTIONS:
        return f"can't be read; {name} takes {{KEY: VALUE, ...}}"
    if key is None or key.is_text:
        quoted = f"{name}={QuotedString(value, Quote.double).with_quotes()}"
        if _reads_as(quoted, value):
            return f"quote the text: {shlex.quote(quoted)}"
    if key is None:
        return "can't be read"
    inside = """; quote its texts: '["a text"]'""" if "text" in key.kind else ""
    return f"can't be read; {name} is {key.kind}{inside}"


def _reads_as(text: str, value: str) -> bool:
    try:
        return OverridesParser.create().parse_override(text).value() == value
    except HydraException:
        return False


def quoted(text: str) -> str:
    """In Hydra's grammar, where it is no interpolation either."""
    plain = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return QuotedString(plain, Quote.single).with_quotes()


def text_of(value: Any) -> str:
    """A value of Python's as it stands on a command line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(text_of, value))}]"
    return quoted(value) if isinstance(value, str) else str(written(value))


def refuse_sweeps(words: list[Word]) -> None:
    """Raises UserError where there would be more than one run."""
    for word in words:
        if word.sweeps:
            given = f"{word.key}={','.join(text.partition('=')[2] for text in word.texts[:9])}"
            raise UserError(f"{given}: several values are a sweep; add -m, or [...] for a list")


def explain(error: Exception) -> str:
    """A composition error in one line: what was given, what is wrong with it."""
    return first_line(error).removeprefix("Error merging override ")
