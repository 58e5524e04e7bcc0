"""theta_0 of a file: the same run as of a network that starts there, or one line that says why."""

import re
import sys
from functools import cache, partial

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run, as_dict
from ntkrepro.errors import UserError
from ntkrepro.networks import functions
from ntkrepro.programs.run import compute
from ntkrepro.programs.setup import prepare
from ntkrepro.records import store
from tests.own import npz, words

DIGITS = (
    *("scale=smoke", "model.width=8", "model.depth=1", "data.train=6", "data.test=4"),
    *("data.subspace=false", "linearized.analytic=false", "log.kernel=false"),
    *("optimizer.steps=2", "log.points=2"),
)
OTHER = ("seed=1", "optimizer.batch=2")  # draws another network, and minibatches
WRN = ("model.architecture=wrn", "model.norm=layer", "model.depth=1", "model.width=2")
WRN += ("data.normalize=global",)
CNN = ("model.architecture=cnn", "model.width=2")


def arrays(*overrides):
    """The parameters that a run draws, by their names."""
    params = prepare(compose(overrides)).params0
    return {"/".join(path): np.asarray(leaf) for path, leaf in functions.flatten(params).items()}


@cache
def digits():
    return arrays(*DIGITS)


def checkpoint(folder, tree):
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder.absolute(), tree)


def safetensors(path, tree):
    pytest.importorskip("safetensors.numpy").save_file(tree, path)


@pytest.mark.parametrize(
    "overrides",
    [DIGITS, (*DIGITS, *CNN), (*DIGITS, *WRN), words("Pair", *npz()), words("Conv", *npz())],
    ids=["fc", "cnn", "wrn", "pair", "flax"],
)
def test_every_network_starts_where_the_file_says(here, overrides):
    """Seed 1 from the file of seed 0 is seed 0; it is another's record."""
    drawn = arrays(*overrides)
    np.savez("start.npz", **drawn)
    found = arrays(*overrides, *OTHER, "model.params=start.npz")
    other = arrays(*overrides, *OTHER)
    assert list(drawn) == list(found)
    assert all((drawn[name] == found[name]).all() for name in drawn)
    assert any((drawn[name] != other[name]).any() for name in drawn)


def test_every_kind_of_file_holds_the_same(here):
    drawn = digits()
    np.savez("a.npz", **drawn)
    np.savez_compressed("b.npz", **{f"params/{name}": leaf for name, leaf in drawn.items()})
    tree = functions.unflatten({tuple(name.split("/")): leaf for name, leaf in drawn.items()})
    checkpoint(here / "c", tree)
    checkpoint(here / "d", {"params": tree, "opt_state": [np.zeros(3)], "step": 7})
    for path in ("a.npz", "b.npz", "c", "d"):
        found = arrays(*DIGITS, *OTHER, f"model.params={path}")
        assert all((drawn[name] == found[name]).all() for name in drawn), path


def test_safetensors_hold_the_same(here):
    drawn = digits()
    safetensors("a.safetensors", drawn)
    found = arrays(*DIGITS, *OTHER, "model.params=a.safetensors")
    assert all((drawn[name] == found[name]).all() for name in drawn)


def test_without_safetensors_the_mend_is_told(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (here / "a.safetensors").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"needs safetensors: pip install 'ntkrepro\[safetensors\]'"
    ):
        arrays(*DIGITS, "model.params=a.safetensors")


def test_a_run_from_a_file_is_the_run_that_drew_it(here):
    np.savez("start.npz", **digits())
    pair = [
        store.read(compute(compose([*DIGITS, *more]))) for more in ([], ["model.params=start.npz"])
    ]
    assert pair[0].rows.equals(pair[1].rows)
    assert pair[0].id != pair[1].id


def test_its_content_names_the_record_not_its_place(here):
    drawn, plain = digits(), compose(DIGITS)
    for name, factor in (("a", 1), ("copy", 1), ("b", 2)):
        np.savez(f"{name}.npz", **{n: factor * leaf for n, leaf in drawn.items()})
        checkpoint(here / name, {n: factor * leaf for n, leaf in drawn.items()})
    own = {n: compose([*DIGITS, f"model.params={n}"]) for n in ("a.npz", "copy.npz", "b.npz", "a")}
    assert own["a.npz"].id == own["copy.npz"].id
    assert len({plain.id, *(run.id for run in own.values())}) == 4
    assert "a.npz" not in str(as_dict(own["a.npz"].experiment))
    before = own["a"].id
    (here / "a" / "more").write_text("")
    assert compose([*DIGITS, "model.params=a"]).id != before


