"""The readout trained alone in closed form, against gradient descent step by step."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.theory import readout
from ntkrepro.theory.losses import LOSSES
from ntkrepro.training import recipe
from tests.laws import test_convolutions as images
from tests.laws.common import EXACT, SINGLE, error, fc, network, omegas, problem

LR, STEPS = 0.3, [0, 1, 7, 200]
MSE = LOSSES["mse"]


def closed(model, params0, x, y, momentum=0.0):
    """omega_t of W and b in one [t, width + 1, k]."""
    f, j = map(np.asarray, readout.jacobian(model, params0, x))
    rate = LR * MSE.rate(*y.shape)
    return np.stack([*readout.displacements(j, f.astype(float) - y, STEPS, rate, momentum)])


def literal(model, params0, x, y, momentum=0.0):
    """The same, without b where there is none, and the parameters in the end."""
    how = recipe.Recipe(model, momentum=momentum, trained="readout")
    path = omegas(how, recipe.Task(params0, x, y, np.asarray(LR, x.dtype)), STEPS)
    moved = [o["network"]["readout"] for o in path]
    parts = [np.vstack([o["w"], *([o["b"][None]] if "b" in o else [])]) for o in moved]
    end = jax.tree.map(np.add, params0["readout"], moved[-1])
    return np.stack(parts), {**params0, "readout": end}


@pytest.mark.parametrize(
    ("model", "of", "size", "momentum"),
    [
        (fc(width=24, k=1), problem, {"n": 9}, 0.0),
        (fc(width=6, k=3), problem, {"n": 30}, 0.9),  # more points than features
        (fc(parametrization="standard", k=2), problem, {"n": 9}, 0.5),
        (fc(b_var=0.0, activation="relu"), problem, {"n": 9}, 0.0),
        (images.cnn(k=2), images.problem, {"n": 3}, 0.9),
        (images.wrn(k=2), images.problem, {"n": 3}, 0.0),  # BatchNorm, of the same batch
    ],
)
def test_it_is_gradient_descent_of_the_readout_alone(model, of, size, momentum):
    """Its weights, and by them the outputs on points that it doesn't train on."""
    params0, x, y, x_test = of(model, **size)
    own = closed(model, params0, x, y, momentum)
    seen, end = literal(model, params0, x, y, momentum)
    assert error(own[:, : seen.shape[1]], seen) < EXACT
    assert not own[:, seen.shape[1] :].any()
    f, j = readout.jacobian(model, params0, x_test)
    assert error(f + j @ own[-1], network(model)(end, x_test)) < EXACT


def test_float32_is_within_its_rounding():
    params0, x, y, _ = problem(fc(width=32), dtype=np.float32)
    own, (seen, _) = (solve(fc(width=32), params0, x, y) for solve in (closed, literal))
    assert EXACT < error(own, seen) < SINGLE


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.floats(0, 0.95),
    st.integers(0, 60),
    st.integers(0, 2**32 - 1),
)
def test_any_features_follow_the_recursion_of_gradient_descent(n, p, k, momentum, steps, seed):
    """Of any rank, up to the critical rate."""
    rng = np.random.default_rng(seed)
    j = rng.standard_normal((n, rank := rng.integers(1, 4))) @ rng.standard_normal((rank, p))
    r, omega, v = rng.standard_normal((n, k)), np.zeros((p, k)), np.zeros((p, k))
    rate = 2 * (1 + momentum) / np.linalg.norm(j, 2) ** 2 * rng.random()
    path = [omega]
    for _ in range(steps):
        v = momentum * v + j.T @ (r + j @ omega)
        omega = omega - rate * v
        path.append(omega)
    own = np.stack([*readout.displacements(j, r, range(steps + 1), rate, momentum)])
    assert np.abs(own - path).max() < EXACT * max(1, np.abs(path).max())
