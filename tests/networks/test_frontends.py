"""A model of each library as functions: the same network, whoever wrote it down."""

import re
import subprocess
import sys

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ntkrepro
from ntkrepro.config import held
from ntkrepro.config.schema import Architecture, Model
from ntkrepro.errors import UserError
from ntkrepro.networks import frontends, functions, own
from ntkrepro.networks.architectures import CNN, FC
from ntkrepro.theory.kernels import batchnorm, empirical
from ntkrepro.training import measure

WIDTH, K = 6, 2
RNG = np.random.default_rng(0)
X, TEST = RNG.standard_normal((5, 7, 5, 1)), RNG.standard_normal((3, 7, 5, 1))
Y = RNG.standard_normal((5, K))


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def built(network, x=X, k=K):
    with held.holding({"model.factory": held.Held("net", network, "", "network")}):
        model = Model(architecture=Architecture.custom, factory="net")
        return own.Custom.build(model, x[0].size, k, jnp.asarray(x))


class LinenFC(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for i in range(2):
            x = nn.tanh(nn.Dense(WIDTH, name=f"layers_{i}")(x))
        return nn.Dense(K, name="layers_2")(x)


class LinenCNN(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.tanh(nn.Conv(WIDTH, (3, 3), name="layers_0")(x))
        return nn.Dense(K, name="layers_1")(h.mean((1, 2)))


class NnxFC(nnx.Module):
    def __init__(self, rngs):
        sizes = [(35, WIDTH), (WIDTH, WIDTH), (WIDTH, K)]
        self.layers = nnx.List([nnx.Linear(*size, rngs=rngs) for size in sizes])

    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for layer in self.layers[:-1]:
            x = nnx.tanh(layer(x))
        return self.layers[-1](x)


class NnxCNN(nnx.Module):
    def __init__(self, rngs):
        first, last = nnx.Conv(1, WIDTH, (3, 3), rngs=rngs), nnx.Linear(WIDTH, K, rngs=rngs)
        self.layers = nnx.List([first, last])

    def __call__(self, x):
        return self.layers[1](nnx.tanh(self.layers[0](x)).mean((1, 2)))


class EquinoxFC(eqx.Module):
    layers: list

    def __init__(self, key):
        self.layers = eqx.nn.MLP(35, K, WIDTH, 2, key=key).layers

    def __call__(self, x):
        x = x.ravel()
        for layer in self.layers[:-1]:
            x = jnp.tanh(layer(x))
        return self.layers[-1](x)


class EquinoxCNN(eqx.Module):
    layers: list

    def __init__(self, key):
        first = eqx.nn.Conv2d(1, WIDTH, 3, padding=1, key=key)
        self.layers = [first, eqx.nn.Linear(WIDTH, K, key=key)]

    def __call__(self, x):
        return self.layers[1](jnp.tanh(self.layers[0](jnp.moveaxis(x, -1, 0))).mean((1, 2)))


def fc_pair():
    def init(key, x):
        sizes = [(35, WIDTH), (WIDTH, WIDTH), (WIDTH, K)]
        return [(jax.random.normal(key, size), jnp.zeros(size[1])) for size in sizes]

    def apply(params, x):
        x = x.reshape(len(x), -1)
        for w, b in params[:-1]:
            x = jnp.tanh(x @ w + b)
        return x @ params[-1][0] + params[-1][1]

    return init, apply


def cnn_pair():
    def init(key, x):
        filters = jax.random.normal(key, (3, 3, 1, WIDTH)), jnp.zeros(WIDTH)
        return [filters, (jax.random.normal(key, (WIDTH, K)), jnp.zeros(K))]

    def apply(params, x):
        (filters, shift), (w, b) = params
        how = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        h = jax.lax.conv_general_dilated(x, filters, (1, 1), **how)
        return jnp.tanh(h + shift).mean((1, 2)) @ w + b

    return init, apply


def turned(w, b):
    """As Equinox, and PyTorch, have them: [out, in], [out, in, h, w], and a bias for each pixel."""
    return (w.T, b) if w.ndim == 2 else (w.transpose(3, 2, 0, 1), b[:, None, None])


BUILT_IN = {
    "fc": FC(2, WIDTH, K, "tanh", "standard", 1.7, 0.3),
    "cnn": CNN(1, WIDTH, K, "tanh", "standard", 1.7, 0.3),
}
OURS = {  # by front-end: a network like each, where its layer's W and b are, and how
    "linen": (
        {"fc": lambda: LinenFC(), "cnn": lambda: LinenCNN()},
        "layers_{}/kernel layers_{}/bias",
        None,
    ),
    "nnx": ({"fc": NnxFC, "cnn": NnxCNN}, "layers/{}/kernel layers/{}/bias", None),
    "equinox": ({"fc": EquinoxFC, "cnn": EquinoxCNN}, "layers/{}/weight layers/{}/bias", turned),
    "pair": ({"fc": fc_pair, "cnn": cnn_pair}, "{}/0 {}/1", None),
}


def kernels(model, params, x, x_test):
    """Outputs of train and test points, and their kernel."""
    every = jnp.concatenate([x, x_test])
    return measure.apply(model, params, every), empirical.ntk(model, params, every)


@pytest.fixture(scope="module")
def built_in():
    """By network: parameters, and `kernels` of them."""
    found = {}
    with jax.enable_x64(True):
        for name, model in BUILT_IN.items():
            flat = name == "fc"
            x = [jnp.asarray(part.reshape(len(part), -1) if flat else part) for part in (X, TEST)]
            params = functions.init(model, jax.random.key(1), x[0])
            params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases start at random: not 0
            found[name] = params, kernels(model, params, *x)
    return found


@pytest.mark.parametrize("network", BUILT_IN)
@pytest.mark.parametrize("library", OURS)
def test_every_front_end_is_the_built_in_network(built_in, library, network):
    """Outputs, kernels and closed forms of the same weights, on images of odd sizes."""
    networks, names, turn = OURS[library]
    theirs, (f0, kernel) = built_in[network]
    model, params = built(networks[network]), {}
    for i, layer in enumerate(theirs.values()):
        pair = turn(layer["w"], layer["b"]) if turn else (layer["w"], layer["b"])
        params |= dict(zip(names.format(i, i).split(), pair, strict=True))
    start = functions.shapes(model, X.shape[1:], jnp.dtype("float64"))["params"]
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in start.items()} == {
        name: (leaf.shape, leaf.dtype) for name, leaf in params.items()
    }
    found = kernels(model, params, jnp.asarray(X), jnp.asarray(TEST))
    for ours, exact in zip(found, (f0, kernel), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-10)
    pair = [predicted(*side) for side in (found, (f0, kernel))]
    np.testing.assert_allclose(pair[0].test, pair[1].test, rtol=1e-10, atol=1e-10)


def predicted(f0, kernel):
    n, theta = len(X), np.asarray(kernel)[:, :, : len(X)]
    rest = {"kernel_test": theta[n:], "f0": f0[:n], "f0_test": f0[n:]}
    return ntkrepro.predict(theta[:n], Y, 0.01, [0, 10, 1000], **rest)


class NormedNnx(nnx.Module):
    """With a state for random numbers, which eval() leaves alone."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(3, 1, use_bias=False, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.tanh(self.norm(x))))


class NormedLinen(nn.Module):
    running: bool
    mixes_examples: bool = False

    @nn.compact
    def __call__(self, x):
        h = nn.BatchNorm(use_running_average=self.running, name="norm")(x)
        return nn.Dense(1, use_bias=False, name="head")(nn.tanh(h))


class NormedEquinox(eqx.Module):
    norm: eqx.nn.BatchNorm
    head: eqx.nn.Linear
    steps: int = 3

    def __init__(self, key):
        self.norm = eqx.nn.BatchNorm(3, "batch", mode="batch")
        self.head = eqx.nn.Linear(3, 1, use_bias=False, key=key)

    def __call__(self, x, state):
        h, state = self.norm(x, state)
        return self.head(jnp.tanh(h)), state


ROWS = RNG.standard_normal((6, 3)) * 2 + 1
MEAN, VARIANCE = np.array([0.5, 1.0, -1.0]), np.array([2.0, 0.5, 1.5])
SCALE, SHIFT, HEAD = (
    np.array([1.5, 0.5, 1.0]),
    np.array([0.1, 0.2, 0.3]),
    np.array([1.0, -1.0, 2.0]),
)


def nnx_normed(rngs):
    net = NormedNnx(rngs)
    net.norm.mean[...], net.norm.var[...] = jnp.float32(MEAN), jnp.float32(VARIANCE)
    net.eval()
    return net


def nnx_by_batch(rngs):
    net = NormedNnx(rngs)
    net.drop.deterministic = True
    return net


def equinox_normed(key):
    net, state = equinox_by_batch(key)
    index = net.norm.batch_state_index
    return eqx.nn.inference_mode(net), state.set(index, (jnp.asarray(MEAN), jnp.asarray(VARIANCE)))


def equinox_by_batch(key):
    return eqx.nn.make_with_state(NormedEquinox)(key)


def normed(x, mean, variance):
    return jnp.tanh((x - mean) / jnp.sqrt(variance + 1e-5) * SCALE + SHIFT) @ HEAD[:, None]


NORM = {"norm/scale": SCALE, "norm/bias": SHIFT, "head/kernel": HEAD[:, None]}
NORM_EQUINOX = {"norm/weight": SCALE, "norm/bias": SHIFT, "head/weight": HEAD[None]}


def linen_normed():
    """Its variables are given."""
    params = {"norm": {"scale": SCALE, "bias": SHIFT}, "head": {"kernel": HEAD[:, None]}}
    stats = {"norm": {"mean": MEAN, "var": VARIANCE}}
    given = {"params": params, "batch_stats": stats}
    return frontends.starting("net", NormedLinen(running=True), given)


@pytest.mark.parametrize(
    ("network", "params"),
    [
        (nnx_normed, NORM),
        (lambda: nnx_normed(nnx.Rngs(0)), NORM),
        (equinox_normed, NORM_EQUINOX),
        (lambda: equinox_normed(jax.random.key(0)), NORM_EQUINOX),
        (linen_normed, NORM),
    ],
    ids=["nnx", "nnx instance", "equinox", "equinox instance", "linen"],
)
def test_a_state_is_a_constant(network, params):
    """Running statistics are no parameters, and stay."""
    model = built(network, ROWS, 1)
    assert set(functions.init(model, jax.random.key(0), ROWS)) == set(params)
    found = measure.apply(model, params, ROWS)
    np.testing.assert_allclose(found, normed(ROWS, MEAN, VARIANCE), rtol=1e-12)
    assert not model.mixes_examples


def by_batch(network):
    """It says so, as a function may."""
    network.mixes_examples = True
    return network


@pytest.mark.parametrize(
    ("network", "params"),
    [
        (by_batch(lambda rngs: nnx_by_batch(rngs)), NORM),
        (by_batch(lambda key: equinox_by_batch(key)), NORM_EQUINOX),
        (lambda: NormedLinen(running=False, mixes_examples=True), NORM),
    ],
    ids=["nnx", "equinox", "linen"],
)
def test_a_network_may_say_that_it_mixes_examples(network, params):
    """Outputs and kernel are those of the batch at hand."""
    model, few, every = built(network, ROWS, 1), jnp.asarray(ROWS[:3]), jnp.asarray(ROWS)
    names, params = list(params), {name: jnp.asarray(leaf) for name, leaf in params.items()}

    @jax.jit
    def exact(params, x):
        scale, shift, head = (params[name] for name in names)
        h = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5) * scale + shift
        return jnp.tanh(h) @ head.reshape(3, 1)

    for x in (every, few):
        np.testing.assert_allclose(measure.apply(model, params, x), exact(params, x), rtol=1e-10)
    found = batchnorm.ntk(model, params, every, few)
    j, j_few = (
        np.hstack(
            [leaf.reshape(len(x), -1) for leaf in jax.jit(jax.jacobian(exact))(params, x).values()]
        )
        for x in (every, few)
    )
    kernel = np.concatenate([j, j_few]) @ j.T
    np.testing.assert_allclose(found.reshape(kernel.shape), kernel, rtol=1e-9, atol=1e-10)


def test_a_mixing_network_is_trained_beside_its_linearization():
    """On the batch at hand, as in function space."""
    data = (ROWS, np.sign(ROWS[:, 0]), ROWS[:4] + 1, np.ones(4))
    keys = {"linearized.space": "both", "log.points": 3}
    given = {"precision": "float64", "lr": 0.05, "steps": 8, "keys": keys}
    found = ntkrepro.compare(by_batch(lambda rngs: nnx_by_batch(rngs)), data, **given).frame
    rows = found[(found["quantity"] == "output") & (found["split"] == "test")]
    one, other = (
        rows[rows["model"] == m]["value"].to_numpy() for m in ("linearized", "ntk_empirical")
    )
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)
    network = rows[rows["model"] == "network"]["value"].to_numpy()
    assert np.abs(network - one).max() > 1e-6
    for key, value in (("log.kernel", True), ("optimizer.solver", "leaps")):
        with pytest.raises(UserError, match=f"{key}={str(value).lower()}: must be .* mixes_examp"):
            ntkrepro.compare(NormedLinen(False, True), data, steps=1, keys={key: value})


class Drawn(nnx.Module):
    def __init__(self, rngs):
        self.features = nnx.Variable(rngs.params.normal((3, 4)))
        self.head = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(x @ self.features)


class Plain(nnx.Module):
    def __init__(self, rngs):
        self.w = nnx.Param(rngs.params.normal((3, 1)))
        self.b = jnp.ones(1)

    def __call__(self, x):
        return x @ self.w + self.b


class Whole(eqx.Module):
    w: jax.Array

    def __init__(self, key):
        self.w = jnp.ones(3, int)

    def __call__(self, x):
        return (self.w @ x)[None]


def two(rngs):
    return [NormedNnx(rngs)]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (NormedNnx, "draws random numbers from drop/rngs/count: call .eval() on it in the factory"),
        (nnx_by_batch, "updates norm/mean in a call: freeze BatchNorm by use_running_average=True"),
        (equinox_by_batch, "outputs depend on the rest of the batch; outputs must be a function"),
        (lambda: NormedLinen(running=False), "updates its batch_stats in a call: freeze BatchNorm"),
        (Drawn, "features is no parameter, and so must not be drawn from the seed, nor depend on"),
        (Plain, "keeps an array where its library looks for none: make it a variable of NNX, or"),
        (Whole, "has no parameters"),
        (two, "returned [NormedNnx("),
        (lambda key: NormedLinen(True), "takes key, which its init is given: must be left out of"),
        (
            lambda rngs, size: 0,
            "needs size, which must have a default; given are activation, b_var",
        ),
        (lambda key: eqx.nn.Dropout(0.5), "has no parameters"),
        (lambda key: eqx.nn.MLP(4, 1, 2, 1, key=key), "its apply raised TypeError: dot_general"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused(network, told):
    with pytest.raises(UserError, match=f"^network: {re.escape(told)}"):
        built(network, ROWS, 1)


def test_parameters_are_not_given_to_a_model_that_holds_its_own():
    net, data = nnx_normed(nnx.Rngs(0)), (ROWS, ROWS[:, 0], ROWS, ROWS[:, 0])
    with pytest.raises(UserError, match="params0: must be left out, as NormedNnx is a Flax NNX mo"):
        ntkrepro.compare(net, data, params0=[1.0])


def test_a_seed_draws_a_model_and_an_instance_is_a_start():
    drawn, one = built(NnxFC), built(lambda: NnxFC(nnx.Rngs(0)))
    for model, apart in ((drawn, True), (one, False)):
        first, second = (
            functions.init(model, jax.random.key(seed), jnp.asarray(X))["layers/0/kernel"]
            for seed in (0, 1)
        )
        assert (np.abs(first - second).max() > 0) == apart


def test_no_library_is_imported_to_ask_whose_a_network_is():
    code = "import sys; from ntkrepro.networks import frontends as f; f.of(f.nn.Dense(1)); f.of(3);"
    code += "print([name for name in ('equinox', 'flax.nnx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
