"""What `import ntkrepro` promises, as a researcher with a network of their own would use it."""

import contextlib
import doctest
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from sklearn.datasets import load_digits

import ntkrepro
from ntkrepro import api
from ntkrepro.config.compose import compose
from ntkrepro.figures import custom
from ntkrepro.networks import functions
from ntkrepro.networks.architectures import FC
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.sweep import grid
from ntkrepro.theory.kernels import empirical

RNG = np.random.default_rng(0)
X, X_TEST = RNG.standard_normal((12, 5)), RNG.standard_normal((7, 5))
Y = RNG.standard_normal((12, 2))
SHORT = {"log.points": 4, "log.weights": 4}


def test_importing_it_imports_nothing_slow():
    slow = {"jax", "numpy", "pandas", "matplotlib", "hydra", "flax", "typing"}
    code = "import sys; before = set(sys.modules); import ntkrepro; all(map(len, dir(ntkrepro)));"
    code += f"print(sorted({slow} & (set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_what_it_promises_is_there_and_nothing_else_is_seen():
    assert dir(ntkrepro) == sorted(ntkrepro.__all__)
    assert all(getattr(ntkrepro, name).__doc__ for name in ntkrepro.__all__)
    with pytest.raises(AttributeError, match="no attribute 'kernel'"):
        ntkrepro.kernel  # noqa: B018


def test_the_examples_in_its_docstrings_run():
    found = doctest.testmod(api)
    assert (found.failed, found.attempted > 5) == (0, True)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def mlp(params, x):
    w, v = params["w"], params["v"]
    return jnp.tanh(x @ w / w.shape[0] ** 0.5) @ v / v.shape[0] ** 0.5


def theta():
    return {
        "w": jnp.asarray(RNG.standard_normal((5, 16))),
        "v": jnp.asarray(Y[:, :2].repeat(2, 0))[:16],
    }


def test_its_kernels_are_those_of_the_package(x64):
    model = FC(1, 9, 3, "tanh", "ntk", 1.7, 0.3)
    params = functions.init(model, jax.random.key(0), jnp.asarray(X))

    def features(params, x):
        return empirical.capture(model, params, x)[1]["readout",].x

    exact = empirical.ntk(model, params, X, X_TEST)
    found = ntkrepro.ntk(lambda p, x: functions.apply(model, p, x), params, X, X_TEST)
    np.testing.assert_allclose(found, exact, rtol=1e-10)
    found = ntkrepro.nngp(features, params, X, X_TEST, w_var=1.7, b_var=0.3)
    np.testing.assert_allclose(found, empirical.nngp(model, params, X, X_TEST), rtol=1e-10)


def descended(f, params, loss, lr, steps, momentum, y=Y):
    """Outputs on both splits of f by gradient descent, at each of the steps."""
    gradient = jax.jit(jax.grad(lambda p: loss(f(p, X), y)))
    velocity, seen = jax.tree.map(jnp.zeros_like, params), {}
    for step in range(max(steps) + 1):
        seen[step] = f(params, X), f(params, X_TEST)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient(params))
        params = jax.tree.map(lambda p, v: p - lr * v, params, velocity)
    return [np.stack([seen[step][split] for step in steps]) for split in (0, 1)]


def mse(f, y):
    return 0.5 * jnp.mean((f - y) ** 2)


def xent(f, y):
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(f), axis=-1))


@pytest.mark.parametrize(("loss", "momentum"), [(mse, 0.0), (mse, 0.8), (xent, 0.0)])
def test_predictions_are_what_training_the_linearization_comes_to(x64, loss, momentum):
    params, steps, lr = theta(), [0, 1, 5, 30], 2.0
    f = jax.jit(ntkrepro.linearize(mlp, params))
    trained = descended(f, params, loss, lr, steps, momentum)
    found = ntkrepro.predict(
        ntkrepro.ntk(mlp, params, X),
        Y,
        lr,
        steps,
        momentum,
        loss.__name__,
        f0=mlp(params, X),
        kernel_test=ntkrepro.ntk(mlp, params, X_TEST, X),
        f0_test=mlp(params, X_TEST),
    )
    for path, exact in zip(found, trained, strict=True):
        np.testing.assert_allclose(path, exact, rtol=1e-9, atol=1e-10)
    network = descended(jax.jit(mlp), params, loss, lr, steps, momentum)
    assert np.abs(network[0] - found.train)[-1].max() > 1e-3  # else all would agree with all


