import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from pathlib import Path

import pytest

from ntkrepro import config
from ntkrepro.config import Data, Experiment, Log, Optimizer, compose, flat, run_id
from ntkrepro.errors import UserError

# valid in an ensemble alone, or with files of the user's own
NOT_ALONE = {"data.points", "data.digest", "model.factory", "model.digest"}
FIELDS = [key for key in flat(Experiment()) if key not in config.LABELS]


def base():
    """Two classes and images as they are, so that every field has another valid value."""
    return Experiment(data=Data(classes=["3", "8"], subspace=False))


def another(value):
    """A valid value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    if isinstance(value, list):
        return value[::-1] or [1]
    if value is None:
        return 1
    return value + (1 if isinstance(value, int) else 0.25)


def perturbed(key):
    experiment = base()
    *path, name = key.split(".")
    owner = attrgetter(*path)(experiment) if path else experiment
    setattr(owner, name, another(getattr(owner, name)))
    return experiment


GOLDEN = json.loads(Path(__file__).with_name("golden_ids.json").read_text())
SWEEPS = [(name, scale.name) for name in config.experiments() for scale in config.Scale]


@pytest.mark.parametrize(("name", "scale"), SWEEPS)
def test_ids_of_stored_runs_stay(name, scale):
    points = config.expand([f"experiment={name}", f"scale={scale}"])
    assert [run_id(point) for point in points] == GOLDEN[name][scale], "scripts/write_golden.py"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["model.w_var=3"], ["model.w_var=3.0"]),
        (["optimizer.lr=0.05"], ["optimizer.lr=5e-2"]),
        (["data.classes=[3,8]"], ["data.classes=['3','8']"]),
        (["seed=3", "model.width=64"], ["model.width=64", "seed=3"]),
        (["model.width=64", "model.width=512"], []),
        (["optimizer.batch=null"], []),
        (["experiment=digits", "model.activation=relu", "data.seed=0"], []),
        (["scale=laptop"], ["scale=paper"]),  # the digits have the same numbers at both
        (["results=elsewhere", "data.dir=/elsewhere", "name=mine"], []),
        (["checkpoint=1", "pack=4", "workers=3"], []),
    ],
)
def test_run_id_does_not_depend_on_notation(first, second):
    assert run_id(compose(first)) == run_id(compose(second))


@pytest.mark.parametrize("key", FIELDS)
def test_run_id_depends_on(key):
    if key not in NOT_ALONE:
        config.check(perturbed(key))
    assert run_id(perturbed(key)) != run_id(base())


def test_run_ids_of_all_these_differ_from_one_another():
    assert len({run_id(perturbed(key)) for key in FIELDS}) == len(FIELDS)


def test_run_id_is_the_hash_of_what_is_not_default(monkeypatch):
    """Spelled out: any other text would orphan every stored record."""
    monkeypatch.setattr(config, "RECORDS_VERSION", 1)
    text = b'[1, {"data.classes": ["3", "8"], "seed": 3}]'
    experiment = Experiment(seed=3, data=Data(classes=["3", "8"]))
    assert run_id(experiment) == hashlib.sha256(text).hexdigest()[:16]


def test_run_id_keeps_the_first_name_of_a_renamed_key():
    """Of data.points, once data.path: the text that is hashed, and a record's own config."""
    text = f'[{config.RECORDS_VERSION}, {{"data.path": 11}}]'.encode()
    now = Experiment(data=Data(points=11))
    assert run_id(now) == hashlib.sha256(text).hexdigest()[:16]
    stored = {"data": {"path": 11}}, {"data": {"path": 0}, "seed": 0}, config.as_dict(now)
    expected = run_id(now), run_id(Experiment()), run_id(now)
    assert tuple(config.stored_id(s, config.RECORDS_VERSION) for s in stored) == expected


def test_run_id_stays_when_a_later_version_adds_a_key(monkeypatch):
    before = run_id(base())

    @dataclass
    class LaterLog(Log):
        later: int = 0

    @dataclass
    class Later(Experiment):
        log: LaterLog = field(default_factory=LaterLog)
        later: str = "as before"

    monkeypatch.setattr(config, "Experiment", Later)
    assert run_id(Later(data=base().data)) == before
    assert run_id(Later(data=base().data, later="new")) != before
    assert run_id(Later(data=base().data, log=LaterLog(later=1))) != before


def test_run_id_changes_with_the_records_version(monkeypatch):
    before = run_id(base())
    monkeypatch.setattr(config, "RECORDS_VERSION", config.RECORDS_VERSION + 1)
    assert run_id(base()) != before


