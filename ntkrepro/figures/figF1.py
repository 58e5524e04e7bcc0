"""Figure F1."""

from ntkrepro.claims import bound
from ntkrepro.claims.claim import Claim
from ntkrepro.claims.contracts import contract
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    runs = records["fc_cifar"]
    title = f"Figure F1, Eq. S48: {panels.data_set(runs[0])}, {panels.settings(runs[0])}"
    note = "Both sides: of the first network; else a line for each network"
    figure, axes = panels.grid(1, 3, title, note, legends=2)
    tables = [bound.sides(record).iloc[1:] for record in runs]
    first, (left, middle, right) = tables[0], axes[0]
    left.plot(first["time"], first["measured"], label="measured")
    left.plot(first["time"], first["bound"], ls="--", color="0.3", label="bound")
    panels.over_time(left, "distance on train points", r"$\|g^{lin}(t)-g(t)\|_2$")
    log(left, "y")
    left.set_ylim(first["measured"].min() / 3, 1e3 * first["measured"].max())
    panels.beside(left)
    for table, colour in zip(tables, panels.shades(len(tables)), strict=True):
        near = table[table["exponent"] <= 10]
        middle.plot(near["exponent"], near["measured"] / near["bound"], color=colour)
        right.plot(table["time"], table["distance"], color=colour)
    middle.axvline(1, color="0.35", ls=":", lw=1)
    for level, told in ((1, "the bound"), (contract("F1 tells").criterion.low, "chance")):
        middle.axhline(level, color="0.35", ls="--" if level == 1 else "-.", lw=1, label=told)
    middle.set(title="measured over bound", xlabel=r"$\eta\,\sigma_t\,t$", ylabel="ratio")
    log(middle, "x", "y")
    panels.beside(middle)
    panels.over_time(right, "change of the tangent kernel", r"$\|\Theta_t-\Theta_0\|_{op}$")
    log(right, "y")
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return bound.claims(records["fc_cifar"])


FIGURE = Figure(
    title=(
        "Figure F1, not in the paper: both sides of SM F's bound (Eq. S48) along the "
        "run of Figure 4"
    ),
    experiments={"fc_cifar": ("seed",)},
    draw=draw,
    claims=claims,
    needs=("loss", "rmse", "ntk_distance", "kernel_rate", "lambda_min"),
    paper=(
        "On the train points, the distance of a network's residuals from those of its "
        "linearization is bounded by Eq. S48, through the change of the tangent kernel on the way "
        "(SM F)."
    ),
    alt=(
        "Three panes on log axes. Over time, the measured distance of network and linearization "
        "below the dashed bound, which soon grows out of the pane. Their ratio against "
        "eta sigma_t t, below 1 and falling. And the change of the tangent kernel in the operator "
        "norm over time."
    ),
)
