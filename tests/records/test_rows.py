"""Rows of a record, and what they take."""

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.records import store
from ntkrepro.records.rows import joined, rows

WORD = st.sampled_from(["network", "linearized", "loss", ""])
PART = st.tuples(WORD, WORD, st.integers(1, 3), st.integers(0, 3), WORD)


@settings(deadline=None, max_examples=30)
@given(st.lists(PART, min_size=1, max_size=5))
def test_joined_rows_are_those_of_the_parts_in_their_order(parts):
    frames = [rows(m, q, range(t), np.ones((t, i)), split) for m, q, t, i, split in parts]
    whole = joined(frames)
    text = pd.concat(
        [frame.astype({"model": str, "quantity": str, "split": str}) for frame in frames]
    )
    pd.testing.assert_frame_equal(
        whole.astype(text.dtypes.to_dict()), text.reset_index(drop=True), check_index_type=False
    )


def test_a_row_takes_19_bytes_and_no_text():
    """4.9 million took 1.09 GB on their way into a record."""
    whole = joined([rows(m, q, [0, 1], np.ones((2, 999))) for m in "ab" for q in "cd"])
    assert whole.memory_usage(index=False, deep=True).sum() < 20 * len(whole)


def test_a_record_of_joined_rows_has_their_words():
    whole = joined(
        [rows("network", "loss", [0], [1.0], "train"), rows("data", "target", [0], [2.0])]
    )
    table = pa.Table.from_pandas(whole.assign(time=0.0)[store.ROWS.names], store.ROWS)
    assert table.column("model").to_pylist() == ["network", "data"]
    assert table.column("split").to_pylist() == ["train", ""]
