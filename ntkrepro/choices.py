"""What the paper leaves open and how it was chosen: the marks in configs/experiment/<name>.yaml.

The comment behind a key opens with S (stated in the paper), P (read off the authors' poster),
F (fitted), I (inferred) or A (assumed). It holds for every key on its line.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ntkrepro.listing import configs_dir

MARK = re.compile(r"(?:^|[;,] )([SPFIA])(?=[:;,]|$)")
LINE = re.compile(r"(?P<indent>[ -]*)(?P<key>[\w.]+):(?: +(?P<value>.*?))?(?: +# (?P<note>.*))?")
INLINE = re.compile(r"""(\w+): (\[[^]]*\]|"[^"]*"|[^,}]+?) *[,}]""")  # of { key: value, key: [] }
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
BASE = re.compile(r"^defaults:\n  - (\w+)$", re.MULTILINE)


class Choice(NamedTuple):
    """A key of an experiment, its value at the paper's scale and its marked comment."""

    key: str
    value: str
    note: str

    def open(self) -> bool:
        """Whether the paper leaves some of it open."""
        return bool(set(MARK.findall(self.note)) - {"S"})


def choices(experiment: str) -> list[Choice]:
    """All marked keys, those of the experiment's base first; the grids' values of a key as one."""
    text = (configs_dir() / "experiment" / f"{experiment}.yaml").read_text()
    found: dict[str, Choice] = {}
    for choice in marked(text):
        here = found.get(choice.key, choice)
        value, note = (
            sep.join(dict.fromkeys((old, new)))
            for sep, old, new in ((", ", here.value, choice.value), ("; ", here.note, choice.note))
        )
        found[choice.key] = Choice(choice.key, value, note)
    base = BASE.search(text)
    inherited = [c for c in choices(base[1]) if c.key not in found] if base else []
    return [*inherited, *found.values()]


def marked(text: str) -> Iterator[Choice]:
    """The keys of YAML lines whose comment has a mark, dotted."""
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        if not match:
            continue
        depth, value, note = len(match["indent"]), match["value"] or "", match["note"] or ""
        while parents and parents[-1][0] >= depth:
            parents.pop()
        path = ".".join([*(key for _, key in parents if key != "sweep"), match["key"]])
        parents.append((depth, match["key"]))
        if value and MARK.search(note):
            inline = INLINE.findall(value) if value.startswith("{") else []
            keys = [(f"{path}.{key}", inner) for key, inner in inline] or [(path, value)]
            yield from (Choice(key, written(inner), note) for key, inner in keys)


def used(configs: list[dict[str, Any]], key: str) -> str:
    """The values of a dotted key in these runs, written as `written` writes them."""
    values = []
    for config in configs:
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values += [plain(item) for item in (value if isinstance(value, list) else [value])]
    return ", ".join(dict.fromkeys(values))


def plain(value: Any) -> str:
    """A value in YAML's words; 2.0 and 2 alike."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def written(value: str) -> str:
    """A value of a YAML line in the same words: no brackets, no quotes."""
    items = [item.strip("[]\"' ") for item in value.split(", ")]
    return ", ".join(plain(float(item)) if NUMBER.fullmatch(item) else item for item in items)
