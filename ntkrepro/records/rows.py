"""Numbers as rows of a record."""

from typing import Any

import numpy as np
import pandas as pd


def rows(model: str, quantity: str, steps: Any, values: Any, split: str = "") -> pd.DataFrame:
    """values [t] or [t, i] at steps [t], one row a number."""
    values = np.asarray(values, np.float64).reshape(len(steps), -1)
    count = values.shape[1]
    return pd.DataFrame(
        {
            "step": np.repeat(np.asarray(steps, np.int32), count),
            "model": model,
            "quantity": quantity,
            "split": split,
            "index": np.tile(np.arange(count, dtype=np.int32), len(steps)),
            "value": values.ravel(),
        }
    )
