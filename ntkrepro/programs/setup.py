"""What every side of a run starts from: data, network, initial parameters, what to log when."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrepro.config.identity import Run
from ntkrepro.config.schema import FLATTENED, ON_IMAGES, Experiment, Log, LossName, Optimizer, Space
from ntkrepro.data import load
from ntkrepro.data.load import Dataset
from ntkrepro.errors import UserError
from ntkrepro.networks import architectures, functions, start
from ntkrepro.networks.layers import PARAMETRIZATIONS
from ntkrepro.theory.losses import LOSSES, Loss
from ntkrepro.training import batches, measure

FUNCTION_SPACE = 4096  # largest n * k whose kernel is decomposed


class Setup(NamedTuple):
    """x_train [n, d], x_test [m, d] (images: [n, h, w, c]) in the run's precision; `pick` and
    `norms` are measure.py's.

    lr * `rate` * Theta drives the outputs (Loss.rate), where lr is optimizer.lr / model.scale^2
    until optimizer.lr_over_critical has been measured; `schedule` [steps, batch] holds the
    minibatches, none = full batch.
    """

    run: Run
    dataset: Dataset
    model: architectures.Network
    params0: Any
    x_train: jax.Array
    x_test: jax.Array
    steps: list[int]
    pick: measure.Pick
    norms: dict[tuple[str, ...], float]
    rate: float
    lr: float
    schedule: np.ndarray | None

    @property
    def experiment(self) -> Experiment:
        return self.run.experiment

    @property
    def loss(self) -> Loss:
        return LOSSES[self.experiment.loss.name.name]

    @property
    def size(self) -> float:
        """|theta_0|."""
        return measure.size(self.params0, self.norms)

    @property
    def k(self) -> int:
        """Outputs of an example."""
        return self.dataset.y_train.shape[1]


def prepare(run: Run, dataset: Dataset | None = None) -> Setup:
    """The setup of a run, whose data are loaded unless they are given.

    Raises UserError where they are missing or too few.
    """
    experiment = run.experiment
    dataset, opt = dataset or load.load(experiment.data), experiment.optimizer
    k = dataset.y_train.shape[1]
    x_train, x_test = inputs(experiment, dataset)
    model = architectures.build(experiment.model, dataset.n0, k, x_train)
    params0 = initial(experiment, model, x_train)
    refuse_idle_seed(experiment, model, params0, x_train)
    std = (experiment.model.w_var / dataset.n0) ** 0.5
    drawn = PARAMETRIZATIONS[experiment.model.parametrization.name]
    w_std = drawn(std, experiment.model.width, False)[1]
    pick = measure.pick_weights(params0, experiment.log.weights, experiment.seed)
    hidden = dataset.n0 - dataset.x_train.shape[1]
    norms = measure.full_norms(params0, hidden, w_std, experiment.seed)
    schedule = batches.batch_schedule(experiment.seed, len(x_train), opt.batch, opt.steps)
    return assemble(run, dataset, model, params0, (x_train, x_test), pick, norms, schedule)


def refuse_idle_seed(
    experiment: Experiment, model: architectures.Network, params0: Any, x: jax.Array
) -> None:
    """Raises UserError where a network starts as with seed 0, as from a file, and nothing else is
    drawn: a seed that changes nothing must not name another run."""
    draws = experiment.optimizer.batch is not None or experiment.data.augment
    given = model.own or experiment.model.params is not None
    if draws or not (given and experiment.seed):
        return
    first = initial(replace(experiment, seed=0), model, x)
    if all(
        (one == other).all()
        for one, other in zip(*map(jax.tree.leaves, (params0, first)), strict=True)
    ):
        why = "the network starts at the same parameters with every seed, and no minibatch is drawn"
        raise UserError(f"seed={experiment.seed}: must be 0, as {why}")


def initial(experiment: Experiment, model: architectures.Network, x: jax.Array) -> Any:
    """theta_0 as it is drawn, or of model.params. Raises UserError where that doesn't fit."""
    path, digest = experiment.model.params, experiment.model.params_digest
    if path is None:
        return functions.init(model, jax.random.key(experiment.seed), x)
    return start.parameters(path, digest, functions.shapes(model, x.shape[1:], x.dtype)["params"])