@pytest.mark.parametrize("scale", config.Scale)
@pytest.mark.parametrize("name", config.experiments())
def test_every_experiment_composes_at_every_scale(name, scale):
    points = config.expand([f"experiment={name}", f"scale={scale.name}"])
    assert {(point.name, point.scale) for point in points} == {(name, scale)}
    assert len({run_id(point) for point in points}) == len(points)


@pytest.mark.parametrize("name", config.experiments())
def test_scales_grow(name):
    def work(scale):
        points = config.expand([f"experiment={name}", f"scale={scale}"])
        return sum(
            p.samples * p.data.train * p.optimizer.steps * p.model.depth * p.model.width**2
            for p in points
        )

    assert 1000 * work("smoke") < work("laptop")
    if name != "digits":  # not in the paper
        assert work("laptop") < work("paper")


def test_expand_reads_sweeps_as_hydra_does():
    words = ["experiment=weight_change,digits", "scale=smoke", "seed=range(3,5)"]
    words += ["data.classes=[a,b],[c]", "data.targets=onehot", "optimizer.batch=null,4"]
    words += ["model.activation=relu,'erf'"]
    points = config.expand(words)
    assert len(points) == len({run_id(point) for point in points}) == (3 + 1) * 2 * 2 * 2 * 2
    assert {point.name for point in points} == {"weight_change", "digits"}
    assert {point.seed for point in points} == {3, 4}
    assert {tuple(point.data.classes) for point in points} == {("a", "b"), ("c",)}
    assert {point.optimizer.batch for point in points} == {None, 4}
    assert {point.model.activation.name for point in points} == {"relu", "erf"}


@pytest.mark.parametrize("words", [["seed=1,"], ["model.width=a,b"], ["model.width=4,0"]])
def test_expand_refuses_a_sweep_with_a_bad_value(words):
    with pytest.raises(UserError):
        config.expand(words)


def test_interpolations_of_a_sweep_are_resolved_at_every_point():
    """lr = eta / width, of the experiment's own grid."""
    words = ["experiment=parametrization", "scale=smoke", "model.width=8,16"]
    standard = [p for p in config.expand(words) if p.model.parametrization.name == "standard"]
    rates = [{p.optimizer.lr * w for p in standard if p.model.width == w} for w in (8, 16)]
    assert rates[0] == rates[1] != set()
    assert len({p.optimizer.lr for p in standard}) > len(rates[0])


def test_a_sweep_over_scales_takes_the_grid_of_each():
    both, *alone = (
        {run_id(p) for p in config.expand(["experiment=weight_change", f"scale={scale}"])}
        for scale in ("smoke,laptop", "smoke", "laptop")
    )
    assert both == alone[0] | alone[1]


def test_the_id_of_a_grid_is_that_of_all_its_runs():
    alone, both = (config.grid_id(config.expand([f"seed={s}"])) for s in ("5", "5,6"))
    assert alone == run_id(compose(["seed=5"])) != both


def test_expand_is_the_product_of_each_grid_without_repeats():
    words = ["experiment=weight_change", "scale=laptop"]
    widths = [16, 32, 64, 128, 256]
    expected = {(w, seed) for w in widths for seed in (0, 1, 2)}
    expected |= {(512, 0), (1024, 0), (2048, 0)}
    points = config.expand(words)
    assert len(points) == len(expected)
    assert {(p.model.width, p.seed) for p in points} == expected
    fixed = config.expand([*words, "model.width=16"])
    assert [(p.model.width, p.seed) for p in fixed] == [(16, 0), (16, 1), (16, 2)]
    assert [p.seed for p in config.expand(["seed=4"])] == [4]


def test_the_papers_numbers_of_figures_4_and_s2():
    """From the captions; 25600 steps: time to 256, read off the poster."""
    for name, lr in (("fc_cifar", 0.01), ("fc_cifar_standard", 0.005 / 2048)):
        e = compose([f"experiment={name}", "scale=paper"])
        assert (e.model.depth, e.model.width, e.data.train) == (5, 2048, 256)
        assert (e.optimizer.lr, e.optimizer.steps) == (lr, 25600)


def test_a_rate_over_the_width_follows_the_width():
    for width in (7, 300):
        chosen = compose(["experiment=fc_cifar_standard", f"model.width={width}"])
        assert chosen.optimizer.lr == 0.005 / width


@pytest.mark.parametrize("asked", [[], [3, 500], [0, 3, 3]])
@pytest.mark.parametrize("points", [1, 2, 64])
@pytest.mark.parametrize("last", [0, 1, 2, 100, 25600])
def test_log_steps(last, points, asked):
    steps = config.log_steps(Optimizer(steps=last), Log(points=points, steps=asked))
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, last)
    assert {step for step in asked if step <= last} <= set(steps)
    assert len(steps) <= points + 2 + len(set(asked))


