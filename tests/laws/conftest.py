"""The laws are tested in float64."""

import jax
import pytest


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield
