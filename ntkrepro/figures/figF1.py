"""Figure F1."""

from ntkrepro.claims import bound
from ntkrepro.claims.claim import Claim
from ntkrepro.figures import panels
from ntkrepro.figures.catalog import Figure
from ntkrepro.figures.ticks import log
from ntkrepro.records.store import Record


def draw(records: dict[str, list[Record]]) -> panels.Picture:
    record = records["fc_cifar"][0]
    title = f"Figure F1, Eq. S48: {panels.data_set(record)}, {panels.settings(record)}"
    figure, axes = panels.grid(1, 2, title)
    sides, (left, right) = bound.sides(record).iloc[1:], axes[0]
    left.plot(sides["time"], sides["measured"], label="measured")
    left.plot(sides["time"], sides["bound"], ls="--", color="0.3", label="bound")
    panels.over_time(left, "distance on train points", r"$\|g^{lin}(t)-g(t)\|_2$")
    log(left, "y")
    left.set_ylim(sides["measured"].min() / 3, 1e3 * sides["measured"].max())
    panels.beside(left)
    right.plot(sides["time"], sides["distance"])
    panels.over_time(right, "change of the tangent kernel", r"$\|\Theta_t-\Theta_0\|_{op}$")
    log(right, "y")
    return figure


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    return [bound.claim(records["fc_cifar"][0])]


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
        "Two panes over time on a log axis: the measured distance of network and linearization "
        "below the dashed bound, which soon grows out of the pane; and the change of the tangent "
        "kernel in the operator norm."
    ),
)
