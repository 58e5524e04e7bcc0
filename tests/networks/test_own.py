import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.errors import UserError
from ntkrepro.networks import architectures, functions
from tests.own import NETS, words

X = jnp.ones((2, 8, 8, 1))


def build(name, *overrides):
    model = compose(words(name, *overrides)).experiment.model
    return architectures.build(model, 64, 1, X)


def test_convolutions_are_seen(here):
    """On a CPU their steps are not compiled into a loop."""
    assert [build(name).convolutional for name in ("Conv", "Pair")] == [True, False]


def test_runs_that_differ_in_seed_share_their_network(here):
    a, b = (build("Pair", f"seed={seed}") for seed in (0, 1))
    assert a is b
    first, second = (functions.init(a, jax.random.key(seed), X)["0/0"] for seed in (0, 1))
    assert np.abs(first - second).max() > 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "State",
            "updates its batch_stats in a call: freeze BatchNorm by use_running_average=True",
        ),
        ("Dropout", "its apply raised InvalidRngError"),
        ("Mixing", "outputs depend on the rest of the batch"),
        ("NotFinite", "outputs at its initial parameters are not finite"),
        ("Wrong", "outputs for 2 examples are [2, 2]: must be [2, 1]"),
        ("Two", "must be [2, 1]"),
        ("Training", "its init raised TypeError: Training.__call__() missing 1"),
        ("raises", "calling it raised RuntimeError: no luck; HYDRA_FULL_ERROR=1 shows where"),
        ("needs", "needs hidden, which must have a default; given are activation,"),
        (
            "nothing",
            "returned None: must be a Flax Linen module, a Flax NNX module, an Equinox module or (",
        ),
        ("whole", "parameter a is int"),
        ("empty", "has no parameters"),
        ("number", "is no class or function but 3"),
        ("Convv", "no Convv in "),
        ("HalfParameters", "parameter Dense_0/bias is bfloat16: must be float32 or float64"),
        ("HalfOutputs", "outputs are float16: must be float32, as its inputs are; leave its dtype"),
        ("HalfInside", "computes in bfloat16: must be float32, as its inputs are"),
        ("ComplexOutputs", "outputs are complex64: must be float32"),
        ("WholeOutputs", "outputs are int32: must be float32"),
    ],
)
def test_a_network_that_cannot_be_meant_is_refused(here, name, told):
    with pytest.raises(UserError, match=f"model.factory=nets:{name}: .*{re.escape(told)}"):
        build(name)


def test_a_dtype_below_the_run_s_precision_is_refused(here):
    assert build("SingleInside").names
    with jax.enable_x64(True):
        model = compose(words("SingleInside")).experiment.model
        with pytest.raises(UserError, match="computes in float32: must be float64"):
            architectures.build(model, 64, 1, X.astype(jnp.float64))


def test_what_a_misspelled_name_may_have_meant_is_told(here):
    with pytest.raises(UserError, match="did you mean Conv"):
        build("Convv")


def test_a_key_that_changes_nothing_is_refused(here):
    """Else a grid over width would be the same network many times."""
    with pytest.raises(UserError, match=r"model\.width=64: must be left out \(512\), as nets:Line"):
        build("Linear", "model.width=64")


def test_a_network_that_changed_after_its_import_is_not_run(here):
    """Python would run the old one under the new one's name."""
    build("Pair")
    (here / "nets.py").write_text(NETS + "# edited\n")
    with pytest.raises(UserError, match="has changed since it was imported; start again"):
        build("Pair")
