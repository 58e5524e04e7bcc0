"""What `ntkrepro plan` counts, against counts by hand."""

from itertools import pairwise

import jax
import numpy as np
import pytest

from ntkrepro.config.catalog import experiments
from ntkrepro.config.compose import expand
from ntkrepro.config.schema import Solver
from ntkrepro.data import load
from ntkrepro.plan import measure, plan, table
from ntkrepro.programs import memory
from ntkrepro.programs.calls import Call, HostCall
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.run import compute, numerics
from ntkrepro.programs.setup import shapes
from ntkrepro.records import store

TWO = ("data.classes=[airplane,horse]", "data.targets=signs")


STEPS = "optimizer.solver=steps"  # at laptop scale these leap
BOTH = ("experiment=cnn_cifar", "seed=0", STEPS, "linearized.space=both")


def flops(*words):
    (point,) = expand(words)
    with numerics(point.experiment):
        return plan.step_flops(shapes(point))


def dense(n, *sizes):
    """Sum of 2 n a b over a network's products, all and those of the first layer."""
    every = [2 * n * a * b for a, b in pairwise(sizes)]
    return sum(every), every[0]


@pytest.mark.parametrize(
    ("depth", "width", "n", "m"), [(1, 1024, 256, 256), (3, 512, 128, 64), (5, 2048, 256, 256)]
)
def test_flops_of_fc_steps(depth, width, n, m):
    """Forward, weights, inputs: three products a layer, but no input gradient of the first. The
    linearization at fixed factors, for one output: forward and weights."""
    words = ["experiment=fc_cifar", "seed=0", f"model.depth={depth}", f"model.width={width}"]
    words += [f"data.train={n}", f"data.test={m}", "linearized.space=both"]
    counted = flops(*words, STEPS)
    every, first = dense(n, n + m, *[width] * depth, 1)
    assert counted["network"] == pytest.approx(3 * every - first, rel=0.01)
    assert counted["linearized"] == pytest.approx(2 * every, rel=0.01)


def test_flops_of_fc_minibatches():
    """Ten outputs: the linearization's forward, tangent and transpose cost five products a layer,
    and the first has no input to differentiate in either of the last two.

    The optimizer's 6 FLOPs a parameter come on top: 1.7 % of the products of a batch of 64.
    """
    counted = flops(
        "experiment=fc_mnist", "seed=0", "optimizer.batch=512", "linearized.space=weights"
    )
    every, first = dense(512, 784, 1024, 1024, 10)
    assert counted["network"] == pytest.approx(3 * every - first, rel=0.01)
    assert counted["linearized"] == pytest.approx(5 * every - 2 * first, rel=0.01)


@pytest.mark.parametrize("pool", ["gap", "flatten"])
@pytest.mark.parametrize(("depth", "width", "n"), [(3, 64, 16), (2, 128, 8)])
def test_flops_of_cnn_steps(pool, depth, width, n):
    """A 3 x 3 window on h x w positions with zero padding has (3 h - 2)(3 w - 2) products within
    the image, not 9 h w: XLA leaves those with padding out."""
    words = [*BOTH, f"model.depth={depth}", f"model.width={width}"]
    counted = flops(*words, f"data.train={n}", f"model.pool={pool}")
    window = (3 * 32 - 2) ** 2
    every, first = dense(n * window, 3, *[width] * depth)
    readout, _ = dense(n, width * (1 if pool == "gap" else 32 * 32), 1)
    assert counted["network"] == pytest.approx(3 * every - first + 3 * readout, rel=0.01)
    assert counted["linearized"] == pytest.approx(2 * every + 2 * readout, rel=0.01)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("data.classes=[]", "data.targets=onehot", "data.train=20", "data.test=20"),
        ("data.name=gaussian", "data.classes=[positive,negative]", "data.dim=300"),
        ("data.name=mnist", "data.classes=[]", "data.targets=onehot"),
        ("data.name=cifar10", *TWO),
        ("experiment=cnn_cifar", "seed=0"),
        ("experiment=ensemble", "scale=smoke", "optimizer.train=all"),
    ],
)
def test_shapes_are_those_of_the_data(words, request):
    if "cifar" in str(words) or "mnist" in str(words) or "ensemble" in str(words):
        request.getfixturevalue("tfds_dir")
    (point,) = expand(words)
    given, expected = (f(point.experiment.data) for f in (load.shapes, load.load))
    for a, b in zip(given[:4], expected[:4], strict=True):
        assert a.shape[0] == b.shape[0]
        assert 0.8 * a.shape[1] <= b.shape[1] <= a.shape[1]  # inputs may span less
    assert given[4:] == expected[4:]


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_has_its_calls(name):
    """And steps in them as many as the config says, where models are trained by steps."""
    for point in expand([f"experiment={name}", "scale=smoke"])[:2]:
        program = PROGRAMS[point.experiment.program]
        with numerics(point.experiment):
            found, trained = program.calls(shapes(point)), program.models(shapes(point))
            assert all(plan.flops_of(plan.lower(p)) > 0 for p in found if isinstance(p, Call))
        steps = [call.calls for call in found if call.name.startswith("steps")]
        leaps = point.experiment.optimizer.solver is Solver.leaps
        assert steps == ([point.experiment.optimizer.steps] if trained and not leaps else [])


