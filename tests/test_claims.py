"""Claims on trained linearizations and on sweeps turn around when their records are bent."""

import numpy as np
import pytest

from ntkrepro import bound, claims, parametrizations, records
from ntkrepro.claims import FAILED, REPRODUCED, UNCHECKABLE

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 50)


def with_values(record, model, quantity, split, values):
    rows = record.rows.copy()
    rows.loc[claims.select(record, model, quantity, split).index, "value"] = np.ravel(values)
    return record._replace(rows=rows)


@pytest.fixture
def mnist(smoke_records):
    return records.read(*smoke_records("fc_mnist"))


def following(record, factor, fitted_at):
    """The linearization's logits as `factor` times the network's; train accuracy steps up once."""
    logits = claims.table(record, "network", "output", "test").to_numpy()
    record = with_values(record, "linearized", "output", "test", factor * logits)
    accuracy = claims.series(record, "network", "accuracy", "train")
    reached = np.where(np.arange(len(accuracy)) >= fitted_at, 0.96, 0.5)
    return with_values(record, "network", "accuracy", "train", reached)._replace(paper=True)


@pytest.mark.parametrize(("factor", "verdict"), [(1.09, REPRODUCED), (1.11, FAILED)])
def test_6b_turns_around_at_a_tenth_of_the_logits(mnist, factor, verdict):
    claim = claims.logits_follow(following(mnist, factor, fitted_at=4))
    assert claim.value == pytest.approx(factor - 1)
    assert claim.verdict == verdict


def test_6b_ends_where_the_train_set_is_fitted(mnist):
    """Later deviations don't count; a run that never fits it has no verdict."""
    logits = claims.table(mnist, "network", "output", "test").to_numpy()
    late = logits * np.where(np.arange(len(logits)) > 4, 2.0, 1.0)[:, None]
    record = following(mnist, 1.0, fitted_at=4)
    record = with_values(record, "linearized", "output", "test", late)
    assert claims.logits_follow(record).value == 0
    never = following(record, 1.0, fitted_at=10**6)
    assert claims.logits_follow(never).verdict == UNCHECKABLE


def deviating(record, passes_at):
    """A test RMSE of twice 10 % of the logits' rms from logged step number `passes_at` on."""
    rms = claims.series(record, "network", "output_rms", "test")["value"].to_numpy()
    size = np.where(np.arange(len(rms)) >= passes_at, 0.2, 0.01)
    return with_values(record, claims.linear_model(record), "rmse", "test", size * rms)


@pytest.mark.parametrize(("later_by", "verdict"), [(6, REPRODUCED), (0, FAILED), (-3, FAILED)])
def test_s5a_turns_around_with_the_wider_network(smoke_records, later_by, verdict):
    bent = []
    for path in smoke_records("fc_cifar_xent"):
        record = records.read(path)
        wide = record.config["model"]["width"] > 8
        jitter = record.config["seed"]
        bent.append(deviating(record, 4 + jitter + (later_by if wide else 0)))
    assert claims.wider_deviates_later(bent).verdict == verdict


@pytest.fixture
def pairs(smoke_records):
    return [records.read(path) for path in smoke_records("parametrization")]


@pytest.mark.parametrize(("points", "verdict"), [(1.9, REPRODUCED), (2.1, FAILED)])
def test_s1a_turns_around_at_two_points(pairs, points, verdict):
    bent = []
    for record in pairs:
        standard = record.config["model"]["parametrization"] == "standard"
        count = len(claims.series(record, "network", "accuracy", "test"))
        value = np.full(count, 0.5 + points / 100 * standard)
        bent.append(with_values(record, "network", "accuracy", "test", value))
    claim = parametrizations.perform_alike(bent)
    assert claim.value == pytest.approx(points)
    assert claim.verdict == verdict


def test_s1b_is_reproduced_and_turns_around_without_the_rates(pairs):
    assert parametrizations.train_alike(pairs).verdict == REPRODUCED
    exact = [r for r in pairs if r.config["precision"] == "float64"]
    outputs = claims.table(exact[0], "network", "output", "test").to_numpy()
    moved = with_values(exact[0], "network", "output", "test", outputs * (1 + 1e-7))
    assert parametrizations.train_alike([moved, exact[1]]).verdict == FAILED
    assert parametrizations.train_alike(exact[:1]).verdict == UNCHECKABLE


@pytest.fixture
def cifar(smoke_records):
    return records.read(*smoke_records("fc_cifar"))


def test_f1_holds_and_turns_around_with_a_kernel_that_moves_too_little(cifar):
    assert bound.claim(cifar).verdict == REPRODUCED
    moved = claims.series(cifar, "network", "ntk_distance", "train")["value"]
    still = with_values(cifar, "network", "ntk_distance", "train", 0.1 * moved)
    assert bound.claim(still).verdict == FAILED


@pytest.mark.parametrize(
    ("linearized", "shape", "dip"),
    [
        ([0.5, 0.3, 0.34, 0.1], REPRODUCED, REPRODUCED),
        ([0.5, 0.3, 0.32, 0.1], REPRODUCED, FAILED),
        ([0.1, 0.2, 0.4, 0.5], FAILED, REPRODUCED),
    ],
)
def test_7a_turns_around_with_the_shape_and_the_rebound(smoke_records, linearized, shape, dip):
    record = records.read(*smoke_records("wrn_cifar"))
    steps = sorted(set(record.rows["step"]))
    rows = record.rows[record.rows["step"].isin(steps[:5])]
    network = [0.6, 0.2, 0.3, 0.1]
    record = record._replace(rows=rows)
    for model, losses in (("network", network), ("linearized", linearized)):
        record = with_values(record, model, "loss", "train", [1.0, *losses])
    found = {c.id: c.verdict for c in claims.loss_curves_agree(record._replace(paper=True))}
    assert found == {"7a shape": shape, "7a rebound": dip}


@pytest.mark.parametrize("decay", [0.0, 1e-9, 0.7, 40.0])
def test_the_integrals_of_the_bound(decay):
    """Against a fine trapezoidal rule, h straight between its points."""
    t, h = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 3.0, 2.0, 0.5])
    fine = np.linspace(0, 5, 200_001)
    exact = np.trapezoid(np.exp(decay * (fine - 5)) * np.interp(fine, t, h), fine)
    assert bound._integral(h, t, decay)[-1] == pytest.approx(exact, rel=1e-6)