def assemble(
    run: Run,
    dataset: Dataset,
    model: architectures.Network,
    params0: Any,
    x: tuple[jax.Array, jax.Array],
    pick: measure.Pick,
    norms: dict[tuple[str, ...], float],
    schedule: np.ndarray | None,
) -> Setup:
    """What follows from the config and the shapes is added: logged steps and rates."""
    experiment, (n, k) = run.experiment, dataset.y_train.shape
    rate = experiment.loss.scale * LOSSES[experiment.loss.name.name].rate(n, k)
    steps = log_steps(experiment.optimizer, experiment.log)
    lr = experiment.optimizer.lr / experiment.model.scale**2
    return Setup(run, dataset, model, params0, *x, steps, pick, norms, rate, lr, schedule)


def inputs(experiment: Experiment, dataset: Dataset) -> tuple[jax.Array, jax.Array]:
    """x_train, x_test in the run's precision and the shape that the network sees.

    Raises UserError where they are no images and have to be, or targets where classes have to be.
    """
    architecture, image = experiment.model.architecture, dataset.image
    if dataset.real and experiment.loss.name is LossName.xent:
        raise UserError("loss.name=xent: must be mse, as y_train holds targets, not classes")
    pictures = architecture in ON_IMAGES
    if (pictures or experiment.data.augment) and len(image) != 3:
        asks = f"model.architecture={architecture.name}" if pictures else "data.augment=true"
        name, shape = experiment.data.name.name, list(image) or [dataset.n0]
        raise UserError(f"data.name={name}: inputs are {shape}; {asks} needs images [h, w, c]")
    pair = jnp.asarray(dataset.x_train), jnp.asarray(dataset.x_test)
    if architecture in FLATTENED or not image:
        return pair
    return pair[0].reshape(-1, *image), pair[1].reshape(-1, *image)


def shapes(run: Run) -> Setup:
    """The setup of a run with shapes in place of arrays, and neither `pick` nor `norms`."""
    experiment = run.experiment
    dataset, opt = load.shapes(experiment.data), experiment.optimizer
    n, k = dataset.y_train.shape

    def given(x_train: Any, x_test: Any) -> tuple[jax.Array, jax.Array]:
        return inputs(experiment, dataset._replace(x_train=x_train, x_test=x_test))

    x_train, x_test = jax.eval_shape(given, dataset.x_train, dataset.x_test)
    model = architectures.build(experiment.model, dataset.n0, k, x_train)
    params0 = functions.shapes(model, x_train.shape[1:], x_train.dtype)["params"]
    batch = None if opt.batch == n else opt.batch
    schedule = None if batch is None else np.broadcast_to(np.int32(0), (opt.steps, batch))
    return assemble(run, dataset, model, params0, (x_train, x_test), {}, {}, schedule)


def log_steps(optimizer: Optimizer, log: Log) -> list[int]:
    """Steps at which everything is measured: 0, log-spaced, `log.steps`, the last."""
    last = optimizer.steps
    spaced = (
        {round(last ** (i / max(log.points - 1, 1))) for i in range(log.points)} if last else {0}
    )
    return sorted({0, last} | spaced | {s for s in log.steps if s <= last})


def nbytes(tree: Any) -> int:
    """Of all arrays, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def outputs(setup: Setup) -> int:
    """n * k, the size of the train kernel."""
    return setup.dataset.y_train.size


def fits(setup: Setup) -> bool:
    """Whether the train kernel is computed: small enough to be decomposed, and asked for where
    BatchNorm makes each of its rows a backward pass of its own."""
    asked = setup.experiment.linearized.space in (Space.function, Space.both)
    few = outputs(setup) <= FUNCTION_SPACE
    return few and (asked or not setup.model.mixes_examples)