@pytest.mark.parametrize("steps", [0, 65536])
def test_a_readout_costs_a_forward_pass_whatever_the_steps(steps):
    """Of each member, over train points and path; theta_0 is drawn once."""
    words = ["experiment=ensemble", "optimizer.train=readout", f"optimizer.steps={steps}"]
    (point,) = expand([*words, "model.width=256", "data.train=64", "samples=7"])
    with numerics(point.experiment):
        setup = shapes(point)
        found = PROGRAMS[point.experiment.program].calls(setup)
        counted = {
            c.name: (c.calls, plan.flops_of(plan.lower(c))) for c in found if type(c) is Call
        }
    forward, _ = dense(64 + 101, setup.x_train.shape[1], 256, 256, 256, 1)
    assert counted.keys() == {"theta_0", "outputs"}
    assert counted["theta_0"][0] == 7
    assert counted["outputs"] == (7, pytest.approx(forward, rel=0.01))


@pytest.mark.parametrize(
    ("words", "logged"),
    [(["optimizer.train=readout"], 9), (["experiment=kernel_convergence", "seed=0"], 0)],
)
def test_logged_steps_are_paid_for_whether_or_not_steps_lead_to_them(monkeypatch, words, logged):
    monkeypatch.setattr(plan, "start_up", lambda setup: plan.Start(1.0, 1.0, 1.0, 1))
    monkeypatch.setattr(plan, "cost", lambda setup, call: plan.Cost(call.name, 0, 0.0, 0.0, 1))
    point = expand([*words, "scale=smoke"])[0]
    assert (plan.plan(point).logged, plan.plan(point).working) == (logged, logged)


def test_points_that_share_shapes_are_planned_once(monkeypatch):
    planned = []
    cost = plan.Cost("steps", 1, 1.0, 1.0, 1)
    one = plan.Plan(1, {}, plan.Start(10.0, 2.0, 0.0, 0), 0, [cost])
    monkeypatch.setattr(plan, "plan", lambda point: planned.append(point) or one)
    points = expand(["experiment=fc_cifar_xent", "scale=smoke"])
    found = plan.groups(points)
    assert len(points) == 4
    assert [point.experiment.model.width for point in planned] == [8, 32]
    assert [group.label for group in found] == ["model.width=8", "model.width=32"]
    assert [group.seconds for group in found] == [11 + 3, 11 + 3]
    points[0].experiment.optimizer.lr *= 2
    assert len(plan.groups(points)) == 2


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("model.width=4096",), "model.width"),
        (("data.train=240", "data.targets=onehot", "model.width=16"), "data.train"),
        (("experiment=wrn_cifar", "seed=0", "scale=paper", "model.width=16"), "data.train"),
        ((*BOTH, "log.outputs=32", "optimizer.batch=64"), "log.batch"),
        ((*BOTH, "log.outputs=32", "optimizer.batch=64", "log.batch=16"), "optimizer.batch"),
        ((*BOTH, "log.outputs=32", "data.test=8"), "optimizer.batch"),
    ],
)
def test_the_key_to_lower_is_that_of_the_largest_part(words, key):
    (point,) = expand(words)
    with numerics(point.experiment):
        assert memory.largest(PROGRAMS[point.experiment.program].needs(shapes(point))).key == key


def test_a_plan_that_does_not_fit_names_the_key(monkeypatch):
    (point,) = expand(["model.width=2048"])
    cost = plan.Cost("steps", 1, 1.0, 1.0, 2**40)
    group = plan.Group("", [point], plan.Plan(1, {}, plan.Start(0.0, 0.0, 0.0, 0), 0, [cost]))
    monkeypatch.setattr(table, "free", lambda: 2**30)
    assert table.fit(group).startswith("does not fit: 1.02e+03 GiB")
    assert "lower model.width (now 2048)" in table.fit(group)
    monkeypatch.setattr(table, "free", lambda: 2**41)
    assert table.fit(group).startswith("fits: ")


