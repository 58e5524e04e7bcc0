"""A network and data of the user's own: what they give, from the config to the figure."""

import re

import numpy as np
import pytest

from ntkrepro.config.compose import compose, expand
from ntkrepro.errors import UserError
from ntkrepro.figures import custom, gather, save
from ntkrepro.programs.run import compute
from ntkrepro.records import store
from ntkrepro.records.summary import summary
from ntkrepro.records.tables import series, table
from tests.own import ARRAYS, SMALL, npz, words


def run(*overrides):
    return store.read(compute(compose(overrides)))


def test_our_own_network_by_a_factory_is_our_own_network(here):
    """By Jacobians and by its layers: the same parameters, training, kernel and linearization."""
    shared = ["precision=float64", "data.name=gaussian", "data.classes=[positive,negative]"]
    shared += ["data.subspace=false", "linearized.analytic=false", "model.width=16"]
    shared += ["optimizer.lr=0.1"]
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


def test_a_layer_that_starts_at_zero_has_no_relative_change(here):
    changes = table(run(*words("FromZero")), "network", "weight_change")
    assert changes.isna().to_numpy().all()


def test_records_keep_no_folder(here):
    record = run(*words("Pair", *npz(f"data.path={here}/own.npz")))
    assert "path" not in record.config["data"]
    assert str(here) not in repr(record.config) + repr(record.provenance)


def test_the_figure_of_one_run_asks_the_claims_of_it(here, capsys):
    chosen = words("Pair", *npz())
    run(*chosen)
    save.draw(["custom"], chosen)
    said = capsys.readouterr().out
    for claim in ("4b", "4c accuracy", "4c loss", "4d"):
        assert re.search(rf"^  {claim}: (follows|doesn't follow);", said, re.MULTILINE)


def test_real_targets_have_no_accuracy(here, capsys):
    """Nor cross entropy, and their outputs are no logits."""
    targets = {f"y_{split}": ARRAYS[f"x_{split}"][:, 0, :, 0] for split in ("train", "test")}
    np.savez("own.npz", **ARRAYS | targets)
    chosen = words("Pair", *npz("data.train=20", "data.test=10"))
    found = set(run(*chosen).rows["quantity"])
    assert {"loss", "rmse", "example_loss"} < found
    assert not found & {"accuracy", "example_correct"}
    assert "accuracy" not in summary(run(*chosen))
    picture = custom.draw({"digits": gather.load(["experiment=digits", *chosen])[0]})
    titles = [ax.get_title() for ax in picture.axes if ax.get_visible()]
    assert len(titles) == 5
    assert not [title for title in titles if "logits" in title or "accuracy" in title]
    save.draw(["custom"], chosen)
    said = capsys.readouterr().out
    assert "4c loss: " in said
    assert "accuracy" not in said
    with pytest.raises(UserError, match=r"loss\.name=xent: must be mse, as y_train holds targets"):
        run(*chosen, "loss.name=xent")


def last_rmse(record):
    return series(record, "ntk_empirical", "rmse", "test")["value"].iloc[-1]


def test_the_figure_of_a_grid_is_its_slope_in_width(here, capsys):
    """And lists that are no grid over width are refused."""
    grid = words("Pair", "model.width=4,16,64", "seed=0,1", "log.kernel=false")
    with pytest.raises(UserError, match=r"6 of 6 runs of digits: ntkrepro run -m "):
        save.draw(["custom"], grid)
    for point in expand(grid):
        compute(point)
    save.draw(["custom"], grid)
    said = capsys.readouterr().out
    value = float(
        re.search(r"^  width: (?:closes|doesn't close|inconclusive); (\S+) \(", said, re.M)[1]
    )
    found, _ = gather.load(["experiment=digits", *grid])
    ends = [
        np.mean([np.log(last_rmse(r)) for r in found if r.config["model"]["width"] == width])
        for width in (4, 64)
    ]
    assert value == pytest.approx((ends[1] - ends[0]) / np.log(16), abs=2e-3)
    several = words("Pair", "data.train=8,16", "log.kernel=false")
    for point in expand(several):
        compute(point)
    with pytest.raises(UserError, match=r"data\.train=8,16: .* differ in model\.width, seed alone"):
        save.draw(["custom"], several)


def test_the_command_takes_the_issues_words(here, ntkrepro):
    given = ["run", *words("Pair", *npz(), "log.kernel=false", "data.train=8", "data.test=8")]
    done = ntkrepro(*given)
    assert done.returncode == 0, done.stderr
    assert "ntk_empirical" in done.stdout
    bad = ntkrepro(*given, "model.factory=nets:raises")
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    assert "model.factory=nets:raises: calling it raised RuntimeError: no luck" in bad.stderr
