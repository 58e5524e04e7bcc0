"""Numbers as rows of a record."""

from typing import Any

import numpy as np
import pandas as pd

WORDS = ["model", "quantity", "split"]


def rows(model: str, quantity: str, steps: Any, values: Any, split: str = "") -> pd.DataFrame:
    """values [t] or [t, i] at steps [t], one row a number: 19 bytes, as words are categories."""
    values = np.asarray(values, np.float64).reshape(len(steps), -1)
    count, same = values.shape[1], np.zeros(values.size, np.int8)
    words = zip(WORDS, (model, quantity, split), strict=True)
    return pd.DataFrame(
        {
            "step": np.repeat(np.asarray(steps, np.int32), count),
            **{name: pd.Categorical.from_codes(same, [word]) for name, word in words},
            "index": np.tile(np.arange(count, dtype=np.int32), len(steps)),
            "value": values.ravel(),
        }
    )


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One after another, with the words of all as categories: pd.concat alone makes them text."""
    for name in WORDS:
        words = list(dict.fromkeys(word for frame in frames for word in frame[name].unique()))
        frames = [frame.astype({name: pd.CategoricalDtype(words)}) for frame in frames]
    return pd.concat(frames, ignore_index=True)
