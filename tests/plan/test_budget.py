"""What `reproduce budget=...` runs, and what it leaves out."""

import pytest

from ntkrepro import cli
from ntkrepro.config.compose import expand
from ntkrepro.errors import UserError
from ntkrepro.plan import budget
from ntkrepro.plan.plan import Cost, Plan, Start
from ntkrepro.records import store

HOUR = 3600.0
EACH = {"digits": 60.0, "fc_cifar": HOUR, "kernel_convergence": 10.0}  # seconds of a run


def plan_of(seconds, bytes_=1):
    start = Start(first=0.0, again=0.0, logged=0.0, kept=0)
    return Plan(1, {}, start, 0, [Cost("steps", 1, 1.0, seconds, bytes_)])


@pytest.fixture
def planned(monkeypatch):
    """The runs that were planned; each takes EACH of its experiment."""
    seen = []

    def plan(run):
        seen.append(run)
        return plan_of(EACH[run.experiment.name])

    monkeypatch.setattr(budget, "plan", plan)
    return seen


def runs(*names):
    return [run for name in names for run in expand([f"experiment={name}", "scale=laptop"])]


def chosen(names, seconds):
    return [(share.name, bool(share.why)) for share in budget.choose(runs(*names), seconds)]


def test_the_cheapest_come_first_until_the_time_is_used_up(planned):
    names, five = ("fc_cifar", "digits"), 5 * HOUR  # five networks of an hour each
    assert chosen(names, 0.5 * five) == [("digits", False), ("fc_cifar", True)]
    assert chosen(names, five + 61) == [("digits", False), ("fc_cifar", False)]
    # each of them fits, both don't
    assert chosen(names, five + 30) == [("digits", False), ("fc_cifar", True)]
    assert chosen(names, 1) == [("digits", True), ("fc_cifar", True)]


def test_shapes_are_planned_once_and_no_further_than_the_time(planned):
    grid = runs("kernel_convergence")
    (share,) = budget.choose(grid, HOUR)
    assert share.runs == grid
    assert share.seconds == 10 * len(grid)
    assert len(planned) < len(grid)  # seeds share shapes
    planned.clear()
    (share,) = budget.choose(grid, 1)
    assert len(planned) == 1
    widest = max(run.experiment.model.width for run in grid)
    assert planned[0].experiment.model.width == widest  # the largest first
    assert share.why.startswith("more than ")


def test_what_has_no_room_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr(budget, "plan", lambda run: plan_of(1.0, 2**60))
    (share,) = budget.choose(runs("digits"), HOUR)
    assert str(share).startswith("digits: 1 run, needs 1.07e+09 GiB of memory, and ")


def test_what_can_not_be_run_is_left_out_with_its_reason(monkeypatch):
    def refuse(run):
        raise UserError("data.name=mnist: no prepared data set")

    monkeypatch.setattr(budget, "plan", refuse)
    (share,) = budget.choose(runs("digits"), HOUR)
    assert share.why == "data.name=mnist: no prepared data set"


def test_planning_takes_of_the_time(planned, monkeypatch):
    clock = iter([0.0, HOUR - 59])
    monkeypatch.setattr(budget.time, "perf_counter", lambda: next(clock))
    (share,) = budget.choose(runs("digits"), HOUR)
    assert share.why == "about 60 s, more than is left"


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 8 * HOUR), ("1.5h", 1.5 * HOUR), ("90min", 1.5 * HOUR), ("7s", 7)]
)
def test_times(text, seconds):
    assert budget.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "8 h", "h", "0h", "-1h", "8d", "1e3s", "nan"])
def test_what_is_no_time_is_refused_with_what_would_be(text):
    with pytest.raises(UserError, match=f"budget={text}: .* such as 8h, 90min or 300s"):
        budget.seconds_of(text)


def test_reproduce_runs_what_fits_of_what_has_no_record(planned, monkeypatch, capsys):
    grid = runs("digits", "fc_cifar", "kernel_convergence")
    there = {run.path for run in grid if run.experiment.name == "kernel_convergence"}
    monkeypatch.setattr(store, "is_done", lambda path: path in there)
    assert cli.within("1h", grid) == runs("digits")
    assert capsys.readouterr().out.splitlines() == [
        "digits: 1 run, about 60 s",
        "left out: fc_cifar: 5 runs, more than 5.0 h",
    ]
