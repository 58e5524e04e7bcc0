"""What each claim says and when it holds, fixed before its number: configs/claims/<figure>.yaml.

docs/claims.md is written from them.
"""

from functools import cache, reduce
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from ntkrepro.claims import criterion
from ntkrepro.claims.criterion import Criterion
from ntkrepro.config import catalog
from ntkrepro.errors import UserError

KINDS = {
    "below": criterion.below,
    "above": criterion.above,
    "at_most": criterion.at_most,
    "at_least": criterion.at_least,
    "within": lambda pair: criterion.within(*pair),
}


class Earlier(NamedTuple):
    """A version that was replaced: what it accepted, until when, its verdicts, and why not."""

    version: int
    until: str
    holds: str
    estimator: str
    verdicts: tuple[tuple[str, str], ...]  # scale, what stood there
    why: str


class Contract(NamedTuple):
    """A claim without its number.

    paper: its sentence, of `source`. measures: what the number is. over: for all of what it is
    asked. assumes: under which it is expected to hold. because: why this threshold. rests_on: keys
    of `experiment` that the paper leaves open and that the number depends on. scale: "any", or
    "paper" for a deviation that shrinks with width: a verdict at the paper's numbers only.
    fixed: the day of this version.
    """

    id: str
    figure: str
    paper: str
    source: str
    measures: str
    over: str
    assumes: str
    estimator: str
    criterion: Criterion
    because: str
    rests_on: tuple[str, ...]
    scale: str
    version: int
    fixed: str
    before: tuple[Earlier, ...] = ()


def contract(name: str) -> Contract:
    return contracts()[name]


def contracts() -> dict[str, Contract]:
    """All of them by their ids, in the order of their files. Raises UserError."""
    return _read(tuple(catalog.folders()))


def figures() -> list[str]:
    return list(dict.fromkeys(c.figure for c in contracts().values()))


def controls(figure: str) -> list[dict[str, Any]]:
    """What report/controls.py reads."""
    return _load(_file(figure)).get("controls", [])


def _file(figure: str) -> Path:
    paths = [folder / "claims" / f"{figure}.yaml" for folder in catalog.folders()]
    return next((path for path in paths if path.is_file()), paths[0])


@cache
def _read(folders: tuple[Path, ...]) -> dict[str, Contract]:
    found: dict[str, Contract] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("claims/*.yaml"))):
        for name, fields in _load(path)["claims"].items():
            if name in found:
                raise UserError(f"{path}: claim {name} is also of figure {found[name].figure}")
            found[name] = _contract(path, name, fields)
    return found


def _load(path: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def _contract(path: Path, name: str, fields: dict[str, Any]) -> Contract:
    try:
        own = dict(fields, criterion=holds(fields["holds"]), fixed=str(fields["fixed"]))
        own["rests_on"] = tuple(own["rests_on"])
        own["before"] = tuple(map(_earlier, own.get("before", ())))
        del own["holds"]
        return Contract(id=name, figure=path.stem, **own)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: claim {name}: {error}") from error


def _earlier(fields: dict[str, Any]) -> Earlier:
    verdicts = tuple(fields["verdicts"].items())
    return Earlier(**(fields | {"until": str(fields["until"]), "verdicts": verdicts}))


def holds(bands: dict[str, Any]) -> Criterion:
    """The criterion of {kind: numbers}; of several kinds, all of them."""
    return reduce(criterion.both, (KINDS[kind](numbers) for kind, numbers in bands.items()))
