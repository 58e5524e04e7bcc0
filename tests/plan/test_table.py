"""A plan on a terminal."""

import sys

import pytest
from rich.console import Console

from ntkrepro import cli
from ntkrepro.config.compose import expand
from ntkrepro.plan import plan, table
from ntkrepro.records import store
from ntkrepro.records.rows import rows

LONG = "steps, of a network whose name is longer than any column"
COST = plan.Cost(LONG, 123456.0, 123.4e15, 0.000123, 2**40)
PLAN = plan.Plan(10**9, {"network": 1e9}, plan.Start(1.0, 1.0, 1e-3, 2**29), 1234567, [COST] * 2)


def shown(width, drawn):
    console = Console(width=width, markup=False)
    with console.capture() as got:
        console.print(drawn)
    return [line for line in got.get().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_columns_stay_apart(width):
    """Where a name is longer than its column it goes on in the next line."""
    lines = shown(width, table.costs(PLAN))
    assert all(len(line) <= width for line in lines)
    (first, *_) = [line for line in lines if "123 P" in line]
    assert first.split("  ")[0].strip() in LONG
    numbers = first[first.index("123456") :].split("  ")
    assert [part.strip() for part in numbers if part] == [
        "123456", "123 P", "0.000123", "15.19", "1.02e+03 GiB",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 200])
def test_labels_of_a_sweep_stay_apart_from_numbers(width):
    label = "model.width=1024 optimizer.train=readout data.classes=[airplane, horse]"
    lines = shown(width, table.summary([plan.Group(label, expand([]) * 5, PLAN)]))
    assert all(len(line) <= width for line in lines)
    (first, *_) = [line for line in lines if "1 G" in line]
    head, rest = first.split("  ", 1)
    assert label.startswith(head)
    assert [part.strip() for part in rest.split("  ") if part][:2] == ["5", "1 G"]


def done(point):
    store.write(point, rows("network", "loss", [0], [1.0]), {"seconds": {"all": 12.3}})


def test_a_run_that_is_done_is_told_without_a_plan(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ntkrepro.plan.table", None)  # nor JAX
    words = [f"results={tmp_path}"]
    (point,) = expand(words)
    done(point)
    cli.plan(words)
    assert capsys.readouterr().out == f"{point.path} is there already: it took 12.3 s\n"


def test_only_what_is_missing_of_a_sweep_is_planned(tmp_path, capsys, monkeypatch):
    words = [f"results={tmp_path}", "model.width=8,16,32"]
    points = expand(words)
    done(points[0])
    planned = []
    monkeypatch.setattr(plan, "plan", lambda point: planned.append(point.id) or PLAN)
    cli.plan(words)
    assert planned == [point.id for point in points[1:]]
    assert "3 runs, 1 of them there" in capsys.readouterr().out
    for point in points[1:]:
        done(point)
    cli.plan(words)
    assert capsys.readouterr().out == "all 3 runs are there already\n"


def test_a_plan_of_leaps_is_told_as_an_estimate(tmp_path, capsys, monkeypatch):
    plans = [PLAN._replace(leaps=plan.Expected(9, 23, 56, 46)), PLAN]
    monkeypatch.setattr(plan, "plan", lambda point: plans.pop(0))
    cli.plan([f"results={tmp_path}", "optimizer.solver=leaps"])
    told = " ".join(capsys.readouterr().out.split())
    assert "by leaps, tolerance 0.01: an estimate of 56 linearizations, for 23 leaps and 9" in told
    assert "in place of 1024 steps" in told
    cli.plan([f"results={tmp_path}"])
    assert "by leaps" not in capsys.readouterr().out
