"""Figure 3: mean and two standard deviations of trained networks, and two Gaussian processes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkrepro import processes
from ntkrepro.claims import Claim
from ntkrepro.figures import panels
from ntkrepro.records import Record

EXPERIMENTS = ("ensemble",)
BANDS = (("ntk_analytic", "NTK-GP (Eq. 15, 16)", "C0"), ("nngp", "NNGP (Eq. S30, S31)", "C1"))
PAPER = (
    "Mean and variance of the outputs of 100 trained networks follow the analytic dynamics from "
    "linearization (Eq. 15, 16). The NNGP posterior, while similar, is noticeably different from "
    "the distribution at the end of gradient descent (Figure 3, §3.2)."
)
ALT = (
    "A pane for each of four steps: output against the position alpha on a line of inputs through "
    "two train points. Mean of the networks in black between dotted lines of two standard "
    "deviations, and two shaded bands: the NTK Gaussian process and the NNGP, all pinched "
    "together at the two train points late in training."
)
POSTER = (
    "NTK: step 16, mean 0.205 at alpha=0 and -0.33 at alpha=1; step 256, 1.02 ± 0.555 at alpha=-2; "
    "step 65,536, 1.04 ± 0.54 there. NNGP: 1.19 ± 0.535 at alpha=-2."
)
WHY = {
    ("laptop", "3b"): (
        "Width 256 is small beside |D|=128: with 32 train points in place of 128 the share is 1.00 "
        "(ntkrepro run experiment=ensemble data.train=32)."
    ),
    ("laptop", "3d"): (
        "Width 256 is small beside |D|=128. With 32 train points the share at step 256 is 0, 0.82, "
        "0.99 for widths 256, 1024, 2048 (ntkrepro run experiment=ensemble data.train=32 "
        "optimizer.train=readout optimizer.steps=256 model.width=256,1024,2048 -m)."
    ),
}


def trained(records: dict[str, list[Record]]) -> Record:
    """The ensemble whose networks were trained in all layers, else the only one there is."""
    runs = records["ensemble"]
    whole = [r for r in runs if r.config["optimizer"].get("train", "all") == "all"]
    return (whole or runs)[0]


def draw(records: dict[str, list[Record]]) -> Figure:
    record = trained(records)
    seen = processes.path(record)
    count = seen.networks.shape[1]
    title = f"Figure 3: {count} networks, {panels.settings(record)}"
    figure, axes = panels.grid(1, len(seen.steps), title)
    for t, ax in enumerate(axes[0]):
        at_step(ax, record, seen, t)
        ax.set(title=f"step {seen.steps[t]}", xlabel=r"$\alpha$", ylabel=r"$f_t(x(\alpha))$")
        ax.sharey(axes[0, 0])
    panels.shared_legend(figure, axes[0, 0])
    return figure


def at_step(ax: Axes, record: Record, seen: processes.Path, t: int) -> None:
    for name, label, colour in BANDS:
        mean, std = (array[t] for array in processes.process(record, name))
        ax.fill_between(seen.alpha, mean - 2 * std, mean + 2 * std, color=colour, alpha=0.25, lw=0)
        ax.plot(seen.alpha, mean, color=colour, label=label)
    mean, std = seen.networks[t].mean(0), seen.networks[t].std(0, ddof=1)
    ax.plot(seen.alpha, mean, color="k", lw=1, label="networks, mean")
    ax.plot(seen.alpha, mean - 2 * std, color="k", ls=":", lw=1.2, label="networks, ± 2 std")
    ax.plot(seen.alpha, mean + 2 * std, color="k", ls=":", lw=1.2)
    ax.plot([0, 1], [1, -1], "o", color="C3", ms=5, label="train points")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return processes.claims(records["ensemble"])