@pytest.mark.parametrize(("loss", "momentum"), [(mse, 0.5), (xent, 0.0)])
def test_leaps_end_where_the_steps_do(x64, loss, momentum):
    params, lr, steps = theta(), 0.5, [0, 3, 1000]
    y = Y if loss is mse else np.eye(2)[Y.argmax(1)]
    f, before = jax.jit(mlp), jax.config.jax_default_matmul_precision
    found = []
    for reached in ntkrepro.leap(
        f, params, X, y, lr, steps, momentum, loss.__name__, x_test=X_TEST
    ):
        assert jax.config.jax_default_matmul_precision == before
        found.append(reached)
    trained = descended(f, params, loss, lr, steps, momentum, y)[0]
    linear = descended(ntkrepro.linearize(mlp, params), params, loss, lr, steps, momentum, y)[0]
    away = np.sqrt(np.mean((trained - linear) ** 2, axis=(1, 2)))
    off = [np.sqrt(np.mean((f(r.params, X) - t) ** 2)) for r, t in zip(found, trained, strict=True)]
    assert off[:2] < [1e-12, 1e-12]
    assert off[2] < 0.02 * away[2]
    assert off[2] < 10 * found[2].error < away[2]
    assert found[2].gradients < steps[2] / 2


def test_leaps_that_diverge_are_told(x64):
    reached = ntkrepro.leap(mlp, theta(), X, Y, lr=1e4, steps=[0, 500])
    assert next(reached).step == 0
    with pytest.raises(ntkrepro.RunFailed, match=r"before step 500; lr=10000 is .* times"):
        next(reached)


def test_targets_of_one_number_give_outputs_of_one(x64):
    kernel = ntkrepro.ntk(lambda w, x: x @ w, jnp.ones(5), X)
    found = ntkrepro.predict(kernel, Y[:, 0], 0.1, [0, 3], kernel_test=kernel[:4], f0_test=1.0)
    assert (found.train.shape, found.test.shape) == ((2, 12), (2, 4))
    np.testing.assert_allclose(found.test - 1, found.train[:, :4])


class Digits(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.relu(nn.Dense(32)(x)))


NETS = """
import flax.linen as nn

class Digits(nn.Module):
    outputs: int
    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.relu(nn.Dense(32)(x)))
"""


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = (x - 5) / 6
    return {"x_train": x[:60], "y_train": y[:60], "x_test": x[1200:1240], "y_test": y[1200:1240]}


@pytest.fixture(scope="module")
def compared(digits, tmp_path_factory):
    """In an empty folder, by a caller with a flag of JAX's."""
    folder = tmp_path_factory.mktemp("empty")
    flag, before = "jax_numpy_rank_promotion", jax.config.jax_numpy_rank_promotion
    jax.config.update(flag, "warn")
    with contextlib.chdir(folder):
        found = ntkrepro.compare(Digits(), digits, steps=8, keys=SHORT)
    assert (jax.config.jax_numpy_rank_promotion, list(folder.iterdir())) == ("warn", [])
    jax.config.update(flag, before)
    return found


def test_a_comparison_has_the_rows_of_the_command_line(here, digits, compared):
    (here / "nets.py").write_text(NETS)
    np.savez("own.npz", **digits)
    words = ["model=custom", "model.factory=nets:Digits", "data=npz", "data.path=own.npz"]
    words += ["data.train=all", "data.test=all", "optimizer.steps=8", "log.kernel=false"]
    words += ["log.fidelity=true"]
    words += ["optimizer.lr_over_critical=0.5", *(f"{key}={n}" for key, n in SHORT.items())]
    theirs = store.read(compute(compose(words)))
    pd.testing.assert_frame_equal(compared.frame, theirs.rows, check_exact=True)
    assert compared.lr == theirs.lr
    judged = [(c.id, c.word, c.value) for c in custom.claims({"digits": [theirs]})]
    claims = compared.claims().reset_index()
    assert claims[["claim", "verdict", "value"]].to_records(index=False).tolist() == judged
    assert repr(compared).splitlines()[-1].startswith("learning rate ")


