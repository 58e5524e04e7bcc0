"""The figures that there are, and what one consists of; imports nothing slow.

A figure is a module of this folder that ends in FIGURE, and a line in FIGURES. It turns records
into a picture and claims; it never trains, and never imports JAX.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ntkrepro.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

    from ntkrepro.claims.claim import Claim
    from ntkrepro.figures.panels import Picture
    from ntkrepro.records.store import Record

FIGURES = {  # name -> module
    "digits": "digits",
    "custom": "custom",
    "grid": "grid",
    "kernel": "kernel",
    "1": "fig1",
    "2": "fig2",
    "3": "fig3",
    "4": "fig4",
    "5": "fig5",
    "6": "fig6",
    "7": "fig7",
    "8": "fig8",
    "S1": "figS1",
    "S2": "figS2",
    "S3": "figS3",
    "S4": "figS4",
    "S5": "figS5",
    "F1": "figF1",
    "F2": "figF2",
    "F3": "figF3",
    "F4": "figF4",
    "F5": "figF5",
    "F6": "figF6",
}
OURS = ("digits", "custom", "grid", "kernel")  # not the paper's
BY_WORDS = ("custom", "grid")  # of the user's own runs, which words name


def none_of_its_own(records: "dict[str, list[Record]]") -> "list[Claim]":
    """The claims of a figure that checks none."""
    return []


def no_words(records: "dict[str, list[Record]]") -> list[str]:
    """Of a figure that says none but its claims."""
    return []


class Reading(NamedTuple):
    """What was read by eye off the authors' poster, and the number of the records there."""

    what: str
    poster: str
    ours: str


def of_no_poster(records: "dict[str, list[Record]]") -> "list[Reading]":
    """Of a figure that isn't on it."""
    return []


class Figure(NamedTuple):
    """A figure from the records of `experiments`, each with the keys that tell its runs apart.

    draw and claims take the records as a list by experiment: one, or one for each point of a grid
    in those keys; `follows`: keys, or sections, that may change with them. `needs`: quantities
    without which a run can't be shown, `also` of single experiments; `only`: no others are kept in
    memory, but `wants`, of the runs that have them. `several`: the figure that more runs make.
    `any_run`: of whatever experiment. `diverged`: with models that did. `given`: the figure of a
    user's words and those of its runs, where some of the words are its own.

    `table`: the rows that it shows, for a CSV. `says`: lines for the terminal. `stem`: what its
    files are called, if not as the figure.

    title: one sentence. For the report: `paper`, what the paper says of it; `alt`, what there is to
    be seen; `poster`, readings of the authors' poster beside what the records have there. panes:
    each experiment
    has its own pane and claims, so that any one of them is enough to draw.
    """

    title: str
    experiments: dict[str, tuple[str, ...]]
    draw: "Callable[[dict[str, list[Record]]], Picture]"
    claims: "Callable[[dict[str, list[Record]]], list[Claim]]" = none_of_its_own
    paper: str = ""
    alt: str = ""
    poster: "Callable[[dict[str, list[Record]]], list[Reading]]" = of_no_poster
    panes: bool = False
    follows: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    also: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    wants: tuple[str, ...] = ()
    only: bool = False
    several: "Figure | None" = None
    any_run: bool = False
    diverged: bool = False
    given: "Callable[[Sequence[str]], tuple[Figure, dict[str, tuple[str, ...]]]] | None" = None
    table: "Callable[[dict[str, list[Record]]], DataFrame] | None" = None
    says: "Callable[[dict[str, list[Record]]], list[str]]" = no_words
    stem: str = ""


def figure(name: str) -> Figure:
    """Raises UserError for an unknown name."""
    if name not in FIGURES:
        raise UserError(f"figure {name}: no such figure; one of {', '.join(FIGURES)}")
    return import_module(f"ntkrepro.figures.{FIGURES[name]}").FIGURE
