"""What scripts/bench_watch.py makes of numbers: which loss it tells, and for which machine."""

import json

import pytest

from scripts.bench_watch import MOST, compare, machine, watch

EPYC = "cpu family : 26\nmodel : 2\nmodel name : AMD EPYC\n\nprocessor : 1\nmodel : 3\n"
KEPT = {"network": 0.2, "CNN": 1.0}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "speeds.json"
    path.write_text(json.dumps({"ours": KEPT, "theirs": {"network": 9.0}}))
    return path


@pytest.mark.parametrize(
    ("times", "status"), [(0.5, 0), (MOST - 0.01, 0), (MOST + 0.01, 1), (float("nan"), 1)]
)
@pytest.mark.parametrize("row", KEPT)
def test_a_row_that_lost_more_than_a_fifth_fails(path, capsys, row, times, status):
    now = {**KEPT, row: times * KEPT[row]}
    before = path.read_text()
    assert watch(path, "ours", now, write=False) == status
    told = [line for line in capsys.readouterr().out.splitlines() if "SLOWER" in line]
    assert [line.split()[0] for line in told] == [row] * status
    assert path.read_text() == before


def test_rows_that_one_side_lacks_are_told_and_lose_nothing():
    lines, lost = compare(KEPT, {"network": 0.2, "WRN": 5.0})
    assert not lost
    assert [line.split(maxsplit=1) for line in lines] == [
        ["network", "0.2000 products, 1.00 x what was kept"],
        ["CNN", "not measured"],
        ["WRN", "5.0000 products, new"],
    ]


@pytest.mark.parametrize("there", [True, False])
def test_an_unknown_machine_is_offered_to_be_kept(path, capsys, there):
    if not there:
        path.unlink()
    assert watch(path, "a third", {"network": 99.0}, write=False) == 0
    assert "no numbers of this machine: a third; --write keeps these" in capsys.readouterr().out


def test_what_is_written_replaces_this_machines_rows_alone(path):
    assert watch(path, "ours", {"network": 0.31234567}, write=True) == 0
    kept = {"ours": {"network": 0.3123, "CNN": 1.0}, "theirs": {"network": 9.0}}
    assert json.loads(path.read_text()) == kept
    assert watch(path, "ours", {"network": 0.31, "CNN": 1.3}, write=False) == 1


def test_a_machine_is_its_first_processor_and_its_cores():
    assert machine(EPYC, 2) == "AMD EPYC, cpu family 26, model 2, 2 cores"
    assert machine("", 8).endswith(", 8 cores")
