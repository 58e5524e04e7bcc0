from dataclasses import fields, is_dataclass
from math import inf, nan
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrepro.config.compose import compose
from ntkrepro.config.identity import Run
from ntkrepro.config.rules import check
from ntkrepro.config.schema import Experiment
from ntkrepro.errors import UserError
from ntkrepro.programs.kernel_convergence import kernel_convergence
from ntkrepro.programs.run import numerics
from tests.config.test_identity import FIELDS, another

NEGATIVE = st.integers(max_value=-1)
NOT_ABOVE_0 = st.floats(max_value=0) | st.sampled_from([inf, nan])
BELOW_0 = st.floats(max_value=0, exclude_max=True) | st.just(nan)


def outside(low, high):
    return st.integers(max_value=low - 1) | st.integers(min_value=high + 1)


MANY, SEEDS = 10_000_000, 2**32 - 1
BOUNDED = [  # keys, what their values must be, and what they mustn't
    ("data.train data.test", "all or 1 to 10,000,000", outside(1, MANY) | st.just("al")),
    ("data.dim", "1 to 10,000,000", outside(1, MANY)),
    ("model.width log.outputs", "1 to 10,000,000", outside(1, MANY)),
    ("model.depth", "1 to 4,096", outside(1, 4096)),
    ("samples", "1 to 1,000,000", outside(1, 1_000_000)),
    ("data.points", "0 to 1,000,000", outside(0, 1_000_000)),
    ("workers", "1 to 10,000", outside(1, 10_000)),
    ("log.batch", "null (all) or 1 to 10,000,000", outside(1, MANY)),
    ("pack", "null (what caches hold) or 1 to 100,000", outside(1, 100_000)),
    ("seed data.seed", "0 to 4,294,967,295", outside(0, SEEDS)),
    ("optimizer.steps", "0 to 2,147,483,647", outside(0, 2**31 - 1)),
    ("optimizer.weight_decay", "0 or above", NEGATIVE),
    ("checkpoint", "0 seconds or above", NEGATIVE),
    ("optimizer.stop", "0 (never) or above", NEGATIVE),
    ("log.points", "0 (only log.steps) to 100,000", outside(0, 100_000)),
    ("log.weights", "0 (none) to 10,000,000", outside(0, MANY)),
    ("log.steps", "0 to 2,147,483,647", outside(0, 2**31 - 1).map(lambda step: [3, step])),
    ("log.steps data.classes", "a list of single values", st.just([["3"]])),
    ("data.classes", "different from each other", st.lists(st.just("3"), min_size=2)),
    ("optimizer.tolerance optimizer.floor", "above 0 and finite", NOT_ABOVE_0),
    ("model.w_var model.scale loss.scale optimizer.lr", "above 0 and finite", NOT_ABOVE_0),
    ("optimizer.lr_over_critical", "null (optimizer.lr is the rate) or above 0", NOT_ABOVE_0),
    ("model.b_var", "0 (no biases) or above, finite", BELOW_0 | st.just(inf)),
    ("optimizer.momentum optimizer.plateau", "in [0, 1)", BELOW_0 | st.floats(min_value=1)),
]
KEYS = [(key, wanted, values) for keys, wanted, values in BOUNDED for key in keys.split()]


