"""What `ntkrepro check` finds where all is well, and where it isn't."""

import os
import subprocess
import sys
from ast import literal_eval

import jax
import pytest

from ntkrepro import cli
from ntkrepro.errors import RunFailed
from ntkrepro.networks import layers
from ntkrepro.plan import check
from ntkrepro.plan.check import Row
from ntkrepro.training import leaps
from tests.conftest import TINY


@pytest.fixture(scope="module", autouse=True)
def small():
    """A network of one hidden layer compiles in half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(check.NETWORKS, "FC", ("model.width=128", "model.depth=1"))
        yield


@pytest.fixture(scope="module")
def exact(small):
    """FC in float64, on this CPU."""
    return check.seen("FC", "float64")


@pytest.fixture
def tf32(monkeypatch):
    """Operands of every layer's product have 10 bits, as on tensor cores; sums are float32's."""
    own = layers.Affine.affine

    def affine(layer, x, shape, fan_in, product):
        bits = lambda a: jax.lax.reduce_precision(a, exponent_bits=8, mantissa_bits=10)  # noqa: E731
        return own(layer, x, shape, fan_in, lambda x, w: product(bits(x), bits(w)))

    monkeypatch.setattr(layers.Affine, "affine", affine)
    jax.clear_caches()
    yield
    jax.clear_caches()


def test_float32_holds_the_bound(exact):
    found = list(check.errors("FC", lambda: exact))
    assert [row.what for row in found] == [f"FC {what}" for what in exact]
    assert all(row.good and float(row.found) < check.BOUND / 8 for row in found)


def test_tf32_misses_the_bound_in_every_row(exact, tf32):
    found = list(check.errors("FC", lambda: exact))
    assert [row.good for row in found] == [False] * len(exact)
    assert all(float(row.found) > 3 * check.BOUND for row in found)


def test_leaps_and_loops_are_steps(monkeypatch):
    """And leaps that may be off as far as they like aren't."""
    assert [row.good for row in (*check.leaps(), *check.loops())] == [True, True]
    monkeypatch.setattr(leaps, "SHARE", 1e6)
    assert [row.good for row in check.leaps()] == [False]


MEMBERS = "from ntkrepro.plan import check; print([row[1:] for row in check.members()])"


def test_members_over_two_devices_are_each_alone():
    assert [row.found for row in check.members()] == ["one device"]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", MEMBERS],
        env=os.environ | flags | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    spread, apart = literal_eval(done.stdout)
    assert spread == ("2", "2", True)
    assert 0 <= float(apart[0]) < check.BOUND / 8


def test_the_plan_s_peak_is_held_against_the_device_s(monkeypatch):
    """That of a device whose peak is so much of what is planned."""
    monkeypatch.setattr(check, "own_bytes", lambda compiled: 10**9)
    for share, good in ((1.4, True), (2, False), (0.5, False)):
        monkeypatch.setattr(check, "peak", lambda share=share: share * 10**9)
        (row,) = check.memory(*TINY, "linearized.space=none", "optimizer.steps=1")
        assert row.good is good
        assert row.found == f"{1 / share:.2f}, 0.931 GiB planned"


def test_a_cpu_s_peak_is_not_known():
    assert [row.found for row in check.memory()] == ["not known of this device"]


def test_a_row_that_fails_is_named_and_the_exit_code_is_1(monkeypatch, capsys):
    def broken():
        raise ValueError("no memory\nleft")

    rows = [Row("speed", "3 TFLOP/s"), check.below("FC NTK", 2e-5, check.BOUND)]
    monkeypatch.setattr(check, "rows", lambda: iter(rows))
    cli.dispatch("check")
    assert "ok" in capsys.readouterr().out
    rows += [check.below("CNN NTK", 4e-5, check.BOUND), *check.tried("leaps", broken)]
    with pytest.raises(RunFailed, match=r"CNN NTK: 4.0e-05, must be <= 3.1e-05; leaps: ValueError"):
        cli.dispatch("check")
    assert capsys.readouterr().out.count("FAIL") == 2
    assert not check.below("not a number", float("nan"), check.BOUND).good
