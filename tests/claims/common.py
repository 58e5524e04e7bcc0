"""Records whose numbers are replaced: by made-up ones, or by another's."""

import numpy as np
import pandas as pd

from ntkrepro.records import tables


def with_values(record, model, quantity, split, values):
    rows = record.rows.copy()
    place = tables.select(record, model, quantity, split).index
    rows.loc[place, "value"] = np.ravel(values).astype(float)
    return record._replace(rows=rows)


def beside(network, other):
    """The network of one record and what another has to compare it with."""
    ours, theirs = (r.rows["model"].isin(["network", "data"]) for r in (network, other))
    rows = pd.concat([network.rows[ours], other.rows[~theirs]], ignore_index=True)
    return network._replace(rows=rows)
