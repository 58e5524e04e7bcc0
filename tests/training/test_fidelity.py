"""How well a linearization stands for its network: each quantity against its formula."""

import numpy as np
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.errors import UserError
from ntkrepro.networks import functions
from ntkrepro.programs.run import compute
from ntkrepro.programs.setup import prepare
from ntkrepro.records import store
from ntkrepro.records.tables import series, table
from ntkrepro.training import fidelity, measure
from tests.own import npz, words

WORDS = (
    *(
        "scale=smoke",
        "data.classes=[1,3,8]",
        "data.targets=onehot",
        "data.train=24",
        "data.test=20",
    ),
    *("data.subspace=false", "linearized.analytic=false", "log.kernel=false", "model.width=8"),
    *(
        "model.depth=1",
        "model.b_var=0",
        "optimizer.steps=30",
        "log.points=4",
        "precision=float64",
        "optimizer.lr=1",
    ),
)
FEW = ("data.train=all", "data.test=all")
F = np.array([[[1.0], [-2.0], [3.0]], [[2.0], [-1.0], [5.0]]])  # [t, n, k]
G = np.array([[[1.0], [-2.0], [3.0]], [[1.0], [1.0], [4.0]]])
Y = np.array([[1.0], [1.0], [-1.0]])


def test_the_formulas_by_hand():
    found = fidelity.quantities(F, G, Y, real=False)
    assert np.allclose(found["r2"], [1, 1 - (1 + 4 + 1) / 18])  # mean 2, so 0, 9, 9
    assert np.isnan(found["r2_moved"][0])
    assert np.isclose(found["r2_moved"][1], 1 - 6 / (1 + 1 + 4))
    assert np.allclose(found["agreement"], [1, 2 / 3])
    assert np.allclose(found["accuracy_gap"], [0, -1 / 3])
    assert set(fidelity.quantities(F, G, Y, real=True)) == {"r2", "r2_moved"}


def test_classes_of_several_outputs_are_their_largest():
    f, g = np.array([[[1, 2.0], [3, 1]]]), np.array([[[5, 6.0], [1, 2]]])
    y = np.array([[0, 1.0], [0, 1.0]])
    found = fidelity.quantities(f, g, y, real=False)
    assert (found["agreement"], found["accuracy_gap"]) == (0.5, -0.5)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    results = f"results={tmp_path_factory.mktemp('fidelity')}"
    asked = [*WORDS, results, "log.fidelity=true", "linearized.space=both"]
    return store.read(compute(compose(asked)))


@pytest.mark.parametrize("model", ["linearized", "ntk_empirical"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_record_holds_them_of_its_own_outputs(record, model, split):
    f, g = (table(record, m, "output", split).to_numpy() for m in ("network", model))
    y = table(record, "data", "target", split).to_numpy().reshape(-1, 3)
    f, g = (part.reshape(len(f), -1, 3) for part in (f, g))
    assert np.abs(f - g)[-1].max() > 1e-3

    def logged(quantity):
        return series(record, model, quantity, split)["value"].to_numpy()

    off = ((f - g) ** 2).sum((1, 2))
    assert np.allclose(logged("r2"), 1 - off / ((f - f.mean(1)[:, None]) ** 2).sum((1, 2)))
    moved = ((f - f[0]) ** 2).sum((1, 2))[1:]
    assert np.allclose(logged("r2_moved"), 1 - off[1:] / moved)
    classes, right = (f.argmax(2), g.argmax(2)), y.argmax(1)
    assert np.allclose(logged("agreement"), (classes[0] == classes[1]).mean(1))
    own, linear = ((found == right).mean(1) for found in classes)
    assert np.allclose(logged("accuracy_gap"), own - linear)


def test_the_parameters_move_by_the_norm_of_all_of_them(record):
    start = functions.flatten(prepare(compose(WORDS)).params0).values()
    size = np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in start))
    paths = [
        series(record, m, "parameter_change")["value"] for m in ("linearized", "ntk_empirical")
    ]
    assert np.allclose(*paths, rtol=1e-6)
    layers = table(record, "network", "weight_change").to_numpy()  # all that there is: b_var = 0
    norms = [np.linalg.norm(leaf) for leaf in start]
    moved = series(record, "network", "parameter_change")["value"].to_numpy()
    assert np.allclose(moved * size, np.sqrt(((layers * norms) ** 2).sum(1)), rtol=1e-6)
    assert moved[-1] > 1e-3


def test_the_size_has_what_a_rotation_left_out():
    """data.subspace: |W_0| of the first layer is drawn with the part that is not seen."""
    params = {
        "layer1": {"w": np.full((2, 2), 2.0), "b": np.full(2, 1.0)},
        "readout": {"w": np.eye(2)},
    }
    norms = measure.full_norms(params, 3, 1.0, 0)
    whole = norms["layer1", "w"] ** 2 + 2 + 2
    assert measure.size(params, norms) == pytest.approx(whole**0.5)
    assert norms["layer1", "w"] > 4
    assert np.isnan(measure.moved({"a": np.ones(2)}, 0.0)).all()


def test_a_network_alone_has_none_and_other_records_stay(here, record):
    with pytest.raises(
        UserError, match=r"log.fidelity=true: must be false with linearized.space=no"
    ):
        compose([*WORDS, "log.fidelity=true", "linearized.space=none"])
    plain = store.read(compute(compose([*WORDS, "linearized.space=both"])))
    new = {"r2", "r2_moved", "agreement", "accuracy_gap", "parameter_change"}
    rows = record.rows[~record.rows["quantity"].isin(new)].reset_index(drop=True)
    assert rows.astype({"quantity": str}).equals(plain.rows.astype({"quantity": str}))


def test_real_targets_have_no_classes(here):
    x = np.random.default_rng(0).normal(size=(12, 5))
    np.savez("own.npz", x_train=x[:8], y_train=x[:8, :2], x_test=x[8:], y_test=x[8:, :2])
    record = store.read(compute(compose(words("Linear", *npz(), *FEW, "log.fidelity=true"))))
    found = set(record.rows["quantity"])
    assert {"r2", "r2_moved"} <= found
    assert not {"agreement", "accuracy_gap"} & found
