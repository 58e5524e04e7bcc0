"""One dict per concept: it has a value for every name of a config, and no else guesses one."""

import ast
from enum import Enum
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrepro
from ntkrepro.config import schema, splits
from ntkrepro.config.compose import compose
from ntkrepro.data import inputs, load
from ntkrepro.errors import UserError
from ntkrepro.networks import architectures, functions, layers
from ntkrepro.programs import catalog, drawn_ensemble, ensemble, run, side_by_side, weight_space
from ntkrepro.records import summary
from ntkrepro.theory import losses
from ntkrepro.theory.kernels import duals
from ntkrepro.theory.kernels.empirical import ntk
from ntkrepro.training import loop, optimizers

CONCEPTS = [
    (architectures.ARCHITECTURES, schema.Architecture),
    (layers.ACTIVATIONS, schema.Activation),
    (layers.PARAMETRIZATIONS, schema.Parametrization),
    (layers.POOLS, schema.Pool),
    (layers.NORMALIZED, schema.Normalization),
    (duals.DUALS, schema.Activation),
    (duals.CLOSED | duals.SMOOTH, schema.Activation),
    (losses.LOSSES, schema.LossName),
    (optimizers.OPTIMIZERS, schema.OptimizerName),
    (loop.TRAINED, schema.Trained),
    (ensemble.TRAINED, schema.Trained),
    (drawn_ensemble.KERNELS, schema.Trained),
    (weight_space.LAYER_RATES, schema.LayerRates),
    (side_by_side.SIDES, schema.Space),
    (run.X64, schema.Precision),
    (load.SETS, schema.DataSet),
    (splits.SPLITS, schema.DataSet),
    (inputs.TARGETS, schema.Targets),
    (inputs.NORMALIZE, schema.Normalize),
    (catalog.PROGRAMS, schema.Program),
    (summary.SUMMARIES, schema.Program),
]
NAMES = {member.name for _, enum in CONCEPTS for member in enum}
ROOT = Path(ntkrepro.__file__).parent
# what rules.py doesn't refuse it lets pass: nothing is computed there
FILES = sorted(set(ROOT.rglob("*.py")) - {ROOT / "config/rules.py"})


def name_of(key):
    return key.name if isinstance(key, Enum) else key


@pytest.mark.parametrize(("known", "enum"), CONCEPTS, ids=lambda c: getattr(c, "__name__", ""))
def test_every_name_is_known_and_no_other(known, enum):
    assert {name_of(key) for key in known} == {member.name for member in enum}


def compares_with_a_name(test):
    """x == "fc", x.name == "fc", x is schema.Architecture.fc."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare):
            other = node.comparators[0]
            text = isinstance(other, ast.Constant) and other.value in NAMES
            yield text or (
                isinstance(other, ast.Attribute)
                and isinstance(other.value, ast.Name)
                and isinstance(getattr(schema, other.value.id, None), type)
                and issubclass(getattr(schema, other.value.id), Enum)
            )


def guesses(tree):
    """Lines where what isn't one name is taken for another: in an else, or after a return."""
    for node in ast.walk(tree):
        branches = isinstance(node, ast.IfExp) or (
            isinstance(node, ast.If) and (node.orelse or isinstance(node.body[-1], ast.Return))
        )
        if branches and any(compares_with_a_name(node.test)):
            yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_else_takes_one_name_for_another(path):
    assert list(guesses(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "code",
    [
        'x = 1 if loss == "mse" else 2',
        'def f(m):\n    if m.name == "fc":\n        return 1\n    return 2',
        "if a is Architecture.fc:\n    b = 1\nelse:\n    b = 2",
    ],
)
def test_an_else_that_guesses_is_found(code):
    assert len(list(guesses(ast.parse(code)))) == 1


class Residual(architectures.Network):
    """An architecture that a user adds: nothing is known of it but its layers."""

    @architectures.nn.compact
    def __call__(self, x):
        h = layers.Dense(self.width, *self.numbers, name="layer0")(x)
        h = h + layers.Dense(self.width, *self.numbers, name="layer1")(jnp.tanh(h))
        return layers.Dense(self.outputs, *self.numbers, name="readout")(h)


def test_an_architecture_without_an_analytic_kernel_is_refused_one(monkeypatch, tmp_path):
    monkeypatch.setitem(architectures.ARCHITECTURES, schema.Architecture.fc, Residual)
    words = ["model.width=8", "data.train=8", "data.test=4", f"results={tmp_path}"]
    point = compose([*words, "optimizer.steps=2"])
    with pytest.raises(UserError, match=r"no analytic kernel.*linearized.analytic=false"):
        run.compute(point)
    point = compose([*words, "optimizer.steps=2", "linearized.analytic=false"])
    assert run.compute(point).is_file()


class Positions(architectures.Network):
    """Dense layers applied at every position of x [n, t, d]."""

    @architectures.nn.compact
    def __call__(self, x):
        h = jnp.tanh(layers.Dense(5, *self.numbers, name="layer1")(x))
        h = jnp.tanh(layers.Dense(4, *self.numbers, name="layer2")(h))
        return layers.Dense(self.outputs, *self.numbers, name="readout")(h.mean(1))


@pytest.mark.parametrize("parametrization", layers.PARAMETRIZATIONS)
def test_dense_layers_at_many_positions_are_no_convolutions(parametrization):
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (6, 3, 7), jnp.float64)
        model = Positions(2, 5, 2, "tanh", parametrization, 1.7, 0.3)
        params = functions.init(model, jax.random.key(1), x)
        jacobian = jax.jacobian(lambda p: functions.apply(model, p, x))(params)
        flat = [leaf.reshape(12, -1) for leaf in jax.tree.leaves(jacobian)]
        exact = sum(part @ part.T for part in flat).reshape(6, 2, 6, 2)
        np.testing.assert_allclose(ntk(model, params, x), exact, rtol=1e-10, atol=1e-12)