def test_a_picture_leaves_the_callers_settings_alone(compared):
    mpl.use("pdf")
    before = mpl.rcParams.copy()
    picture = compared.plot()
    assert mpl.rcParams == before
    assert len(picture.axes) == 6
    assert "Digits" in picture.get_suptitle()


class Pair:
    """Of one output, [n]."""

    def __init__(self, power):
        self.power = power

    def init(self, key, x):
        return [jax.random.normal(key, x.shape[1:]), 0.5]

    def apply(self, params, x):
        return jnp.tanh(x @ params[0]) ** self.power + params[1]


ONE = (X, Y[:, 0], X_TEST, X_TEST[:, 0])


def pair(power, **given):
    given = {"steps": 8, "keys": SHORT, **given}
    return ntkrepro.compare(Pair(power), ONE, **given)


def test_records_are_found_by_what_a_network_in_memory_computes(here, monkeypatch):
    first, second = (pair(power, results="kept") for power in (1, 2))
    assert len(list((here / "kept/runs").iterdir())) == 2
    monkeypatch.setattr(grid, "compute_pack", None)
    pd.testing.assert_frame_equal(pair(2, results="kept").frame, second.frame)
    frame = ntkrepro.read_records("kept", experiment="Pair", quantity="rmse")
    assert frame["run"].nunique() == 2
    assert set(frame["quantity"]) == {"rmse"}
    assert (frame["optimizer.steps"] == 8).all()
    assert (frame["data.classes"] == "[]").all()
    assert set(frame["lr"]) == {first.lr, second.lr}
    rows = first.frame[first.frame["quantity"] == "rmse"]
    of_first = frame[frame["lr"] == first.lr]
    np.testing.assert_array_equal(np.sort(of_first["value"]), np.sort(rows["value"]))


class Drawn(nnx.Module):
    """Its width is its own: no key of the run's decides it."""

    def __init__(self, outputs, rngs, width=4):
        self.last = nnx.Linear(5, width, rngs=rngs)
        self.v = nnx.Variable(jnp.ones((width, outputs)))

    def __call__(self, x):
        return jnp.tanh(self.last(x)) @ self.v


def at_start(network, **given):
    """Outputs on test points."""
    found = ntkrepro.compare(network, ONE, steps=1, keys=SHORT, **given).frame
    rows = found.query("model == 'network' and quantity == 'output' and split == 'test'")
    return rows[rows["step"] == 0]["value"].to_numpy()


def test_a_model_is_drawn_and_an_instance_is_found_by_its_arrays(here):
    assert at_start(Drawn, seed=3).any()
    with jax.enable_x64(True):
        nets = [Drawn(1, nnx.Rngs(seed)) for seed in (0, 1)]
        for net in nets:
            found = at_start(net, results="kept", precision="float64")
            np.testing.assert_allclose(found, net(jnp.asarray(X_TEST))[:, 0], rtol=1e-6)
    assert len(list((here / "kept/runs").iterdir())) == 2


def test_a_network_starts_at_the_parameters_that_are_given(x64):
    params = theta()
    found = ntkrepro.compare(
        mlp,
        {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y[:7]},
        params0=params,
        precision="float64",
        lr=0.5,
        steps=4,
        keys=SHORT,
    )
    rows = found.frame.query("model == 'network' and quantity == 'output' and split == 'test'")
    at_0 = rows[rows["step"] == 0].sort_values("index")["value"].to_numpy().reshape(7, 2)
    np.testing.assert_allclose(at_0, mlp(params, X_TEST), rtol=1e-12)
    assert found.lr == 0.5


