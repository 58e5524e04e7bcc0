"""Records in which a claim is false: which side of each comes from where."""

import numpy as np
import pandas as pd
import pytest

from ntkrepro.claims import mixes
from ntkrepro.claims.mixes import MIXES
from ntkrepro.records.store import Record
from ntkrepro.records.tables import select, series, table

COLUMNS = ["step", "time", "model", "quantity", "split", "index", "value"]
LINEAR = "ntk_empirical"


def made(values, lr=1.0, **config):
    """A record of {(model, quantity, split): [step][index]}."""
    rows = [
        (step, lr * step, *place, index, value)
        for place, steps in values.items()
        for step, line in enumerate(steps)
        for index, value in enumerate(line)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return Record(frame, {"model": {"width": 8}, "seed": 0} | config, {})


def of(record, model, quantity, split="test"):
    return table(record, model, quantity, split).to_numpy().tolist()


def run(outputs, linear, lr=1.0, **config):
    return made(
        {
            ("data", "target", "test"): [[9.0, 9.0]],
            ("network", "output", "test"): outputs,
            (LINEAR, "output", "test"): linear,
            (LINEAR, "rmse", "test"): [[0.0]] * len(linear),
        },
        lr,
        **config,
    )


RIGHT = run([[0.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]])
WRONG = run([[5.0, 5.0]] * 3, [[0.0, 0.0], [4.0, 6.0], [7.0, 7.0]], lr=0.1)


def test_other_runs_and_other_rows():
    assert MIXES["other runs"]([RIGHT], [WRONG]) == [WRONG]
    (mixed,) = MIXES["other rows"]([RIGHT], [WRONG._replace(config={})])
    assert mixed.config == RIGHT.config
    assert mixed.rows is WRONG.rows


def test_a_network_beside_another_linearization_is_at_its_own_times_with_their_distance():
    (mixed,) = MIXES["other linearizations"]([RIGHT], [WRONG])
    assert of(mixed, "network", "output") == [[0.0, 0.0], [1.0, 2.0]]
    assert of(mixed, LINEAR, "output") == [[0.0, 0.0], [4.0, 6.0]]  # its third step isn't ours
    assert series(mixed, LINEAR, "rmse", "test")["value"].tolist() == [0.0, (25 / 2) ** 0.5]
    assert sorted(set(mixed.rows["time"])) == [0.0, 1.0]
    assert len(select(mixed, "data", "target", "test")) == 2  # once, the network's


def test_a_network_has_as_many_linearizations_as_there_are_networks():
    for name in ("other rows", "other linearizations", "other processes", "other networks"):
        with pytest.raises(ValueError, match="zip"):
            MIXES[name]([RIGHT, RIGHT], [WRONG])


def ensemble(own, process, **config):
    return made(
        {
            ("network", "mean", "path"): [[own]],
            ("network", "output", "path"): [[own + 0.5]],
            ("ntk_analytic", "mean", "path"): [[process]],
            ("ntk_analytic", "std", "path"): [[process + 0.25]],
            ("ntk_analytic", "lr_critical", ""): [[own + 0.75]],
        },
        **config,
    )


def moments(record):
    return dict(
        zip(
            zip(record.rows["model"], record.rows["quantity"], strict=True),
            record.rows["value"],
            strict=True,
        )
    )


def test_an_ensemble_beside_the_moments_of_other_processes():
    own, other = ensemble(1.0, 2.0, seed=1), ensemble(10.0, 20.0, seed=2)
    expected = {
        ("network", "mean"): 1.0,
        ("network", "output"): 1.5,
        ("ntk_analytic", "mean"): 20.0,
        ("ntk_analytic", "std"): 20.25,
        ("ntk_analytic", "lr_critical"): 1.75,
    }
    (mixed,) = MIXES["other processes"]([own], [other])
    assert moments(mixed) == expected
    assert mixed.config["seed"] == 1
    (turned,) = MIXES["other networks"]([other], [own])
    assert moments(turned) == expected
    assert turned.config["seed"] == 2


@pytest.mark.parametrize(
    ("name", "quantity"),
    [("other kernel change", "ntk_distance"), ("other critical rate", "lr_critical")],
)
def test_one_quantity_of_the_networks_own_kernel_is_another_networks(name, quantity):
    right, wrong = (
        made({("network", key, "train"): [[x], [x + 1]] for key in (quantity, "lambda_min")})
        for x in (1.0, 5.0)
    )
    (mixed,) = MIXES[name]([right], [wrong])
    assert of(mixed, "network", quantity, "train") == [[5.0], [6.0]]
    assert of(mixed, "network", "lambda_min", "train") == [[1.0], [2.0]]
    assert of(right, "network", quantity, "train") == [[1.0], [2.0]]  # as it was


def weights(seed, width):
    model = {"activation": "relu", "depth": 1, "width": width}
    linear = [[0.0, 0.0], [seed + width, seed - width]]
    places = {
        ("network", "weight", ""): [[0.0, 0.0], [7.0, 7.0]],
        (LINEAR, "weight", ""): linear,
    }
    return made(places, model=model, data={"train": 8}, seed=seed)


def test_weights_of_the_next_seed_are_those_of_its_width_and_the_first_ones_after_the_last():
    runs = [weights(seed, width) for width in (16, 32) for seed in (1, 2, 3)]
    found = MIXES["weights of the next seed"]([], runs)
    assert [(r.config["seed"], r.config["model"]["width"]) for r in found] == [
        (r.config["seed"], r.config["model"]["width"]) for r in runs
    ]
    for record, (seed, width) in zip(
        found, [(s, n) for n in (16, 32) for s in (2, 3, 1)], strict=True
    ):
        # at every step: what the next one's linearization has at its end
        assert of(record, LINEAR, "weight", "") == [[seed + width, seed - width]] * 2
        assert of(record, "network", "weight", "") == [[0.0, 0.0], [7.0, 7.0]]


@pytest.mark.parametrize("key", ["activation", "depth", "train"])
def test_weights_are_never_of_another_grid(key):
    one, two = weights(1, 16), weights(2, 16)
    section = "data" if key == "train" else "model"
    two.config[section][key] = "tanh" if key == "activation" else 2
    for record, seed in zip(MIXES["weights of the next seed"]([], [one, two]), (1, 2), strict=True):
        assert of(record, LINEAR, "weight", "")[-1] == [seed + 16, seed - 16]


def test_the_opposite_width_is_of_the_same_seed():
    runs = [
        made({("network", "loss", "train"): [[10 * n + seed]]}, model={"width": n}, seed=seed)
        for n in (2, 8, 4)
        for seed in (0, 1)
    ]
    found = MIXES["opposite width"](runs, [])
    assert {
        (r.config["model"]["width"], r.config["seed"]): r.rows["value"].item() for r in found
    } == {(2, 0): 80, (2, 1): 81, (4, 0): 40, (4, 1): 41, (8, 0): 20, (8, 1): 21}


def test_the_opposite_index_whatever_they_are_called():
    frame = made({("network", "error", ""): [[1.0, 2.0, 3.0]]}).rows
    named = frame.assign(index=frame["index"].map({0: 1, 1: 4, 2: 16}))
    (found,) = MIXES["opposite index"]([Record(named, {}, {})], [])
    assert dict(zip(found.rows["index"], found.rows["value"], strict=True)) == {
        16: 1.0,
        4: 2.0,
        1: 3.0,
    }


def test_exchanged_kernels_exchange_the_test_outputs_alone():
    names = (LINEAR, "ntk_analytic")
    places = {(name, "output", split): [[x]] for x, name in enumerate(names) for split in SPLITS}
    (found,) = MIXES["exchanged kernels"]([made(places)], [])
    assert [of(found, name, "output") for name in names] == [[[1.0]], [[0.0]]]
    assert [of(found, name, "output", "train") for name in names] == [[[0.0]], [[1.0]]]


SPLITS = ("test", "train")


def test_other_values_go_to_one_place_in_its_order():
    record = made({("network", "output", split): [[1, 2], [3, 4]] for split in SPLITS})
    changed = mixes.with_values(record, "network", "output", "test", np.array([[5, 6], [7, 8]]))
    assert of(changed, "network", "output", "test") == [[5.0, 6.0], [7.0, 8.0]]
    assert of(changed, "network", "output", "train") == [[1, 2], [3, 4]]
    assert of(record, "network", "output", "test") == [[1, 2], [3, 4]]