def test_log_steps_are_spaced_by_factors():
    steps = config.log_steps(Optimizer(steps=1024), Log(points=11))
    assert steps == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.widht=3", r"model\.widht: no such key; did you mean model\.width"),
        ("+model.widht=3", r"model\.widht: no such key; did you mean model\.width"),
        ("+learning_rate=3", "learning_rate: no such key"),
        ("xyz=3", "xyz: no such key; valid: .*optimizer.lr"),
        ("experiment=digitz", r"experiment=digitz: unknown; did you mean digits\?"),
        ("experiment=xyz", "experiment=xyz: unknown; valid: .*digits, .*fc_cifar"),
        ("experiment=fc_cifar/laptop", "experiment=fc_cifar/laptop: unknown"),
        ("experiment=null", "experiment=null: unknown"),
        ("scale=smok", r"scale=smok: unknown; did you mean smoke\?"),
        ("model.activation=rellu", "model.activation=rellu.*relu, tanh, erf, gelu, identity"),
        ("model.width=wide", "model.width=wide"),
        ("model.width=1.5", "model.width=1.5"),
        ("model.width=null", "model.width=null"),
        ("model.width=2,3", "model.width=2,3.*-m"),
        ("width", "width.*KEY=VALUE"),
    ],
)
def test_what_is_not_known_is_told_with_the_nearest_that_is(override, told):
    with pytest.raises(UserError, match=told):
        compose([override])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.width=0", "at least 1"),
        ("model.depth=0", "at least 1"),
        ("model.w_var=0.0", "above 0"),
        ("model.w_var=inf", "finite"),
        ("model.b_var=-0.1", "0 (no biases) or above"),
        ("data.train=0", "at least 1"),
        ("data.test=0", "at least 1"),
        ("data.dim=0", "at least 1"),
        ("data.seed=-1", "0 or above"),
        ("data.classes=['3', '3']", "different"),
        ("model.b_var=inf", "finite"),
        ("loss.scale=0.0", "above 0"),
        ("loss.scale=inf", "finite"),
        ("optimizer.lr=0.0", "above 0"),
        ("optimizer.lr=-1.0", "above 0"),
        ("optimizer.lr=nan", "above 0"),
        ("optimizer.lr=inf", "finite"),
        ("optimizer.momentum=1.0", "in [0, 1)"),
        ("optimizer.momentum=-0.1", "in [0, 1)"),
        ("optimizer.steps=-1", "0 or above"),
        ("optimizer.batch=0", "null (full batch) or 1 to data.train=128"),
        ("optimizer.batch=129", "null (full batch) or 1 to data.train=128"),
        ("optimizer.weight_decay=-0.1", "0 or above"),
        ("data.augment=true", "data.subspace=false"),
        ("log.train=0", "null (all) or 1 to data.train=128"),
        ("log.train=129", "null (all) or 1 to data.train=128"),
        ("log.points=-1", "0 (only log.steps) or above"),
        ("data.points=3", "0 with program=train"),
        ("log.steps=[3, -1]", "0 or above"),
        ("log.outputs=0", "at least 1"),
        ("log.weights=-1", "0 (none) or above"),
        ("seed=-1", "0 or above"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(override, told):
    with pytest.raises(UserError) as error:
        compose([override])
    assert str(error.value).startswith(f"{override}: must be ")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.classes=[]", "onehot unless data.classes names two classes (now [])"),
        ("loss.name=xent", "onehot with loss.name=xent"),
    ],
)
def test_signs_need_two_classes_and_a_squared_loss(override, told):
    with pytest.raises(UserError, match=re.escape(f"data.targets=signs: must be {told}")):
        compose([override])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["optimizer.name=adam", "optimizer.momentum=0.9"], "optimizer.momentum=0.9: must be 0"),
        (
            ["optimizer.name=adam", "optimizer.layer_rates=S33"],
            "optimizer.layer_rates=S33: must be",
        ),
        (
            ["model.parametrization=standard", "optimizer.layer_rates=S33"],
            "optimizer.layer_rates=S33: must be same unless model.parametrization=ntk",
        ),
        (
            ["experiment=kernel_convergence", "data.augment=true", "data.subspace=false"],
            "data.augment=true: must be false unless data.name is a set of images",
        ),
    ],
)
def test_optimizers_that_do_not_go_together_are_refused(overrides, told):
    with pytest.raises(UserError, match=re.escape(told)):
        compose(overrides)


def test_a_rate_over_a_width_of_zero_names_the_width():
    with pytest.raises(UserError, match=r"model\.width=0: must be at least 1"):
        compose(["experiment=fc_cifar_standard", "model.width=0"])