@pytest.mark.parametrize(
    ("network", "given", "told"),
    [
        (Digits(), {}, r"network Digits: outputs for 2 examples are \[2, 10\]: must be \[2, 1\]"),
        (Digits, {}, r"network: Digits is a class: give a network of it, as in Digits\(...\)"),
        (mlp, {}, r"network: mlp\(params, x\) needs params0=, or give \(init, mlp\)"),
        (mlp, {"params0": {"w": [1, 2]}}, "params0: parameter w.* is int32: must be of real numb"),
        (mlp, {"params0": "theta"}, "params0: must be a pytree of arrays of real numbers"),
        (3, {}, r"network int: returned 3: must be a Flax Linen module, .* or \(init, apply\)"),
        (Pair(1), {"data": ONE[:3]}, r"data: is tuple: must be \(x_train, y_train, x_test, y_test"),
        (Pair(1), {"data": {"x_train": X}}, "data: has no y_train; it needs x_train, y_train, x_t"),
        (Pair(1), {"data": (X, Y[:5], X, Y)}, "data: x_train has 12 examples and y_train 5"),
        (Pair(1), {"data": (X, Y, X[:, :2], Y)}, "data: x_train is .* and x_test .* must be alike"),
        (Pair(1), {"data": (X * np.nan, Y, X, Y)}, "data: x_train has values that are not finite"),
        (Pair(1), {"loss": "mae"}, "loss.name.*mae"),
        (Pair(1), {"lr": -1}, "optimizer.lr=-1.*: must be above 0"),
        (Pair(1), {"lr": 1e6}, "training diverged .*lower optimizer.lr"),
        (Pair(1), {"steps": 0}, "optimizer.steps=0: must be at least 1"),
        (
            Pair(1),
            {"keys": {"log.kernell": True}},
            "log.kernell: no such key; did you mean log.ker",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(network, given, told):
    with pytest.raises(ntkrepro.UserError, match=told):
        ntkrepro.compare(network, **{"data": ONE, **given})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ntkrepro.ntk(mlp, {"w": 1}, X), "params0: parameter w is int32"),
        (
            lambda: ntkrepro.ntk(lambda w, x: x, 1.0, X[None]),
            r"is \[1, 12, 5\]: must be \[1, k\] or",
        ),
        (lambda: ntkrepro.ntk(mlp, {"w": 1.0}, X), r"apply\(params0, x\) .* raised KeyError: 'v'"),
        (lambda: ntkrepro.ntk(mlp, {"w": 1.0}, 3.0), r"x1 is \[\]: must be \[n, ...\]"),
        (
            lambda: ntkrepro.linearize(mlp, {"w": 1.0})(1.0, X),
            "params: is .* a pytree like params0",
        ),
        (lambda: ntkrepro.analytic(X, depth=0), "analytic: depth=0"),
        (lambda: ntkrepro.analytic(X, depth=1, activation="reluu"), "analytic: .*reluu"),
        (lambda: ntkrepro.predict(X, Y, 0.1, 3), r"kernel is \[12, 5\]: must be \[12, 12\] or"),
        (lambda: ntkrepro.predict([[np.inf]], [1.0], 0.1, 3), "kernel has values that are not fin"),
        (lambda: ntkrepro.predict([[1.0]], [1.0], 0.1, [3, 1]), r"steps=\[3, 1\]: must be whole"),
        (
            lambda: ntkrepro.predict([[1.0]], [1.0], 0.1, 3, loss="mae"),
            "loss=mae: did you mean mse",
        ),
        (lambda: ntkrepro.predict([[1.0]], [1.0], -1, 3), "lr=-1, momentum=0.0: must be above 0"),
        (
            lambda: ntkrepro.predict([[1.0]], [1.0], 1, 3, f0=[1, 2]),
            r"f0 is \[2\]: must be \[1, 1\]",
        ),
        (
            lambda: ntkrepro.leap(mlp, theta(), X, Y[:3], 0.1, 3),
            r"y is \[3, 2\]: must be \[12, 2\]",
        ),
        (lambda: ntkrepro.leap(mlp, theta(), X, Y, 0.1, 3, tolerance=0), "tolerance=0: must be ab"),
        (
            lambda: next(ntkrepro.leap(mlp, {"w": X.T, "v": np.nan * Y}, X, Y, 0.1, 3)),
            "are not finite",
        ),
        (
            lambda: ntkrepro.leap(lambda w, x: x * w, 1.0, X, X, 0.1, 3, x_test=1.0),
            r"x_test is \[\]",
        ),
        (lambda: ntkrepro.read_records("nowhere"), "results=nowhere: has no records"),
    ],
)
def test_bad_input_is_told_in_a_line(call, told):
    with pytest.raises(ntkrepro.UserError, match=told):
        call()