def test_inputs_are_not_rotated_and_no_seed_is_idle(here):
    np.savez("start.npz", **digits())
    words = [w for w in DIGITS if "subspace" not in w] + ["model.params=start.npz"]
    assert compose(words).id == compose([*words, "data.subspace=false"]).id
    assert compose([w for w in words if "params" not in w]).experiment.data.subspace
    with pytest.raises(UserError, match=r"^seed=3: must be 0, as the network starts at the same"):
        prepare(compose([*words, "seed=3"]))


def test_a_file_that_changes_under_a_run_is_refused(here):
    np.savez("start.npz", **digits())
    run = compose([*DIGITS, "model.params=start.npz"])
    np.savez("start.npz", a=np.zeros(3))
    with pytest.raises(UserError, match=r"start.npz: has changed since the command began"):
        prepare(Run.of(run.experiment))


def less(name, drawn):
    return {n: leaf for n, leaf in drawn.items() if n != name}


CHANGES = {  # what is in the file -> what is told
    "readout/w is [8, 3]: must be [8, 1]; a changed layer's": lambda p: (
        p | {"readout/w": np.zeros((8, 3))}
    ),
    "readout/b is [3]: must be [1] (and 1 more)": lambda p: (
        p | {"readout/b": np.zeros(3), "readout/w": np.zeros((8, 3))}
    ),
    "has no readout/b [1]; did you mean readout/w": partial(less, "readout/b"),
    "head/w [2, 1] is none of the network's; did you mean readout/w": lambda p: (
        p | {"head/w": np.zeros((2, 1))}
    ),
    "layer1/b is int64: must be of real numbers": lambda p: p | {"layer1/b": np.zeros(8, int)},
    "layer1/b is complex128: must be of real": lambda p: p | {"layer1/b": np.zeros(8, complex)},
    "layer1/b has values that are not finite in float32": lambda p: (
        p | {"layer1/b": np.full(8, 1e300)}
    ),
    "can't be read (Object arrays": lambda p: p | {"layer1/b": np.array([None] * 8)},
}


@pytest.mark.parametrize("told", CHANGES)
def test_parameters_that_do_not_fit_are_told(here, told):
    np.savez("start.npz", **CHANGES[told](digits()))
    with pytest.raises(UserError, match=f"^model.params=start.npz: .*{re.escape(told)}"):
        arrays(*DIGITS, "model.params=start.npz")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("none.npz", "No such file or directory; give the path of a file"),
        (".", "has no _METADATA: must be an orbax checkpoint's folder"),
        ("/dev/zero", "must be a regular file"),
        ("nets.py", "must be an .npz or .safetensors file, or an orbax checkpoint's folder"),
        ("text.npz", "can't be read (File is not a zip file)"),
        ("broken", "can't be read ("),
    ],
)
def test_what_holds_no_parameters_is_told(here, path, told):
    (here / "text.npz").write_text("a")
    (here / "broken").mkdir()
    (here / "broken" / "_METADATA").write_text("{")
    with pytest.raises(UserError, match=f"model.params={re.escape(path)}: {re.escape(told)}"):
        arrays(*DIGITS, f"model.params={path}")


@pytest.mark.parametrize(
    "overrides",
    [
        ["program=kernel_convergence"],
        ["experiment=ensemble", "scale=smoke"],
    ],
    ids=lambda words: words[0],
)
def test_where_theta_0_is_not_the_files_it_is_refused(here, overrides):
    np.savez("start.npz", **digits())
    with pytest.raises(UserError, match=r"model\.params"):
        compose([*overrides, "model.params=start.npz"])


def test_float64_runs_keep_all_digits(here):
    drawn = {name: np.random.default_rng(0).normal(size=leaf.shape) for name, leaf in
             digits().items()}  # fmt: skip
    np.savez("start.npz", **drawn)
    with jax.enable_x64(True):
        found = arrays(*DIGITS, "model.params=start.npz", "precision=float64")
    assert all((drawn[name] == found[name]).all() for name in drawn)