def test_a_plan_allocates_nothing_of_the_run():
    """Shapes alone: a network of 10^10 parameters."""
    (point,) = expand(["model.width=100000"])
    with numerics(point.experiment):
        setup = shapes(point)
        assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(setup.params0))
        assert plan.step_flops(setup)["network"] > 1e12
    assert all(array.base is not None and not any(array.strides) for array in setup.dataset[:4])
    assert np.prod(setup.params0["layer2"]["w"].shape) == 10**10


@pytest.mark.parametrize(
    "words",
    [
        ("experiment=digits",),
        ("experiment=ensemble", "optimizer.train=all"),
        ("experiment=cnn_cifar", "seed=0"),
    ],
)
def test_steps_are_measured(words):
    """In a loop, of many networks, and one a call."""
    (point,) = expand([*words, "scale=smoke"])
    with numerics(point.experiment):
        found = PROGRAMS[point.experiment.program].calls(shapes(point))
        step = next(call for call in found if call.name.startswith("steps"))
        assert 1e-6 < measure.measure(step, plan.lower(step).compile()) < 1


@pytest.mark.parametrize(
    "words",
    [
        ("data.train=5000", "data.name=gaussian", "data.classes=[positive,negative]"),
        ("experiment=wrn_cifar", "seed=0", "scale=paper"),
        ("optimizer.lr_over_critical=3", "optimizer.stop=0.5"),
        ("experiment=ensemble", "optimizer.train=all"),
    ],
)
def test_start_up_is_of_next_to_nothing_whatever_the_run(monkeypatch, words):
    """Sixteen examples and channels, and a rate at which no network diverges."""
    monkeypatch.setattr(plan, "started_up", lambda small: small)
    monkeypatch.setattr(plan, "started", {})
    (point,) = expand(list(words))
    with numerics(point.experiment):
        small = plan.start_up(shapes(point))
    assert small.data.train <= max(plan.SMALL, point.experiment.data.points and 128)
    assert max(small.data.test, small.model.width, small.data.points) <= plan.SMALL
    opt = small.optimizer
    assert (opt.lr, opt.lr_over_critical or 1e-6, opt.stop) == (1e-6, 1e-6, 0)


@pytest.mark.parametrize(
    "words",
    [
        ("data.train=20000", "log.kernel=false", "linearized.space=weights"),
        ("data.train=2000", "data.test=500", "optimizer.batch=null"),
    ],
)
def test_no_call_is_measured_beyond_what_takes_a_moment(monkeypatch, words):
    """On a machine so slow that no call would end: on as many examples as it has time for."""
    measured = []

    def record(call, compiled):
        measured.append(plan.flops_of(plan.lower(call)))
        return measured[-1]

    monkeypatch.setattr(plan, "rate", lambda: 1e10)
    monkeypatch.setattr(plan, "measure", record)
    (point,) = expand(
        ["data.name=gaussian", "data.classes=[positive,negative]", "model.width=128", *words]
    )
    with numerics(point.experiment):
        setup = shapes(point)
        found = PROGRAMS[point.experiment.program].calls(setup)
        costs = [plan.cost(setup, call) for call in found if isinstance(call, Call)]
    assert max(measured) <= plan.enough() < max(cost.flops for cost in costs)
    for cost in costs:  # seconds are FLOPs here
        assert cost.seconds == pytest.approx(cost.flops)


@pytest.mark.parametrize(
    "words",
    [
        ("experiment=digits", "linearized.space=both"),
        ("experiment=digits", "data.targets=onehot", "loss.name=xent", "log.weights=0"),
        ("experiment=digits", "log.examples=false", "linearized.space=none"),
        ("experiment=ensemble", "optimizer.train=all"),
        ("experiment=ensemble", "optimizer.train=readout"),
        ("experiment=ensemble_prior",),
    ],
)
def test_rows_are_counted_as_the_record_has_them(words, tmp_path, request):
    if "experiment=ensemble" in words[0]:
        request.getfixturevalue("tfds_dir")
    (point,) = expand([*words, "scale=smoke", f"results={tmp_path}"])
    with numerics(point.experiment):
        found = PROGRAMS[point.experiment.program].calls(shapes(point))
        (record,) = [call for call in found if call.name == "record"]
    written = store.read(compute(point))
    assert isinstance(record, HostCall)
    assert written
    assert record.share * record.function() == pytest.approx(len(written.rows), rel=0.03)
