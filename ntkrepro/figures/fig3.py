"""Figure 3: a pane for each step, and how far ensembles are from the processes, by width."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ntkrepro.claims import ensembles
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure, Reading
from ntkrepro.records.store import Record

BANDS = (("ntk_analytic", "NTK-GP (Eq. 15, 16)", "C0"), ("nngp", "NNGP (Eq. S30, S31)", "C1"))
NOTE = "Bands and dotted lines: mean ± 2 standard deviations"
BARS = "Bars: 95 % intervals; ringed: the limit 1/n = 0; grey: as near to the one as to the other"
NETWORKS = {"drawn_ensemble": "linearized networks, drawn"}  # program -> what isn't trained
WHAT = {"all": "all layers trained", "readout": "readout trained alone"}


def trained(records: list[Record]) -> Record:
    """Of the widest networks, those that were trained in all layers; else what there is."""
    widest = max(records, key=ensembles.width)
    return ensembles.by_trained(records).get("all", [widest])[-1]


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    """Of trained networks if there are some, else of drawn ones."""
    drawn, shown = records.get("ensemble_drawn", []), next(iter(records.values()))
    record = trained(records.get("ensemble") or drawn or shown)
    by = ensembles.by_trained(drawn)
    _, steps = ensembles.path(record)
    figure, axes = along_the_path("Figure 3", record, NOTE + (". " + BARS) * bool(by), len(by))
    for t, ax in enumerate(axes[: len(steps)]):
        at_step(ax, record, t)
    panels.beside(axes[panels.columns(len(axes)) - 1])
    for ax, name in zip(axes[len(steps) :], sorted(by), strict=True):
        train = by[name][0].config["data"]["train"]
        distances(ax, by[name], f"drawn, |D|={train}, {WHAT[name]}")
    return figure


def along_the_path(
    name: str, record: Record, note: str = "", further: int = 0
) -> tuple[panels.Picture, list[Axes]]:
    """A pane for each step, still empty, and so many more."""
    _, steps = ensembles.path(record)
    networks = NETWORKS.get(record.config["program"], "networks")
    title = f"{name}: {record.config['samples']} {networks}, {panels.data_set(record)}"
    title = f"{title}, {panels.loss(record)}, {panels.settings(record)}"
    figure, axes = panels.panes(len(steps) + further, title, note)
    for step, ax in zip(steps, axes, strict=False):
        ax.set(title=f"step {step}", xlabel=r"$\alpha$", ylabel=r"$f_t(x(\alpha))$")
        ax.sharey(axes[0])
    return figure, axes


def at_step(ax: Axes, record: Record, t: int) -> None:
    alpha, _ = ensembles.path(record)
    for name, label, colour in BANDS:
        mean, std = (array[t] for array in ensembles.process(record, name))
        own: dict[str, Any] = {"color": colour, "gid": label.partition(" ")[0]}
        ax.fill_between(alpha, mean - 2 * std, mean + 2 * std, alpha=0.25, lw=0, **own)
        ax.plot(alpha, mean, label=label, **own)
    seen = ensembles.moments(record)
    mean, std = seen.mean[t], seen.std[t]
    networks: dict[str, Any] = {"color": "k", "gid": "network"}
    dotted: dict[str, Any] = {"ls": ":", "lw": 1.2, **networks}
    ax.plot(alpha, mean, lw=1, label="networks, mean", **networks)
    ax.plot(alpha, mean - 2 * std, label="networks, ± 2 std", **dotted)
    ax.plot(alpha, mean + 2 * std, **dotted)
    ax.plot([0, 1], [1, -1], "o", color="C3", ms=5, label="train points")


def distances(ax: Axes, records: list[Record], title: str) -> None:
    """From both processes against 1/n, each over that of the one from the other; at 1/n = 0 those
    of the straight line through the moments."""
    at = [0.0, *(1000 / ensembles.width(record) for record in records)]
    every = [ensembles.limit(records), *map(ensembles.moments, records)]
    for name, label, colour in BANDS:
        found = [ensembles.from_process(seen, records[0], name) for seen in every]
        value, ends = np.array([own.value for own in found]), np.array([f.interval for f in found])
        bars = np.abs(ends - value[:, None]).T
        own: dict[str, Any] = {"color": colour, "gid": label.partition(" ")[0]}
        ax.errorbar(at, value, bars, fmt="o", ms=4, label=label, **own)
        ax.plot(at[:1], value[:1], "o", ms=7, mfc="none", **own)
    ax.axhspan(0.5, 0.5, color="0.6")
    across = -0.06 * max(at), 1.06 * max(at)
    ax.set(title=title, xlabel="1000/n", ylabel="distance from a process", xlim=across)
    ax.set_ylim(bottom=0)


def poster(records: dict[str, list[Record]]) -> list[Reading]:
    """Of other images than ours, which the paper doesn't name."""
    runs = records.get("ensemble") or records.get("ensemble_drawn")
    if not runs:
        return []
    record = trained(runs)
    alphas, steps = ensembles.path(record)
    seen = {name: ensembles.process(record, name) for name in LABELS}
    seen["networks"] = ensembles.moments(record)[:2]

    def at(name: str, step: int, alpha: float) -> str:
        t, i = np.searchsorted(steps, step), np.abs(alphas - alpha).argmin()
        mean, std = (part[t, i] for part in seen[name])
        return f"{mean:.3g} ± {2 * std:.3g}"

    found = []
    for name, step, alpha, text in POSTER:
        beside = f"; the networks {at('networks', step, alpha)}" if name == "ntk_analytic" else ""
        label = f"{LABELS[name]}, step {step}, α={alpha:g}"
        found.append(Reading(label, text, at(name, step, alpha) + beside))
    return found


POSTER = (  # process, step, alpha, reading: the mean, or with ± 2 standard deviations
    ("ntk_analytic", 16, 0.0, "0.205"),
    ("ntk_analytic", 16, 1.0, "-0.33"),
    ("ntk_analytic", 256, -2.0, "1.02 ± 0.555"),
    ("ntk_analytic", 65536, -2.0, "1.04 ± 0.54"),
    ("nngp", 65536, -2.0, "1.19 ± 0.535"),
)
LABELS = {name: label for name, label, _ in BANDS}

FIGURE = Figure(
    title=(
        "Figure 3: mean and two standard deviations of trained networks, and two Gaussian processes"
    ),
    experiments={
        "ensemble": ("optimizer.train",),
        "ensemble_drawn": ("optimizer.train", "model.width"),
        "ensemble_prior": (),
    },
    panes=True,
    draw=draw,
    claims=ensembles.claims,
    paper=(
        "Mean and variance of the outputs of 100 trained networks follow the analytic dynamics "
        "from linearization (Eq. 15, 16). The NNGP posterior, while similar, is noticeably "
        "different from the distribution at the end of gradient descent (Figure 3, §3.2)."
    ),
    alt=(
        "A pane for each of four steps: output against the position alpha on a line of inputs "
        "through two train points. Mean of the networks in black between dotted lines of two "
        "standard deviations, and two shaded bands: the NTK Gaussian process and the NNGP, all "
        "pinched together at the two train points late in training. Then two panes: distances of "
        "drawn ensembles from both processes against 1/n, with bars."
    ),
    poster=poster,
)
