"""What is read of records, and how much of it stays."""

import tracemalloc

import pandas as pd
import pytest

from ntkrepro.config.identity import as_dict
from ntkrepro.config.schema import Experiment
from ntkrepro.figures import gather
from ntkrepro.figures.catalog import figure
from ntkrepro.records import store

RUNS = 40


@pytest.fixture
def large(digits, monkeypatch):
    """Every record that is asked for, each with 20 times the rows of the default's; their bytes."""
    record = store.read(digits)
    others = record.rows[record.rows["quantity"] != "rmse"]
    rows = pd.concat([record.rows, *[others] * 20], ignore_index=True)

    def read(path):
        config = record.config | {"seed": len(asked)}
        asked.append(path)
        return record._replace(rows=rows.copy(), config=config, id=path.stem)

    asked = []
    monkeypatch.setattr(store, "read", read)
    return rows.memory_usage(deep=True).sum()


def test_of_a_grid_only_what_its_figure_draws_stays_in_memory(large, tmp_path):
    words = ["scale=smoke", f"results={tmp_path}", f"seed=range(0,{RUNS})"]
    figure("custom")  # imports matplotlib
    tracemalloc.start()
    (shown,) = gather.gather(["custom"], words)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(shown.records["digits"]) == RUNS
    assert set(shown.records["digits"][0].rows["quantity"]) == {"rmse"}
    assert kept < RUNS * large / 10
    assert peak < RUNS * large / 4
    assert len(shown.claims) == 1


def test_a_config_gets_the_defaults_of_keys_that_are_younger():
    config = as_dict(Experiment())
    older = config | {"model": {k: v for k, v in config["model"].items() if k != "architecture"}}
    older["model"]["width"] = 7
    del older["log"]
    assert gather.whole(older) == config | {"model": config["model"] | {"width": 7}}


def test_a_picture_tells_the_same_of_itself_whatever_else_was_gathered():
    """Beside another figure records keep more rows than it shows."""
    columns = {"step": 0, "quantity": ["ntk_change", "nngp_change", "output"]}
    rows = pd.DataFrame(columns | {"value": [1.0, 2.0, 3.0]})
    record = store.Record(rows, {}, {}, "id")
    own = figure("2")

    def about(rows):
        records = {"weight_change": [record._replace(rows=rows)]}
        return gather.Gathered("2", own, records, [], "paper").about()

    assert own.only
    assert about(rows) == about(rows[:2])
    assert about(rows) != about(rows.assign(value=[1.0, 9.0, 3.0]))
    every = gather.Gathered("4", figure("4"), {"fc_cifar": [record]}, [], "paper")
    fewer = {"fc_cifar": [record._replace(rows=rows[:2])]}
    assert every.about() != gather.Gathered("4", figure("4"), fewer, [], "paper").about()
