"""What a plan counts of a training by leaps, against what one does."""

from collections import Counter
from functools import partial

import pytest

from ntkrepro.config.compose import compose
from ntkrepro.config.schema import Activation
from ntkrepro.plan import plan
from ntkrepro.programs import leaping, leaping_costs, memory, weight_space
from ntkrepro.programs.calls import Call
from ntkrepro.programs.catalog import PROGRAMS
from ntkrepro.programs.run import compute, numerics
from ntkrepro.programs.setup import shapes
from ntkrepro.records import store
from ntkrepro.theory import dynamics
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import leaps

LEAPS = ("optimizer.solver=leaps", "data.train=24", "data.test=8", "linearized.analytic=false")


def planned(run):
    with numerics(run.experiment):
        setup = shapes(run)
        return leaping_costs.expected(setup), PROGRAMS[run.experiment.program].calls(setup)


@pytest.fixture
def counted(monkeypatch):
    """How often a run did what a plan counts, by the plan's names, at a pace that never changes."""
    count, true = Counter(), {m: m.tangent for m in (leaping, weight_space)}

    def counts(name, function):
        def call(*args):
            count[name] += 1
            return function(*args)

        return call

    def tangent(of, *args):
        count["linearizations"] += 1
        own, kernel = of(*args), "Theta_t(X, X)"
        return own._replace(
            push=counts("J omega", own.push),
            pull=counts("J^T c", own.pull),
            kernel=counts(kernel, own.kernel),
        )

    def problem_of(*args):
        problem = problem_as_it_is(*args)
        return problem._replace(probe=counts("outputs of probes", problem.probe))

    problem_as_it_is = leaping.problem_of
    for module, of in true.items():
        monkeypatch.setattr(module, "tangent", partial(tangent, of))
    monkeypatch.setattr(leaping, "problem_of", problem_of)
    monkeypatch.setattr(dynamics, "spectrum", counts("spectra of leaps", dynamics.spectrum))
    monkeypatch.setattr(leaps, "FIRST", 0.5)
    monkeypatch.setattr(leaps, "next_pace", lambda state, *rest: float(state.gauge[0]))
    monkeypatch.setitem(leaping_costs.PACES, Activation.relu, (2.0, 0.0))
    return count


@pytest.mark.parametrize(
    "words", [(), ("log.kernel=false",), ("optimizer.momentum=0.5", "optimizer.lr=0.01")]
)
def test_a_plan_counts_what_a_leap_does(counted, tmp_path, words):
    words = (*LEAPS, "model.width=16", "optimizer.steps=100", "log.points=5", *words)
    run = compose([*words, "optimizer.tolerance=1e6", f"results={tmp_path}"])
    calls = {call.name: call.calls for call in planned(run)[1]}
    compute(run)
    counted["spectra of leaps"] -= 1  # that at theta_0
    assert counted
    assert {name: calls[name] for name in counted} == dict(counted)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_estimate_is_right_to_a_factor_of_two(tmp_path, activation):
    words = (*LEAPS, f"model.activation={activation}", "model.width=256", "optimizer.steps=300")
    run = compose([*words, "log.points=8", "log.kernel=false", f"results={tmp_path}"])
    rows = store.read(compute(run)).rows
    spent = rows["value"][rows["quantity"] == "linearizations"].max()
    assert 0.5 < planned(run)[0].linearizations / spent < 2


def test_no_estimate_has_more_than_the_steps_or_fewer_than_the_logged_ones():
    for tolerance in (1e-9, 1e9):
        run = compose([*LEAPS, f"optimizer.tolerance={tolerance}", "optimizer.steps=500"])
        count, _ = planned(run)
        assert len(shapes(run).steps) <= count.steps + count.leaps + 1 <= 501


@pytest.mark.parametrize("factors", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("data.targets=onehot", "loss.name=xent"),
        ("optimizer.momentum=0.5",),
        ("experiment=cnn_cifar", "data.train=8", "linearized.space=function"),
        ("experiment=ensemble", "optimizer.train=all"),
    ],
)
def test_calls_can_be_compiled_and_have_their_memory(monkeypatch, words, factors):
    """With the factors of every layer, or where these take too much memory."""
    if not factors:
        monkeypatch.setattr(empirical, "MEMORY", 2**12)
    words = ["scale=smoke", *words, "optimizer.solver=leaps", "optimizer.steps=500"]
    run = compose(words)
    expected, calls = planned(run)
    assert expected.leaps
    with numerics(run.experiment):
        flops = [plan.flops_of(plan.lower(call)) for call in calls if isinstance(call, Call)]
        needs = PROGRAMS[run.experiment.program].needs(shapes(run))
        moving = next(call for call in calls if call.name == "J^T c")
        assert plan.cost(shapes(run), moving).seconds > 0
    assert min(flops) > 0
    assert moving.held > leaping_costs.held(shapes(run))
    by_steps = compose([*words, "optimizer.solver=steps"])
    fewer = PROGRAMS[run.experiment.program].needs(shapes(by_steps))
    assert {need.what for need in needs} - {need.what for need in fewer} == {
        *("weights of a leap", "factors of a leap", "kernels of a leap")
    }
    assert memory.largest(needs).bytes


@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_the_flow_may_be_what_leaps_are_compared_with(tmp_path, loss):
    """The network leaps as it does beside its discrete linearization, bit by bit: its deviation is
    measured from that."""
    words = ["scale=smoke", "optimizer.solver=leaps", "optimizer.steps=300", "log.points=2"]
    words += ["model.activation=tanh", "linearized.analytic=false"]
    words += ["data.targets=onehot", f"loss.name={loss}", f"results={tmp_path}"]
    found = {}
    for flow in (True, False):
        rows = store.read(compute(compose([*words, f"linearized.flow={flow}"]))).rows
        own = rows["model"].isin(["network", "ntk_empirical"]) & (rows["quantity"] == "output")
        found[flow] = {
            model: part["value"].to_numpy()
            for model, part in rows[own].groupby("model", observed=True)
        }
    assert (found[True]["network"] == found[False]["network"]).all()
    assert (found[True]["ntk_empirical"] != found[False]["ntk_empirical"]).any()
