"""The figures that there are, and what one consists of; imports nothing slow.

A figure is a module of this folder that ends in FIGURE, and a line in FIGURES. It turns records
into a picture and claims; it never trains, and never imports JAX.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ntkrepro.errors import UserError

if TYPE_CHECKING:
    from ntkrepro.claims.claim import Claim
    from ntkrepro.figures.panels import Picture
    from ntkrepro.records.store import Record

FIGURES = {  # name -> module
    "digits": "digits",
    "custom": "custom",
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
}
OURS = ("digits", "custom")  # not the paper's


def none_of_its_own(records: "dict[str, list[Record]]") -> "list[Claim]":
    """The claims of a figure that checks none."""
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
    `any_run`: of whatever experiment. `diverged`: with models that did.

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


def figure(name: str) -> Figure:
    """Raises UserError for an unknown name."""
    if name not in FIGURES:
        raise UserError(f"figure {name}: no such figure; one of {', '.join(FIGURES)}")
    return import_module(f"ntkrepro.figures.{FIGURES[name]}").FIGURE
