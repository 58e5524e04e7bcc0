"""From the words of a command line to runs, by Hydra: one, or every point of a sweep."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from itertools import chain, count, product
from math import prod
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ntkrepro.config import catalog, digests
from ntkrepro.config.catalog import configs_dir
from ntkrepro.config.identity import Run
from ntkrepro.config.keys import KEYS
from ntkrepro.config.rules import check, measurable
from ntkrepro.config.schema import Experiment
from ntkrepro.config.words import (
    Word,
    explain,
    leaves,
    read,
    refuse_many,
    refuse_sweeps,
)
from ntkrepro.errors import UserError, first_line, nearest, warn
from ntkrepro.files import MARK, cache_folder, is_whole, kept

ENOUGH = 100  # refused points after which a sweep's others aren't looked at
LONG = 5000  # points that take seconds


@cache
def register() -> None:
    """Make the schema and the resolvers of configs/ known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Experiment)
    OmegaConf.register_new_resolver("div", _divide, replace=True)
    OmegaConf.register_new_resolver("unless_set", lambda value: value, replace=True)
    OmegaConf.register_new_resolver("unless_lr", _unless_lr, replace=True)


def _divide(a: Any, b: Any) -> float:
    return float(a) / float(b) if float(b) else float("inf")  # `check` names the 0


def _unless_lr(fraction: float, *, _root_: Any) -> float | None:
    """optimizer.lr_over_critical where lr still is `unless_set` and the rate can be measured."""
    lr: Any = OmegaConf.to_container(_root_.optimizer)
    left = str(lr["lr"]).startswith("${unless_set:")
    return fraction if left and measurable(_root_) else None


def to_run(config: DictConfig) -> Run:
    """The run that a composed config means, checked. Raises UserError."""
    try:
        experiment = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from error
    assert isinstance(experiment, Experiment)
    check(experiment)
    identify(experiment)
    return Run.of(experiment)


def identify(experiment: Experiment) -> None:
    """Fill in the digests of the files that a config points to, which decide its record too.

    Raises UserError where there is no such file, or a given digest is of another.
    """
    model, data = experiment.model, experiment.data
    source = digests.of_factory(model.factory, model.files) if model.factory else None
    params = digests.of_params(model.params) if model.params else None
    arrays = digests.of_file("data.path", data.path) if data.path else None
    for key, part, name, found in (
        ("model", model, "digest", source),
        ("model", model, "params_digest", params),
        ("data", data, "digest", arrays),
    ):
        if (given := getattr(part, name)) not in (None, found):
            raise UserError(f"{key}.{name}={given}: must be left out, or be {found}")
        setattr(part, name, found)


def compose(overrides: Iterable[str]) -> Run:
    """What `ntkrepro run OVERRIDES` would run. Raises UserError."""
    words = read(overrides)
    refuse_sweeps(words)
    return to_run(_compose([text for word in words for text in word.texts]))


def expand(overrides: Iterable[str]) -> list[Run]:
    """Every point of what the overrides sweep (Hydra's grammar: a,b,c, range(...), several
    experiments) times the experiment's own `sweep`, without repeats.

    The last word on a key wins, and an override of a swept key fixes it. Raises UserError.
    """
    words = read(overrides)
    fixed = [word.texts[0] for word in words if not word.sweeps]
    groups = [word.texts for word in words if word.sweeps and word.composes]
    swept = [word for word in words if not (word.sweeps and word.composes)]
    out: dict[str, Run] = {}
    wrong: dict[str, None] = {}
    refused = 0
    for choice in product(*groups):
        for config in _points(_compose([*choice, *fixed]), swept):
            try:
                run = to_run(config)
            except UserError as error:
                wrong[str(error)] = None
                refused += 1
            else:
                out.setdefault(run.id, run)
            if refused == ENOUGH:
                break
    if wrong:
        raise UserError("\n  ".join(wrong))
    return list(out.values())


