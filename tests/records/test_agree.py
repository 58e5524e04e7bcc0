"""How far two records are apart."""

import numpy as np
import pytest

from ntkrepro.records import agree, store


@pytest.fixture
def record(digits):
    return store.read(digits)


def changed(record, quantity, how):
    rows = record.rows.copy()
    own = rows["quantity"] == quantity
    rows.loc[own, "value"] = how(rows.loc[own, "value"].to_numpy())
    return record._replace(rows=rows)


def test_a_record_is_its_own_twin(record):
    assert agree.apart(record, record) == (True, 0.0, "")
    hollow = changed(record, "loss", lambda values: values * np.nan)
    assert agree.apart(hollow, hollow).same


def test_one_value_in_its_last_bit_is_seen(record):
    def moved(values):
        return np.append(values[:-1], np.nextafter(values[-1], np.inf))

    found = agree.apart(record, changed(record, "loss", moved))
    assert not found.same
    assert 0 < found.share < 1e-15
    assert "loss" in found.what


def test_the_furthest_quantity_is_told_by_its_largest_value(record):
    def moved(values):
        return np.append(values[:-1], values[-1] + 0.25 * np.abs(values).max())

    first = changed(record, "output_rms", lambda values: values * (1 + 5e-3))
    found = agree.apart(record, changed(first, "rmse", moved))
    assert found.share == pytest.approx(0.25)
    assert "rmse" in found.what
    assert not agree.within_rounding(record, found)
    assert agree.within_rounding(record, agree.apart(record, first))
    exact = record._replace(config=record.config | {"precision": "float64"})
    assert not agree.within_rounding(exact, agree.apart(record, first))


def test_what_counts_examples_may_move_by_one(record):
    found = agree.apart(record, changed(record, "accuracy", lambda values: values + 0.5))
    assert not found.same
    assert found.share == 0


@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_other_rows_are_infinitely_far(record, quantity):
    fewer = record._replace(rows=record.rows[record.rows["quantity"] != quantity])
    found = agree.apart(record, fewer)
    assert (found.same, found.share, found.what) == (False, np.inf, "rows")


def test_a_value_that_is_no_longer_a_number_is_infinitely_far(record):
    found = agree.apart(record, changed(record, "loss", lambda values: values * np.nan))
    assert found.share == np.inf


def test_the_same_software_is_every_library_the_code_the_machine_and_the_pack(record):
    assert agree.same_software(record, record)
    for key, value in (("commit", "0"), ("versions", {}), ("devices", 2), ("pack", 9)):
        other = record._replace(provenance=record.provenance | {key: value})
        assert not agree.same_software(record, other)
