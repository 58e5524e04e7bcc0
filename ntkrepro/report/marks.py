"""What the paper leaves open and how it was chosen: the marks in configs/experiment/<name>.yaml.

The comment behind a key opens with S (stated in the paper), P (read off the authors' poster),
F (fitted), I (inferred) or A (assumed). It holds for every key on its line.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from ntkrepro.config.catalog import experiment_file

MARK = re.compile(r"(?:^|[;,] )([SPFIA])(?=[:;,]|$)")


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
    config = YAML().load(experiment_file(experiment))
    found: dict[str, Choice] = {}
    for choice in marked(config):
        here = found.get(choice.key, choice)
        value, note = (
            sep.join(dict.fromkeys((old, new)))
            for sep, old, new in ((", ", here.value, choice.value), ("; ", here.note, choice.note))
        )
        found[choice.key] = Choice(choice.key, value, note)
    base = choices(config["defaults"][0]) if "defaults" in config else []
    return [*(choice for choice in base if choice.key not in found), *found.values()]


def marked(config: CommentedMap, under: str = "") -> Iterator[Choice]:
    """The keys whose comment has a mark, dotted; those of `sweep` are so already."""
    for key, value in config.items():
        inline = isinstance(value, CommentedMap) and value.fa.flow_style()
        if isinstance(value, CommentedMap) and not inline:
            yield from marked(value, f"{under}{key}.")
        elif key == "sweep":
            yield from (choice for grid in value for choice in marked(grid))
        elif MARK.search(note := comment(config, key)):
            own = {f"{key}.{k}": v for k, v in value.items()} if inline else {key: value}
            yield from (Choice(under + k, ", ".join(words(v)), note) for k, v in own.items())


def comment(config: CommentedMap, key: str) -> str:
    """What stands behind a key's value on its line; in ruamel.yaml, before the lines below it."""
    token = config.ca.items.get(key, [None] * 3)[2]
    return token.value.partition("\n")[0].lstrip("# ") if token else ""


def used(configs: list[dict[str, Any]], key: str) -> str:
    """The values of a dotted key in these runs, in the words of a choice."""
    found: dict[str, None] = {}
    for config in configs:
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found |= dict.fromkeys(words(value))
    return ", ".join(found)


def words(value: Any) -> list[str]:
    """A value, or each of a list, in YAML's words; 2.0 and 2 alike."""
    return [plain(item) for item in (value if isinstance(value, list) else [value])]


def plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