def _points(base: DictConfig, words: list[Word]) -> Iterator[DictConfig]:
    """The points of the words' values times base.sweep: one config, updated in place, as copies
    cost more; but a word in braces may leave what the one before set."""
    grids = own_grids(base)
    base.sweep = []  # of a point; converting it would take as long as all the rest
    options = [[leaves(word.key, value) for value in word.values] for word in words]
    swept = {
        key for word, own in zip(words, options, strict=True) if word.sweeps for key in chain(*own)
    }
    merges = any(word.sweeps and word.merges for word in words)
    named = {key for own in options for key in own[0]}
    rows = [prod(len(v) for key, v in own.items() if key not in named) for own in grids]
    refuse_many("sweep", points := sum(rows) * prod(map(len, options)))
    with told(points) as tick:
        for own in grids:
            config = base.copy()
            for choice in product(*options):
                given = {key: value for leaf in choice for key, value in leaf.items()}
                grid = {key: values for key, values in own.items() if key not in given}
                config = base.copy() if merges else config
                for key in swept & given.keys():
                    _update(config, key, given[key])
                for row in product(*grid.values()):
                    for key, value in zip(grid, row, strict=True):
                        _update(config, key, value)
                    tick()
                    yield config


@contextmanager
def told(points: int) -> Iterator[Callable[[], object]]:
    """Yields what counts a point of so many: where they take long, in sight of the user."""
    if points < LONG:
        yield lambda: None
        return
    from ntkrepro.progress import progress  # rich

    done = count(1)
    with progress("points of the sweep", points) as tick:
        yield lambda: tick(next(done))


def own_grids(config: DictConfig) -> list[dict[str, list[Any]]]:
    """An experiment's `sweep`; one empty grid where there is none. Raises UserError."""
    grids: Any = OmegaConf.to_container(config.sweep)
    for key, values in ((key, values) for own in grids for key, values in (own or {}).items()):
        if key not in KEYS:
            raise UserError(f"sweep: {key}: no such key; {nearest(str(key), list(KEYS))}")
        if not values:
            raise UserError(f"sweep: {key}={values}: must have at least one value")
    return grids or [{}]


def _update(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}={value}: {first_line(error)}") from error


def _compose(overrides: list[str]) -> DictConfig:
    """What Hydra composes, kept in the user's cache folder where the words name no more than an
    experiment at a scale: a report asks for thirty, and Hydra takes 0.1 s each."""
    register()
    named = all(word.startswith(("experiment=", "scale=")) for word in overrides)
    if not (named and not catalog.OWN and (folder := cache_folder())):
        return _composed(overrides)
    key = hashlib.sha256(json.dumps([decides(), overrides]).encode()).hexdigest()
    path = folder / "configs" / f"{key}.json"
    try:
        if is_whole(path):
            config = _schema().copy()
            config.merge_with(json.loads(path.read_bytes().partition(MARK)[0]))
            return config
        warn(f"{path} is damaged: composed anew")
    except OSError:
        pass  # not there
    config = _composed(overrides)
    plain = json.dumps(OmegaConf.to_container(config, enum_to_str=True))
    kept(path, lambda file: file.write(plain.encode()), "configs are composed anew by each command")
    return config


@cache
def _schema() -> DictConfig:
    """Of every run, as closed to other keys as what Hydra composes."""
    config = OmegaConf.structured(Experiment)
    OmegaConf.set_struct(config, True)
    return config


def _composed(overrides: list[str]) -> DictConfig:
    """By Hydra."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs_dir()), version_base="1.3"):
        try:
            return hydra_compose("run", [*overrides, *searchpath()])
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error)) from error
        except yaml.YAMLError as error:  # it says where over several lines
            raise UserError(" ".join(str(error).split())) from error


def searchpath() -> list[str]:
    """Hydra's word for folders of the user's own."""
    paths = [QuotedString(f"file://{folder}", Quote.double).with_quotes() for folder in catalog.OWN]
    return [f"hydra.searchpath=[{','.join(paths)}]"] if paths else []


@cache
def decides() -> str:
    """Digest of all that decides a composed config: the YAML, the schema and who composes."""
    found = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
    for path in (*sorted(configs_dir().rglob("*.yaml")), Path(__file__).with_name("schema.py")):
        found.update(str(path).encode() + path.read_bytes())
    return found.hexdigest()
