"""What a grid's figure is asked for, and the rows of a frame of records that it shows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from ntkrepro.config.identity import LABELS
from ntkrepro.config.keys import KEYS, written
from ntkrepro.errors import UserError, nearest
from ntkrepro.figures import fits

CURVES = ("step", "time")  # x of a line over training
OF_ROWS = (*CURVES, "model", "split", "index")  # columns that are no keys of a config
RECORDED = ("step", "time", "model", "quantity", "split", "index", "value")  # columns of records
FIRST = {  # which rows are shown of a run that has several, where none is asked for
    "model": ("network", "linearized", "ntk_empirical", "ntk_analytic"),
    "split": ("test", "train"),
}
# they decide which rows there are, and none of their values
KEPT = [f"log.{key}" for key in ("points", "steps", "examples", "weights", "kernel", "norms")]
SCALES = ("auto", "log", "linear")
KNOWN = [*OF_ROWS, *(key for key in KEYS if key not in LABELS - {"name", "scale"})]


@dataclass(frozen=True)
class Asked:
    """x, hue (of lines) and facet (of panes) are columns that tell rows apart: keys of a config, or
    OF_ROWS; "" is none. y: a quantity, `of` a model, on a `split`, `index` of several; "" is the
    first of FIRST that a run has. at: a step, or each run's last.
    """

    x: str = "step"
    hue: str = ""
    facet: str = ""
    y: str = "rmse"
    of: str = ""
    split: str = ""
    index: str = ""
    at: str = "last"
    xscale: str = "auto"
    yscale: str = "auto"

    @property
    def columns(self) -> list[str]:
        """x, hue and facet, as far as there are."""
        return list(dict.fromkeys(filter(None, (self.x, self.hue, self.facet))))

    @property
    def over_time(self) -> bool:
        return self.x in CURVES

    @property
    def named(self) -> str:
        """What tells its files from those of another figure of the same runs."""
        default = asdict(Asked())
        given = {name: text for name, text in asdict(self).items() if text != default[name]}
        return "-".join(["grid", *(f"{name}-{short(text)}" for name, text in given.items())])


def short(column: str) -> str:
    """A key without its section."""
    return column.rpartition(".")[2]


def read(words: Sequence[str]) -> tuple[Asked, list[str]]:
    """Those words that are of a grid's figure, and the others, which are a run's. Raises UserError
    for a word of neither."""
    names, given, rest = [field.name for field in fields(Asked)], {}, []
    for word in words:
        name, _, text = word.partition("=")
        if name in names:
            given[name] = text
            continue
        section = name.lstrip("+").partition(".")[0].partition("/")[0]
        if section not in {"experiment", "hydra", *(key.partition(".")[0] for key in KEYS)}:
            raise UserError(f"{word}: no such key; {nearest(name, [*names, *KEYS])}")
        rest.append(word)
    return checked(Asked(**given), KNOWN), rest


def checked(asked: Asked, known: Sequence[str]) -> Asked:
    """With columns among the known ones in full. Raises UserError for what can't be meant."""
    found = {role: column(role, getattr(asked, role), known) for role in ("x", "hue", "facet")}
    if found["hue"] in CURVES or found["facet"] in CURVES:
        raise UserError(f"hue={asked.hue} facet={asked.facet}: only x may be {' or '.join(CURVES)}")
    for name in ("xscale", "yscale"):
        if (text := getattr(asked, name)) not in SCALES:
            raise UserError(f"{name}={text}: must be {', '.join(SCALES)}")
    for name, other in (("index", ""), ("at", "last")):
        text = getattr(asked, name)
        if not (text.isdecimal() or text == other):
            raise UserError(f"{name}={text}: must be a whole number{' or last' * bool(other)}")
    own = replace(asked, **found)
    if own.over_time and own.at != "last":
        raise UserError(f"at={own.at}: x={own.x} shows all steps; leave it out, or x=KEY")
    return own


def column(role: str, word: str, known: Sequence[str]) -> str:
    """The one that a word means: as it is, or without the section of a key."""
    if word in known or (not word and role != "x"):
        return word
    if not word:
        raise UserError(f"{role}=: must be {', '.join(CURVES)} or a key, as in {role}=width")
    ends = [name for name in known if short(name) == word]
    if len(ends) == 1:
        return ends[0]
    several = f"is of {' and '.join(ends)}; give it in full"
    what = several if ends else nearest(word, [*dict.fromkeys(map(short, known))])
    raise UserError(f"{role}={word}: {what}")


