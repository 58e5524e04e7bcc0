"""Reference values from the paper's own library."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

ORACLE = 1e-9  # float64, against stored values


def oracle(name: str):
    """A file of them; skips where there is none."""
    default = Path(__file__).parents[2] / "shared" / "oracles"
    path = Path(os.environ.get("NTKREPRO_ORACLES", default)) / name
    if not path.is_file():
        pytest.skip(f"no reference values in {path.parent} (set NTKREPRO_ORACLES)")
    return np.load(path)


def oracle_params(values, prefix: str = ""):
    """Stored weights w0, b0, ... of two hidden layers and a readout, as parameters."""
    names = ("layer1", "layer2", "readout")
    return {
        name: {leaf: jnp.asarray(values[f"{prefix}{leaf}{i}"]) for leaf in "wb"}
        for i, name in enumerate(names)
    }
