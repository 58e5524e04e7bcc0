"""Claims S1a and S1b from made-up runs."""

from itertools import product

import pandas as pd
import pytest

from ntkrepro.claims import parametrizations
from ntkrepro.claims.claim import FAILED, INCONCLUSIVE, REPRODUCED, UNCHECKABLE
from ntkrepro.records.store import Record

COLUMNS = ["step", "time", "model", "quantity", "split", "index", "value"]
CHOICES = list(product(("cifar10", "mnist"), ("relu", "tanh"), ("mse", "xent")))
ACCURACY = {"train": 0.95, "test": 0.5}


def record(choice, parametrization, seed, rows, precision="float32"):
    name, activation, loss = choice
    model = {"activation": activation, "parametrization": parametrization, "width": 16, "depth": 3}
    config = {
        "model": model,
        "data": {"name": name, "train": 8},
        "loss": {"name": loss},
        "precision": precision,
        "seed": seed,
    }
    return Record(pd.DataFrame(rows, columns=COLUMNS), config, {})


def trained(choice, parametrization, seed, accuracy):
    """A run that begins at accuracy 0 and ends at what is given, by split."""
    return record(
        choice,
        parametrization,
        seed,
        [
            (step, step, "network", "accuracy", split, 0, value * (step > 0))
            for split, value in accuracy.items()
            for step in (0, 64)
        ],
    )


def runs(gap, **accuracy):
    """Two seeds of each choice, whose test accuracies differ; NTK - standard: gap(choice)."""
    accuracy = ACCURACY | accuracy
    return [
        trained(choice, name, seed, accuracy | {"test": test + 0.05 * seed})
        for choice in CHOICES
        for name, test in (("ntk", accuracy["test"] + gap(choice)), ("standard", accuracy["test"]))
        for seed in (0, 1)
    ]


def alone(records):
    (claim,) = parametrizations.claims(records)
    return claim


def test_the_difference_is_of_final_test_accuracy_in_points_and_has_a_sign():
    claim = alone(runs(lambda choice: 0.01 if choice[0] == "mnist" else -0.004))
    assert claim.id == "S1a"
    assert claim.value == pytest.approx(0.3)
    # Student's t of 7 degrees of freedom, 4 gaps of 1 and 4 of -0.4: 2.3646 * 0.7483 / sqrt(8)
    assert claim.interval == pytest.approx((0.3 - 0.6256, 0.3 + 0.6256), abs=1e-3)
    assert claim.verdict == REPRODUCED
    assert claim.sample == (8, "choices")
    assert claim.found == "train accuracy of the better one, at the end: 0.95 or more"
    assert claim.tested == "n=16, L=3, |D|=8, to step 64, 32 networks"


@pytest.mark.parametrize("sign", [1, -1])
def test_three_points_more_or_less_are_not_alike(sign):
    claim = alone(runs(lambda choice: sign * (0.03 + 0.001 * (choice[1] == "relu"))))
    assert claim.value == pytest.approx(sign * 3.05)
    assert claim.verdict == FAILED


def test_choices_that_contradict_each_other_leave_it_open():
    assert alone(runs(lambda choice: 0.06 * (choice[2] == "xent"))).verdict == INCONCLUSIVE


@pytest.mark.parametrize(("train", "verdict"), [(0.9, REPRODUCED), (0.89, UNCHECKABLE)])
def test_networks_that_have_not_learned_say_nothing(train, verdict):
    assert alone(runs(lambda choice: 0.0, train=train)).verdict == verdict


def test_one_learned_network_of_each_choice_is_enough_and_of_all_but_one_is_not():
    records = runs(lambda choice: 0.0)
    poor = ACCURACY | {"train": 0.2}
    for learned, verdict in (({"ntk"}, REPRODUCED), (set(), UNCHECKABLE)):
        own = [
            trained(CHOICES[0], name, seed, ACCURACY if name in learned else poor)
            for name, seed in product(("ntk", "standard"), (0, 1))
        ]
        claim = alone(own + records[4:])
        assert claim.verdict == verdict
    assert claim.found.endswith("0.2 or more")


def exact(parametrization, outputs):
    rows = [
        (step, 0.1 * step, "network", "output", "test", index, value)
        for step, values in enumerate(outputs)
        for index, value in enumerate(values)
    ]
    return record(CHOICES[0], parametrization, 0, rows, "float64")


@pytest.mark.parametrize(
    ("change", "value", "verdict"), [(1e-9, 2.5e-10, REPRODUCED), (-1e-6, 2.5e-7, FAILED)]
)
def test_trajectories_are_compared_at_every_step_and_point_over_the_largest_output(
    change, value, verdict
):
    pair = [
        exact("ntk", [(1.0, -4.0), (2.0, 0.5), (1.0, 1.0)]),
        exact("standard", [(1.0, -4.0), (2.0, 0.5 + change), (1.0, 1.0)]),
    ]
    claim = alone(pair)
    assert claim.id == "S1b"
    assert claim.value == pytest.approx(value, rel=1e-5)
    assert claim.interval == (claim.value, claim.value)
    assert claim.verdict == verdict
    assert claim.tested == "n=16, L=3, |D|=8, to step 2, 2 networks"


def test_one_trajectory_is_not_compared():
    assert alone([exact("ntk", [(1.0, 2.0), (3.0, 4.0)])]).verdict == UNCHECKABLE


def test_each_claim_is_of_the_runs_of_its_own_precision():
    both = [*runs(lambda choice: 0.0), exact("ntk", [(1.0,), (2.0,)])]
    assert [claim.id for claim in parametrizations.claims(both)] == ["S1a", "S1b"]
