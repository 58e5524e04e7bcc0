"""Records whose numbers are replaced: by made-up ones, or by another's."""

import pandas as pd

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.contracts import contract
from ntkrepro.claims.mixes import with_values

__all__ = ["beside", "made", "with_values"]


def made(value, interval, criterion, name="4b", **own):
    """A claim of a contract that is made up."""
    fields = {key: own.pop(key) for key in ("measures", "source") if key in own}
    fields |= {"id": name, "criterion": criterion}
    return Claim(contract("4b")._replace(**fields), value, interval, **own)


def beside(network, other):
    """The network of one record and what another has to compare it with."""
    ours, theirs = (r.rows["model"].isin(["network", "data"]) for r in (network, other))
    rows = pd.concat([network.rows[ours], other.rows[~theirs]], ignore_index=True)
    return network._replace(rows=rows)