@pytest.mark.parametrize(("key", "wanted", "values"), KEYS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_value_out_of_its_key_s_bound_is_refused(data, key, wanted, values):
    value, experiment, (*section, name) = data.draw(values), Experiment(), key.split(".")
    setattr(attrgetter(*section)(experiment) if section else experiment, name, value)
    with pytest.raises(UserError) as error:
        check(experiment)
    assert str(error.value).startswith(f"{key}={value}: must be {wanted}")


def test_every_bound_is_among_these():
    whole = Experiment()
    sections = {"": whole} | {f"{n}.": v for n, v in vars(whole).items() if is_dataclass(v)}
    found = {p + f.name for p, s in sections.items() for f in fields(s) if "bound" in f.metadata}
    assert found == {key for key, *_ in KEYS}


LEAPS = "optimizer.solver=leaps"
OWN = ("model=custom", "model.factory=nets:Pair")
MUP = ("linearized.analytic=false", "model.parametrization=mup")
GAUSSIAN = ("data.classes=[positive,negative]",)


@pytest.mark.parametrize("network", ["model.architecture=cnn", "model.architecture=wrn"])
def test_the_subspace_chooses_itself(network):
    """Where a network isn't given flattened inputs nothing is rotated, whatever is asked for."""
    given = [network, "log.kernel=false", "linearized.analytic=false"]
    asked = ([], ["data.subspace=true"], ["data.subspace=false"])
    runs = [compose([*given, *words]) for words in asked]
    assert {run.experiment.data.subspace for run in runs} == {False}
    assert len({run.id for run in runs}) == 1
    assert compose(given[1:]).experiment.data.subspace


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["optimizer.batch=0"], "null (full batch) or 1 to data.train=128"),
        (["optimizer.batch=129"], "null (full batch) or 1 to data.train=128"),
        (["log.train=0"], "null (all) or 1 to data.train=128"),
        (["log.train=129"], "null (all) or 1 to data.train=128"),
        (["data.augment=true"], "false unless data.name is a set of images and data.subspace"),
        (["data.points=3"], "0, or left out: it is for program=ensemble"),
        (["data.name=mnist", "data.dim=32"], "64, or left out: it is for data.name=gaussian"),
        (["samples=2"], "1, or left out: it is for program=ensemble or kernel_conv"),
        (["model.norm=none"], "batch, or left out: it is for model.architecture=wrn"),
        (["linearized.space=weights", "linearized.flow=true"], "false, or left out: it is for lin"),
        (["optimizer.momentum=0.9", "linearized.flow=true"], "false with optimizer.momentum=0.9"),
        (["experiment=kernel_convergence", "log.batch=4"], "null, or left out: it is for program"),
        (["experiment=ensemble", "optimizer.weight_decay=0.1"], "0.0, or left out: it is for pro"),
        (["optimizer.name=adam", "optimizer.momentum=0.9"], "0 with optimizer.name=adam"),
        (["optimizer.name=adam", "optimizer.layer_rates=S33"], "same unless"),
        (
            ["model.parametrization=standard", "optimizer.layer_rates=S33"],
            "same unless model.parametrization=ntk",
        ),
        (
            ["experiment=kernel_convergence", "data.subspace=false", "data.augment=true"],
            "false, or left out: it is for program=train",
        ),
        (["optimizer.train=readout", "optimizer.weight_decay=0.1"], "0 with optimizer.train=read"),
        (
            [*GAUSSIAN, "model.architecture=cnn", "data.subspace=false", "data.name=gaussian"],
            "a set of images with",
        ),
        (["optimizer.lr_over_critical=0.5", "optimizer.lr=0.2"], "left out with optimizer.lr_over"),
        (["optimizer.name=adam", "optimizer.lr_over_critical=0.5"], "null unless program=train"),
        (
            ["experiment=kernel_convergence", "optimizer.stop=0.1"],
            "0.0, or left out: it is for program",
        ),
        (["experiment=wrn_cifar", "log.kernel=true"], "false with model.norm=batch"),
        (["log.kernel=false", "log.norms=true"], "false with log.kernel=false"),
        (["experiment=ensemble", "log.norms=true"], "false, or left out: it is for program=train"),
        (["optimizer.name=adam", "model.scale=2.5"], "1 with optimizer.name=adam, not sgd"),
        (["model.scale=2.5", "optimizer.weight_decay=0.1"], "0 with model.scale=2.5"),
        (["experiment=ensemble", "model.scale=2.5"], "1.0, or left out: it is for program=train"),
        (["model.centred=true", LEAPS], "steps where model.centred=true"),
        ([*MUP, "optimizer.name=adam"], "sgd with model.parametrization=mup"),
        (
            [MUP[1], "linearized.analytic=true"],
            "false with model.parametrization=mup, whose kernel moves",
        ),
        (["experiment=wrn_cifar", *MUP, "model.norm=batch"], "none with model.parametrization=mup"),
        ([*OWN, "log.coordinates=true"], "false with model.architecture=custom"),
        (["program=kernel_convergence", "log.diverged=true"], "false, or left out: it is for prog"),
        (["experiment=kernel_convergence", "model.parametrization=standard"], "ntk with program="),
        (["experiment=ensemble", "loss.name=xent"], "mse, or left out: it is for program=train"),
        (["model.factory=a:b"], "null, or stand with model.architecture=custom (model=custom)"),
        ([*OWN, "model.pool=flatten"], "gap, or left out: it is for model.architecture=cnn"),
        ([*OWN, "model.parametrization=standard"], "left out with model.architecture=custom"),
        ([*OWN, "linearized.analytic=true"], "false with model.architecture=custom"),
        ([*OWN, "optimizer.layer_rates=S33"], "same "),
        ([*OWN, "optimizer.train=readout"], "all with model.architecture=custom"),
        (["data.path=own.npz"], "null, or stand with data=npz"),
        (["optimizer.tolerance=0.1"], "0.01, or left out: it is for optimizer.solver=leaps"),
        (["optimizer.floor=0.1"], "0.001, or left out: it is for optimizer.solver=leaps"),
        (["optimizer.name=adam", LEAPS], "steps where optimizer.name is not sgd, or trains with"),
        (["optimizer.weight_decay=0.1", LEAPS], "steps where optimizer.name is not sgd, or"),
        (["optimizer.layer_rates=S33", LEAPS], "steps where optimizer.name is not sgd, or trains"),
        (["data.subspace=false", "data.augment=true", LEAPS], "steps where optimizer.name is"),
        (["optimizer.batch=32", LEAPS], "steps where optimizer.batch=32"),
        (["experiment=wrn_cifar", "optimizer.batch=null", LEAPS], "steps where model.norm=batch"),
        (["linearized.space=weights", LEAPS], "steps where linearized.space=weights"),
        (["linearized.space=both", LEAPS], "steps where linearized.space=both"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides, told):
    with pytest.raises(UserError) as error:
        compose(overrides)
    assert str(error.value).startswith(f"{overrides[-1]}: must be {told}")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=custom"], "model.factory=null: must be MODULE:NAME"),
        (["data=npz"], "data.path=null: must be an .npz file"),
        ([*OWN, "program=kernel_convergence"], "model.architecture=custom: must be fc"),
        ([*OWN, "program=ensemble", "data.points=5"], "model.architecture=custom: must be fc"),
        (
            ["data.classes=[]"],
            "data.targets=signs: must be onehot unless data.classes names two classes (now [])",
        ),
        (["loss.name=xent"], "data.targets=signs: must be onehot with loss.name=xent"),
    ],
)
def test_what_lacks_or_forbids_another_key_names_that(overrides, told):
    with pytest.raises(UserError) as error:
        compose(overrides)
    assert str(error.value).startswith(told)


FREE = {"program", "data.name", "data.digest", "model.digest", "model.params_digest"}
FREE |= {"data.classes", "data.test", "data.targets"}  # another program's experiment may set them
KERNELS = ("experiment=kernel_convergence", "scale=smoke", "samples=2", "data.train=3")


def kernel_rows(**changed):
    experiment = compose([*KERNELS, "model.depth=1", "model.width=3"]).experiment
    for key, value in changed.items():
        *section, name = key.split(".")
        setattr(attrgetter(*section)(experiment) if section else experiment, name, value)
    check(experiment)
    with numerics(experiment):
        return kernel_convergence([Run.of(experiment)], print, print)[0].rows


@pytest.mark.parametrize("key", sorted({*FIELDS} - FREE))
def test_what_changes_nothing_of_kernel_convergence_is_refused(key):
    """So that no two ids mean one record."""
    value = another(attrgetter(key)(compose([*KERNELS]).experiment))
    try:
        found = kernel_rows(**{key: value})
    except UserError as error:
        found = str(error).partition("=")[0]
    assert found == key if isinstance(found, str) else not found.equals(kernel_rows())