def refuse_pooled(configs: Sequence[dict[str, Any]], asked: Asked) -> None:
    """Raises UserError where runs that differ in more than the seed would be one point; any key may
    follow those that tell the points apart."""
    keys = tuple(name for name in asked.columns if name not in OF_ROWS)
    same = dict.fromkeys(("seed", *KEPT))
    own = [config | same for config in configs]
    if wrong := fits.pooled(own, keys, tuple(own[0])):
        values = list(dict.fromkeys(str(written(config[wrong])) for config in configs))
        free = [name for name in ("x", "hue", "facet") if getattr(asked, name) in ("", *CURVES)]
        mend = [*(f"{name}={wrong}" for name in free), "choose one value"]
        given = f"{wrong}={','.join(values[:4])}"
        raise UserError(f"{given}: would be one point of the figure; {', or '.join(mend)}")


def rows(frame: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """Those that a figure shows of a frame like read_records': run, what is asked for,
    seed, and the columns of rows. Raises UserError where there are none, or too many."""
    found = of_quantity(frame, asked.y)
    for name, chosen in (("model", asked.of), ("split", asked.split)):
        found = narrowed(found, name, chosen, asked)
    if asked.index:
        found = equal(found, "index", int(asked.index), "index")
    if not asked.over_time:
        found = at(found, asked)
    kept = ["run", *asked.columns, "seed", *RECORDED]
    found = found[list(dict.fromkeys(kept))].reset_index(drop=True)
    refuse_several(found, asked)
    if (bad := found[~np.isfinite(found["value"])]).size:
        row = bad.iloc[0]
        raise UserError(f"y={asked.y}: run {row['run']} has {row['value']} at step {row['step']}")
    if (lost := found[asked.x].isna()).any():
        run = found["run"][lost].iloc[0]
        raise UserError(f"x={asked.x}: is null in run {run}; x=KEY of one that all runs have")
    return found


def refuse_other(frame: pd.DataFrame) -> None:
    """Raises UserError for one that isn't read_records'."""
    if lack := [name for name in ("run", "seed", *RECORDED) if name not in frame]:
        raise UserError(f"frame: has no column {lack[0]}; read_records gives frames that have")


def of_quantity(frame: pd.DataFrame, y: str) -> pd.DataFrame:
    """Its rows, with words as texts. Raises UserError where a run has none, or diverged."""
    known = sorted(map(str, frame["quantity"].unique()))
    if y not in known:
        raise UserError(f"y={y}: {nearest(y, known)}")
    found = frame[frame["quantity"] == y]
    words = found.select_dtypes("category").columns
    found = found.astype(dict.fromkeys(words, object))
    if lack := sorted({*frame["run"].unique()} - {*found["run"].unique()}):
        raise UserError(f"y={y}: run {lack[0]} has none; leave it out")
    if len(bad := frame[frame["quantity"] == "diverged"]):
        raise UserError(f"y={y}: run {bad['run'].iloc[0]} diverged; leave it out")
    return found


def narrowed(found: pd.DataFrame, name: str, chosen: str, asked: Asked) -> pd.DataFrame:
    """To the chosen model or split; where none is, to the first that a run has, unless lines or
    panes are told apart by it."""
    word = "of" if name == "model" else name
    if chosen:
        return equal(found, name, chosen, word)
    if name in asked.columns:
        return found
    order = [*FIRST[name], *sorted({*found[name]} - {*FIRST[name]})]
    place = found[name].map({value: i for i, value in enumerate(order)})
    return found[place == place.groupby(found["run"]).transform("min")]


def equal(found: pd.DataFrame, name: str, value: Any, word: str) -> pd.DataFrame:
    own = found[found[name] == value]
    if own.empty:
        known = list(map(str, sorted(found[name].unique())))
        raise UserError(f"{word}={value}: {nearest(str(value), known)}")
    return own


def at(found: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """Of each run the rows of a step. Raises UserError where it logged nothing then."""
    if asked.at == "last":
        of = [found[name] for name in ("run", "model", "split", "index")]
        return found[found["step"] == found["step"].groupby(of).transform("max")]
    step = int(asked.at)
    own = found[found["step"] == step]
    for run, steps in found.groupby("run", sort=False)["step"]:
        if not (steps == step).any():
            near = steps.iloc[(steps - step).abs().argmin()]
            raise UserError(f"at={step}: run {run} logged nothing then; nearest is at={near}")
    return own


def refuse_several(found: pd.DataFrame, asked: Asked) -> None:
    """Raises UserError where a point would have more than one value of a run."""
    own = [name for name in ("model", "split", "index") if name in asked.columns]
    if found.duplicated(["run", "step", *own]).any():
        values = sorted(found["index"].unique())
        raise UserError(
            f"y={asked.y}: has {len(values)} values at a time, index {values[0]} to {values[-1]}; "
            "choose one, or x=index, hue=index, facet=index"
        )
