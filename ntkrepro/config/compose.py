"""From the words of a command line to runs, by Hydra: one, or every point of a sweep."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ntkrepro.config import digests
from ntkrepro.config.catalog import configs_dir, experiments
from ntkrepro.config.identity import Run, flat
from ntkrepro.config.rules import check, measurable
from ntkrepro.config.schema import Experiment, Scale
from ntkrepro.errors import RunFailed, UserError, first_line, nearest, warn, warn_once
from ntkrepro.files import BLANK, MARK, cache_folder, is_whole, sealed


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
    for key, part, found in (
        (
            "model",
            model,
            digests.of_factory(model.factory, model.files) if model.factory else None,
        ),
        ("data", data, digests.of_file("data.path", data.path) if data.path else None),
    ):
        if part.digest not in (None, found):
            raise UserError(f"{key}.digest={part.digest}: must be left out, or be {found}")
        part.digest = found


def compose(overrides: Iterable[str]) -> Run:
    """What `ntkrepro run OVERRIDES` would run. Raises UserError."""
    return to_run(_compose(list(overrides)))


def expand(overrides: Iterable[str]) -> list[Run]:
    """Every point of what the overrides sweep (Hydra's grammar: a,b,c, range(...), several
    experiments) times the experiment's own `sweep`, without repeats.

    An override of a swept key fixes it. Raises UserError.
    """
    refuse_unknown(overrides := list(overrides))
    register()
    swept, fixed = _split(overrides)
    groups = {key: words for key, words in swept.items() if key in ("experiment", "scale")}
    values = {key: words for key, words in swept.items() if key not in groups}
    out: dict[str, Run] = {}
    wrong: dict[str, None] = {}
    for choice in product(*groups.values()):
        words = [*choice, *fixed]
        base = _compose([*words, *(own[0] for own in values.values())])
        parsed = {key: [_value(word) for word in own] for key, own in values.items()}
        for config in _points(base, parsed, overrides):
            try:
                run = to_run(config)
            except UserError as error:
                wrong[str(error)] = None
            else:
                out.setdefault(run.id, run)
    if wrong:
        raise UserError("\n  ".join(wrong))
    return list(out.values())


def _split(overrides: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Swept keys with one KEY=VALUE for each value, and the other overrides."""
    swept, fixed = {}, []
    for word, override in zip(overrides, _parse(overrides), strict=True):
        if override.is_sweep_override():
            values = override.sweep_string_iterator()
            swept[override.key_or_group] = [f"{override.key_or_group}={v}" for v in values]
        else:
            fixed.append(word)
    return swept, fixed


def _parse(words: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UserError(explain(error, words)) from error


def _value(word: str) -> Any:
    """The value of KEY=VALUE as Hydra reads it."""
    return _parse([word])[0].value()


def _points(
    base: DictConfig, swept: dict[str, list[Any]], overrides: list[str]
) -> Iterator[DictConfig]:
    """The points of `swept` times base.sweep: one config, updated in place, as copies cost more."""
    plain: Any = OmegaConf.to_container(base.sweep)
    base.sweep = []  # of a point; converting it would take as long as all the rest
    named = {word.lstrip("+").partition("=")[0] for word in overrides}
    for own in plain or [{}]:
        grid = swept | {key: values for key, values in own.items() if key not in named}
        config = base.copy()
        for row in product(*grid.values()):
            for key, value in zip(grid, row, strict=True):
                _update(config, key, value)
            yield config


def _update(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}={value}: {first_line(error)}") from error


def _compose(overrides: list[str]) -> DictConfig:
    """What Hydra composes, kept in the user's cache folder where the words name no more than an
    experiment at a scale: a report asks for thirty, and Hydra takes 0.1 s each."""
    register()
    refuse_unknown(overrides)
    named = all(word.startswith(("experiment=", "scale=")) for word in overrides)
    if not (named and (folder := cache_folder())):
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
    try:
        with sealed(path) as file:
            file.write(plain.encode() + BLANK)
    except RunFailed as error:
        warn_once(f"{error}; configs are composed anew by each command")
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
            return hydra_compose("run", overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error, overrides)) from error


@cache
def decides() -> str:
    """Digest of all that decides a composed config: the YAML, the schema and who composes."""
    found = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
    for path in (*sorted(configs_dir().rglob("*.yaml")), Path(__file__).with_name("schema.py")):
        found.update(str(path).encode() + path.read_bytes())
    return found.hexdigest()


def refuse_unknown(overrides: Iterable[str]) -> None:
    """Raises UserError for the first KEY=VALUE whose key, experiment or scale doesn't exist."""
    known = {"experiment": experiments(), "scale": [scale.name for scale in Scale]}
    known |= {"model": ["custom"], "data": ["npz"]}
    for override in overrides:
        key, equals, value = override.lstrip("+~").partition("=")
        if not equals or key.startswith("hydra") or override.startswith("-"):
            continue
        if is_unknown(key):
            raise UserError(f"{key}: no such key; {nearest(key, list(flat(Experiment())))}")
        for word in value.split(",") if key in known else []:
            if word not in known[key]:
                raise UserError(f"{key}={word}: unknown; {nearest(word, known[key])}")


def is_unknown(key: str) -> bool:
    return key not in {*flat(Experiment()), *(f.name for f in fields(Experiment)), "experiment"}


def explain(error: Exception, overrides: list[str]) -> str:
    """A composition error in one line: what was given, what is wrong with it, the mend."""
    text = first_line(error)
    if text.startswith("Ambiguous value"):
        given = text.split("'")[1]
        return f"{given}: several values are a sweep; add -m, or [...] for a list"
    for word in overrides:
        if "=" not in word and f"'{word}'" in text:
            return f"{word}: overrides are KEY=VALUE"
    return text
