"""A network and data of the user's own: what they give, what names their records, bad input."""

import re
import shutil
import sys

import numpy as np
import pytest

from ntkrepro import config, custom, data, experiment, figures, records, setup
from ntkrepro.claims import FAILED, REPRODUCED, series, table
from ntkrepro.config import compose, run_id
from ntkrepro.errors import UserError

NETS = '''
import flax.linen as nn
import jax
import jax.numpy as jnp
from ntkrepro.models import FC

def flat(x):
    return x.reshape(len(x), -1)

def OurFC(outputs, width, depth, w_var, b_var):
    return FC(depth, width, outputs, "relu", "ntk", w_var, b_var)

def Pair(outputs, width=8, activation=jnp.tanh):
    """A list of tuples, one of them a number."""
    def init(key, x):
        keys, d = jax.random.split(key), flat(x).shape[1]
        first = jax.random.normal(keys[0], (d, width)), jnp.zeros(width)
        return [first, (jax.random.normal(keys[1], (width, outputs)), 0.5)]
    def apply(params, x):
        (w, b), (v, c) = params
        h = activation(flat(x) @ w / w.shape[0] ** 0.5 + b)
        return h @ v / width**0.5 + c
    return init, apply

class Conv(nn.Module):
    outputs: int
    width: int = 4
    @nn.compact
    def __call__(self, x):
        h = nn.LayerNorm()(nn.relu(nn.Conv(self.width, (3, 3))(x)))
        return nn.Dense(self.outputs)(h.mean((1, 2)))

class Linear(nn.Module):
    outputs: int
    @nn.compact
    def __call__(self, x):
        return self.head(flat(self.body(x)))
    def body(self, x):
        return x
    def head(self, x):
        return nn.Dense(self.outputs)(x)

class FromZero(Linear):
    def head(self, x):
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(x)

class State(Linear):
    def body(self, x):
        return nn.BatchNorm(use_running_average=False)(x)

class Dropout(Linear):
    def body(self, x):
        return nn.Dropout(0.5, deterministic=False)(x)

class Mixing(Linear):
    def body(self, x):
        return x - x.mean(0)

class NotFinite(Linear):
    def head(self, x):
        return super().head(x) / 0

class Wrong(Linear):
    def head(self, x):
        return nn.Dense(self.outputs + 1)(x)

class Two(Linear):
    def head(self, x):
        return super().head(x), x

class Training(nn.Module):
    outputs: int
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.outputs)(flat(x))

def raises(outputs):
    raise RuntimeError("no luck")

def needs(hidden):
    return None

def nothing(outputs):
    return None

def whole(outputs):
    return lambda key, x: {"a": jnp.zeros(3, int)}, lambda params, x: flat(x)[:, :outputs]

def empty(outputs):
    return lambda key, x: {}, lambda params, x: flat(x)[:, :outputs]

number = 3
'''
SMALL = ("model=custom", "scale=smoke", "optimizer.steps=8", "log.points=4")
PIXELS = np.random.default_rng(0).standard_normal((60, 4, 4, 1))
LABELS = np.arange(60) % 3 * 10
ARRAYS = dict(zip(("x_train", "x_test"), (PIXELS[:40], PIXELS[40:]), strict=True))
ARRAYS |= {"y_train": LABELS[:40], "y_test": LABELS[40:]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The user's folder: nets.py and own.npz, and no module of it is left behind."""
    (tmp_path / "nets.py").write_text(NETS)
    np.savez(tmp_path / "own.npz", **ARRAYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(custom, "LOADED", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def words(name, *overrides):
    return [*SMALL, f"model.factory=nets:{name}", *overrides]


def npz(*overrides):
    return ["data=npz", "data.path=own.npz", *overrides]


def run(*overrides):
    return records.read(experiment.run(compose(overrides)))


def test_our_own_network_by_a_factory_is_our_own_network(here):
    """By Jacobians and by its layers: the same parameters, training, kernel and linearization."""
    shared = ["precision=float64", "data.name=gaussian", "data.classes=[positive,negative]"]
    shared += ["data.subspace=false", "linearized.analytic=false", "model.width=16"]
    theirs = run(*words("OurFC", *shared))
    ours = run("scale=smoke", *SMALL[2:], *shared)
    for model, quantity in (
        ("network", "output"),
        ("ntk_empirical", "output"),
        ("network", "weight"),
        ("network", "weight_change"),
    ):
        split = "test" if quantity == "output" else ""
        pair = [table(record, model, quantity, split) for record in (ours, theirs)]
        assert np.allclose(*pair, rtol=1e-9, atol=1e-12), (model, quantity)
    for quantity in ("lambda_max", "ntk_change"):
        pair = [series(r, "network", quantity, "train")["value"] for r in (ours, theirs)]
        assert np.allclose(*pair, rtol=1e-9)


@pytest.mark.parametrize(
    "overrides",
    [
        words("Pair", "model.width=8", "model.activation=erf"),
        words("Conv", *npz(), "data.train=12"),
        words("Conv", *npz(), "loss.name=xent", "optimizer.batch=4", "optimizer.momentum=0.5"),
    ],
    ids=" ".join,
)
def test_both_spaces_agree_for_any_pytree_and_any_layer(here, overrides):
    record = run(*overrides, "linearized.space=both", "precision=float64", "optimizer.lr=0.05")
    pair = [table(record, m, "output", "test") for m in ("linearized", "ntk_empirical")]
    assert np.abs(pair[0] - pair[1]).to_numpy().max() < 1e-9
    moved = table(record, "network", "output", "test")
    assert np.abs(moved - pair[0]).to_numpy().max() > 1e-6
    assert table(record, "network", "weight_change").iloc[-1].gt(0).all()


def test_convolutions_are_seen(here):
    """On a CPU their steps are not compiled into a loop."""
    found = [
        setup.prepare(compose(words(name, *npz()))).model.convolutional for name in ("Conv", "Pair")
    ]
    assert found == [True, False]


def test_a_layer_that_starts_at_zero_has_no_relative_change(here):
    changes = table(run(*words("FromZero")), "network", "weight_change")
    assert changes.isna().to_numpy().all()


def test_runs_that_differ_in_seed_share_their_network(here):
    a, b = (setup.prepare(compose(words("Pair", f"seed={s}"))) for s in (0, 1))
    assert a.model is b.model
    assert np.abs(a.params0["0/0"] - b.params0["0/0"]).max() > 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("State", "keeps state in batch_stats; outputs must be a function of parameters and x"),
        ("Dropout", "its apply raised InvalidRngError"),
        ("Mixing", "outputs depend on the rest of the batch"),
        ("NotFinite", "outputs at its initial parameters are not finite"),
        ("Wrong", "outputs for 2 examples are [2, 2]: must be [2, 1]"),
        ("Two", "must be [2, 1]"),
        ("Training", "its init raised TypeError: Training.__call__() missing 1"),
        ("raises", "calling it raised RuntimeError: no luck; HYDRA_FULL_ERROR=1 shows where"),
        ("needs", "needs hidden, which must have a default; given are activation,"),
        ("nothing", "returned None: must be a Flax Linen module or (init, apply)"),
        ("whole", "parameter a is int"),
        ("empty", "has no parameters"),
        ("number", "is no class or function but 3"),
        ("Convv", "no Convv in "),
    ],
)
def test_a_network_that_cannot_be_meant_is_refused(here, name, told):
    with pytest.raises(UserError, match=f"model.factory=nets:{name}: .*{re.escape(told)}"):
        setup.prepare(compose(words(name)))


def test_what_a_misspelled_name_may_have_meant_is_told(here):
    with pytest.raises(UserError, match="did you mean Conv"):
        setup.prepare(compose(words("Convv")))


def test_a_key_that_changes_nothing_is_refused(here):
    """Else a grid over width would be the same network many times."""
    with pytest.raises(UserError, match=r"model\.width=64: must be left out \(512\), as nets:Line"):
        setup.prepare(compose(words("Linear", "model.width=64")))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=custom"], "model.factory=None: must be MODULE:NAME"),
        (["model.factory=a:b"], "model.factory=a:b: must be null, or stand with model.archi"),
        (words("Pair", "model.factory=nets"), "model.factory=nets: must be MODULE:NAME"),
        (words("Pair", "model.factory=nowhere:f"), "model.factory=nowhere:f: no module nowhere"),
        (words("Pair", "model.factory=broken:f"), "broken.py is no Python"),
        (words("Pair", "model.digest=0123"), "model.digest='?0?123'?: must be left out, or be"),
        (words("Pair", "model.pool=flatten"), "model.pool=flatten: must be left out"),
        (words("Pair", "model.parametrization=standard"), "model.parametrization=standard: must"),
        (words("Pair", "data.subspace=true"), "data.subspace=true: must be false"),
        (words("Pair", "linearized.analytic=true"), "linearized.analytic=true: must be false"),
        (words("Pair", "optimizer.layer_rates=S33"), "optimizer.layer_rates=S33: must be same"),
        (words("Pair", "optimizer.train=readout"), "optimizer.train=readout: must be all"),
        (words("Pair", "program=kernel_convergence"), "model.architecture=custom: must be fc"),
        (words("Pair", "program=ensemble", "data.points=5"), "model.architecture=custom: must be"),
        (["data=npz"], "data.path=None: must be an .npz file"),
        (["data.path=own.npz"], "data.path=own.npz: must be null, or stand with data=npz"),
        (["data=npz", "data.path=no.npz"], "data.path=no.npz: No such file"),
        (["model=fc"], "model=fc: unknown; valid: custom"),
        (["data=mnist"], "data=mnist: unknown; valid: npz"),
    ],
)
def test_what_goes_with_neither_is_refused(here, overrides, told):
    (here / "broken.py").write_text("def f(:")
    with pytest.raises(UserError, match=told):
        compose(overrides)


