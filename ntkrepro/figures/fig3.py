"""Figure 3."""

from matplotlib.axes import Axes

from ntkrepro.claims import ensembles
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.records.store import Record

BANDS = (("ntk_analytic", "NTK-GP (Eq. 15, 16)", "C0"), ("nngp", "NNGP (Eq. S30, S31)", "C1"))
NOTE = "Bands and dotted lines: mean ± 2 standard deviations"


def trained(records: dict[str, list[Record]]) -> Record:
    """The ensemble whose networks were trained in all layers, else the only one there is."""
    runs = records["ensemble"]
    whole = [r for r in runs if r.config["optimizer"].get("train", "all") == "all"]
    return (whole or runs)[0]


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    record = trained(records)
    seen = ensembles.members(record)
    figure, axes = along_the_path("Figure 3", record, seen, NOTE)
    for t, ax in enumerate(axes):
        at_step(ax, record, seen, t)
    panels.beside(axes[min(len(axes), 2) - 1])
    return figure


def along_the_path(
    name: str, record: Record, seen: ensembles.Members, note: str = ""
) -> tuple[panels.Picture, list[Axes]]:
    """A pane for each step, still empty."""
    title = f"{name}: {seen.networks.shape[1]} networks, {panels.data_set(record)}"
    title = f"{title}, {panels.loss(record)}, {panels.settings(record)}"
    figure, axes = panels.panes(len(seen.steps), title, note)
    for step, ax in zip(seen.steps, axes, strict=True):
        ax.set(title=f"step {step}", xlabel=r"$\alpha$", ylabel=r"$f_t(x(\alpha))$")
        ax.sharey(axes[0])
    return figure, axes


def at_step(ax: Axes, record: Record, seen: ensembles.Members, t: int) -> None:
    for name, label, colour in BANDS:
        mean, std = (array[t] for array in ensembles.process(record, name))
        ax.fill_between(seen.alpha, mean - 2 * std, mean + 2 * std, color=colour, alpha=0.25, lw=0)
        ax.plot(seen.alpha, mean, color=colour, label=label)
    mean, std = seen.networks[t].mean(0), seen.networks[t].std(0, ddof=1)
    ax.plot(seen.alpha, mean, color="k", lw=1, label="networks, mean")
    ax.plot(seen.alpha, mean - 2 * std, color="k", ls=":", lw=1.2, label="networks, ± 2 std")
    ax.plot(seen.alpha, mean + 2 * std, color="k", ls=":", lw=1.2)
    ax.plot([0, 1], [1, -1], "o", color="C3", ms=5, label="train points")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return ensembles.claims(records["ensemble"])


FIGURE = Figure(
    title=(
        "Figure 3: mean and two standard deviations of trained networks, and two Gaussian processes"
    ),
    experiments={"ensemble": ("optimizer.train",)},
    draw=draw,
    claims=claims,
    paper=(
        "Mean and variance of the outputs of 100 trained networks follow the analytic dynamics "
        "from linearization (Eq. 15, 16). The NNGP posterior, while similar, is noticeably "
        "different from the distribution at the end of gradient descent (Figure 3, §3.2)."
    ),
    alt=(
        "A pane for each of four steps: output against the position alpha on a line of inputs "
        "through two train points. Mean of the networks in black between dotted lines of two "
        "standard deviations, and two shaded bands: the NTK Gaussian process and the NNGP, all "
        "pinched together at the two train points late in training."
    ),
    poster=(
        "NTK: step 16, mean 0.205 at alpha=0 and -0.33 at alpha=1; step 256, 1.02 ± 0.555 at "
        "alpha=-2; step 65,536, 1.04 ± 0.54 there. NNGP: 1.19 ± 0.535 at alpha=-2."
    ),
)
