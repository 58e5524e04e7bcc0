"""How far training by leaps is from training by steps, and what it costs: one network, float64.

    python scripts/bench_leaps.py [KEY=VALUE ...]       # as of `ntkrepro run experiment=fc_cifar`

The numbers of docs/leaps.md. Errors are those of the test outputs (rms), over the distance of the
network by steps from its linearization at theta_0; a gradient is worth three passes.
"""

import sys

import numpy as np

from ntkrepro.config.compose import compose
from ntkrepro.programs import function_space, leaping, weight_space
from ntkrepro.programs.run import numerics
from ntkrepro.programs.setup import Setup, prepare
from ntkrepro.training import loop, measure
from ntkrepro.training.leaps import rms

WORDS: tuple[str, ...] = (
    "experiment=fc_cifar",
    "data.train=64",
    "data.test=64",
    "model.depth=3",
    "model.width=256",
)
WORDS += ("model.activation=tanh", "model.w_var=1.5", "optimizer.lr=0.5", "optimizer.steps=4096")
WORDS += ("log.points=13", "log.steps=[]", "precision=float64", "optimizer.solver=leaps")


def main() -> None:
    run = compose([*WORDS, *sys.argv[1:]])
    with numerics(run.experiment):
        compare(prepare(run))


def compare(setup: Setup) -> None:
    names: tuple[str, ...] = ("network",)
    leaps: list[int] = []
    recipe, task = weight_space.recipe_of(setup), weight_space.task_of(setup, names)
    theta = function_space.empirical_kernels(setup)
    linear = function_space.trajectory(setup, theta, with_weights=False).test
    by_steps = [at(setup, w["network"]) for _, w in loop.train(recipe, task, names, setup.steps)]
    begin, worst = (0, leaping.start(setup)), 0.0
    by_leaps = leaping.train(setup, theta, setup.steps, leaps.append, lambda *_: None, begin)
    for reached, exact, straight in zip(by_leaps, by_steps, linear, strict=True):
        off, deviation = rms(at(setup, reached.omegas["network"]) - exact), rms(exact - straight)
        share = off / deviation if deviation else 0.0
        worst = max(worst, share)
        print(f"step {reached.step:6}  error / deviation {share:8.4%}  deviation {deviation:.3g}")
    assert reached.spent is not None, "by leaps"
    estimate, linearizations, gradients = reached.spent
    print(
        f"{len(leaps)} leaps, {linearizations:.0f} linearizations, {gradients:.0f} gradients for "
        f"{setup.steps[-1]} steps; error / deviation: at the end {share:.2%} (estimated "
        f"{estimate / deviation:.2%}), at worst {worst:.2%}"
    )


def at(setup: Setup, omega: dict) -> np.ndarray:
    """Test outputs."""
    theta = loop.add(setup.params0, omega)
    return np.asarray(measure.apply(setup.model, theta, setup.x_test), np.float64)


if __name__ == "__main__":
    main()