def test_own_classes_and_own_targets(here):
    sets = data.load(compose(npz("data.train=40", "data.test=20")).data)
    assert (sets.x_train == ARRAYS["x_train"].reshape(40, -1)).all()
    assert sets.image == (4, 4, 1)
    assert (sets.y_train.argmax(1) == LABELS[:40] // 10).all()
    two = npz("data.classes=[20,0]", "data.targets=signs", "data.train=5", "data.test=5")
    signs = data.load(compose(two).data)
    assert list(signs.y_train[:, 0]) == [-1, 1, -1, 1, -1]
    targets = np.linspace(0, 1, 60).reshape(-1, 1) * [1, 2]
    np.savez("own.npz", **{**ARRAYS, "y_train": targets[:40], "y_test": targets[40:]})
    sets = data.load(compose(npz("data.train=7", "data.test=7")).data)
    assert (sets.y_train == targets[:7]).all()
    with pytest.raises(UserError, match=r"data\.classes=.*must be \[\] where y holds targets"):
        data.load(compose(npz("data.classes=[3]")).data)
    with pytest.raises(UserError, match=r"data\.train=41: must be at most 40, all there is of the"):
        data.load(compose(npz("data.train=41", "data.test=7")).data)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_test": None}, "has no y_test; it needs x_train, y_train, x_test, y_test"),
        ({"x_train": PIXELS[:39]}, "x_train has 39 examples and y_train 40"),
        ({"x_train": PIXELS[:40, :3]}, r"x_train is .*3, 4, 1\] and x_test .*4, 4, 1\]"),
        ({"x_train": PIXELS[:40].astype(np.uint8)}, "x_train is uint8 .* must be alike"),
        ({"x_test": PIXELS[40:] * np.nan}, "x_test has values that are not finite"),
        ({"x_test": PIXELS[40:, 0, 0, 0]}, r"x_test is float64 \[20\]: must be \[n, d\]"),
        ({"y_train": LABELS[:40] / 2}, r"y_train is float64 \[40\]: must be integers \[n\]"),
        ({"y_train": LABELS[:40].astype(str)}, "y_train is <U.*: must be of numbers"),
        ({"y_train": LABELS[:40].astype(object)}, "is no .npz file of numbers .*allow_pickle"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(here, change, told):
    arrays = {name: a for name, a in (ARRAYS | change).items() if a is not None}
    np.savez("own.npz", **arrays)
    with pytest.raises(UserError, match=f"data.path=own.npz: {told}"):
        data.load(compose(npz()).data)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_a_file_that_is_no_npz_is_refused(here, content):
    (here / "own.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.path=own\.npz: is no \.npz file"):
        data.load(compose(npz()).data)


def test_convolutions_of_what_are_no_images_are_refused(here):
    np.savez("own.npz", **{**ARRAYS, "x_train": PIXELS[:40, 0], "x_test": PIXELS[40:, 0]})
    cnn = npz("model.architecture=cnn", "data.subspace=false", "data.train=9", "data.test=9")
    with pytest.raises(UserError, match=r"data\.name=npz: inputs are \[4, 1\].*cnn needs images"):
        setup.prepare(compose(cnn))


def own_id(*overrides):
    return run_id(compose(words("Pair", *npz(), *overrides)))


def test_the_content_of_the_files_names_the_record_not_their_place(here):
    before = own_id()
    shutil.copy("own.npz", "copy.npz")
    assert own_id("data.path=copy.npz") == before
    np.savez("own.npz", **{**ARRAYS, "x_train": 2 * ARRAYS["x_train"]})
    assert own_id() != before
    assert own_id("data.path=copy.npz") == before
    (here / "nets.py").write_text(NETS + "# edited\n")
    assert own_id("data.path=copy.npz") != before


def package(here):
    """mine.nets, which imports a neighbour by a relative name, and that a third."""
    for name, text in (
        ("mine/nets.py", "from .blocks import Linear"),
        ("mine/blocks.py", "import helper\nfrom nets import Linear"),
        ("helper.py", "import numpy"),
        ("unused.py", "a = 1"),
    ):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)


@pytest.mark.parametrize("name", ["mine/nets.py", "mine/blocks.py", "helper.py", "nets.py"])
def test_whatever_the_network_imports_from_beside_it_names_the_record(here, name):
    package(here)
    asked = words("Pair", "model.factory=mine.nets:Linear")
    before = run_id(compose(asked))
    (here / "unused.py").write_text("a = 2")
    assert run_id(compose(asked)) == before
    with (here / name).open("a") as file:
        file.write("\nb = 2\n")
    assert run_id(compose(asked)) != before
    assert not {"mine", "helper", "nets"} & set(sys.modules)  # by reading alone


def test_a_network_that_changed_after_its_import_is_not_run(here):
    """Python would run the old one under the new one's name."""
    run(*words("Pair"))
    (here / "nets.py").write_text(NETS + "# edited\n")
    with pytest.raises(UserError, match="nets has changed since it was imported; start again"):
        run(*words("Pair"))


def test_records_keep_no_folder(here):
    record = run(*words("Pair", *npz(f"data.path={here}/own.npz")))
    assert "path" not in record.config["data"]
    assert str(here) not in repr(record.config) + repr(record.provenance)


def test_the_figure_of_one_run_asks_the_claims_of_it(here, capsys):
    chosen = words("Pair", *npz())
    run(*chosen)
    figures.draw(["custom"], chosen)
    said = capsys.readouterr().out
    for claim in ("4b", "4c accuracy", "4c loss", "4d"):
        assert re.search(rf"^  {claim}: ({REPRODUCED}|{FAILED});", said, re.MULTILINE)


def last_rmse(record):
    return series(record, "ntk_empirical", "rmse", "test")["value"].iloc[-1]


def test_the_figure_of_a_grid_is_its_slope_in_width(here, capsys):
    """And lists that are no grid over width are refused."""
    grid = words("Pair", "model.width=4,16,64", "seed=0,1", "log.kernel=false")
    with pytest.raises(UserError, match=r"6 of 6 runs of digits: ntkrepro run -m "):
        figures.draw(["custom"], grid)
    for point in config.expand(grid):
        experiment.run(point)
    figures.draw(["custom"], grid)
    said = capsys.readouterr().out
    value = float(re.search(r"width: .*; (\S+) \(", said)[1])
    found, _ = figures.load(["experiment=digits", *grid])
    ends = [
        np.mean([np.log(last_rmse(r)) for r in found if r.config["model"]["width"] == width])
        for width in (4, 64)
    ]
    assert value == pytest.approx((ends[1] - ends[0]) / np.log(16), abs=2e-3)
    several = words("Pair", "data.train=8,16", "log.kernel=false")
    for point in config.expand(several):
        experiment.run(point)
    with pytest.raises(UserError, match=r"may differ in model\.width and seed alone"):
        figures.draw(["custom"], several)


def test_the_command_takes_the_issues_words(here, ntkrepro):
    given = ["run", *words("Pair", *npz(), "log.kernel=false", "data.train=8", "data.test=8")]
    done = ntkrepro(*given)
    assert done.returncode == 0, done.stderr
    assert "ntk_empirical" in done.stdout
    bad = ntkrepro(*given, "model.factory=nets:raises")
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    assert "model.factory=nets:raises: calling it raised RuntimeError: no luck" in bad.stderr
