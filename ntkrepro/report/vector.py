"""A figure as inline SVG, whose panes and series say what they are: page.js reads it."""

import json
import re
from collections.abc import Iterator
from html import escape
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from ntkrepro.figures.panels import Picture

DENSE = 5_000  # vertices of a pane whose series are pixels
STYLE: dict[Any, Any] = {"svg.hashsalt": "ntkrepro", "svg.fonttype": "path", "path.simplify": False}
LETTERS = {r"\Theta": "Θ", r"\mathcal{K}": "K", r"\eta": "η", r"\cdot": "·", r"\omega": "ω"}
LETTERS |= {r"\theta": "θ", r"\sigma": "σ", r"\alpha": "α", r"\lambda": "λ", r"\|": "‖"}
LETTERS |= {r"\sqrt": "√", r"\,": " "}
HAT = re.compile(r"\\hat(?: |\{)?(\w)")
Told = dict[str, str]  # attributes of an element


def inline(picture: Picture, name: str, alt: str, about: str) -> str:
    """The <svg> of a picture, which is spent by that: its ids begin with `name`; `about`: what it
    was made of.

    Every pane has the class `pane`, its limits and its labels; every series in it `series`, a
    label, and the model (its gid) where it shows one. Same picture, same text.
    """
    series: dict[str, Told] = {}
    for i, ax in enumerate(picture.axes):
        for j, (artist, told) in enumerate(marked(ax)):
            artist.set_gid(f"series-{i}-{j}")
            series[f"series-{i}-{j}"] = told
        ax.set_gid(f"pane-{i}")
    with mpl.rc_context(STYLE), StringIO() as file:
        picture.savefig(file, format="svg", metadata={"Date": None})
        text = file.getvalue()
    series |= {f"pane-{i}": limits(ax) for i, ax in enumerate(picture.axes)}
    _, _, width, height = picture.bbox.bounds
    size = [f"{length * 72 / picture.dpi:g}" for length in (width, height)]
    told = {"viewBox": f"0 0 {' '.join(size)}", "role": "img", "aria-label": alt, "data-of": about}
    return f"<svg {attributes(told)}>{small(text, name, series)}</svg>"


def marked(ax: Axes) -> Iterator[tuple[Artist, Told]]:
    """The series of a pane, and the bands and bars that belong to a model."""
    bars = {
        group.lines[0]: group for group in ax.containers if isinstance(group, ErrorbarContainer)
    }
    caps = [cap for group in bars.values() for cap in group.lines[1]]
    own = [line for line in ax.lines if line.get_transform() == ax.transData and line not in caps]
    dense = sum(np.size(line.get_xdata()) for line in own) > DENSE
    for line in own:
        line.set_rasterized(dense)
        label = str(bars.get(line, line).get_label())
        told = {"class": "series", "data-label": "" if label.startswith("_") else plain(label)}
        yield line, told | model(line)
    yield from ((part, told) for part in (*caps, *ax.collections) if (told := model(part)))


def model(artist: Artist) -> Told:
    gid = artist.get_gid()
    return {"data-model": gid} if gid else {}


def limits(ax: Axes) -> Told:
    """What turns a place in a pane into numbers: `linear` or `log`, and the values at its ends."""
    axes = {"x": (ax.get_xscale(), *ax.get_xlim()), "y": (ax.get_yscale(), *ax.get_ylim())}
    told = {f"data-{key}": json.dumps([str(s), low, high]) for key, (s, low, high) in axes.items()}
    names = {"data-across": ax.get_xlabel(), "data-up": ax.get_ylabel() or ax.get_title()}
    return {"class": "pane"} | told | {key: plain(text) for key, text in names.items()}


def plain(text: str) -> str:
    """A label without its mathematics."""
    for formula, letter in LETTERS.items():
        text = text.replace(formula, letter)
    text = HAT.sub("\\1\u0302", text)
    return " ".join(re.sub(r"\\[a-z]+|[${}\\]", "", text).split())


def attributes(told: Told) -> str:
    return " ".join(f'{key}="{escape(value)}"' for key, value in told.items())


def small(text: str, name: str, told: dict[str, Told]) -> str:
    """What is inside of matplotlib's <svg>: three decimals, no ids but those referred to."""
    inner = text.partition("</metadata>")[2].rpartition("</svg>")[0]
    inner = re.sub(r"<style.*?</style>|<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r"\s*\n\s*", " ", inner).replace("> <", "><").replace("xlink:href", "href")
    inner = re.sub(
        r'<g id="([^"]*)"', lambda own: f"<g {attributes(told.get(own[1], {}))}".rstrip(), inner
    )
    inner = re.sub(r' (?:d|x|y)="[^"]*"|translate\([^)]*\)', rounded, inner)
    return re.sub(r'( id="| href="#|url\(#)', rf"\g<1>{name}-", inner)


def rounded(found: re.Match[str]) -> str:
    def short(number: re.Match[str]) -> str:
        return f"{float(number[0]):.3f}".rstrip("0").rstrip(".")

    return re.sub(r"\d+\.\d+", short, found[0])
