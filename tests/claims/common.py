"""Records whose numbers are replaced: by made-up ones, or by another's."""

from ntkrepro.claims.claim import Claim
from ntkrepro.claims.contracts import contract
from ntkrepro.claims.mixes import with_values

__all__ = ["made", "with_values"]


def made(value, interval, criterion, name="4b", **own):
    """A claim of a contract that is made up."""
    fields = {key: own.pop(key) for key in ("measures", "source") if key in own}
    fields |= {"id": name, "criterion": criterion}
    return Claim(contract("4b")._replace(**fields), value, interval, **own)
