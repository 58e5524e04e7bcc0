"""What an experiment is: names and types here, numbers in configs/*.yaml.

A key's `bound` says which values can be meant on their own; what keys ask of each other is in
rules.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple


class Bound(NamedTuple):
    """Which values of a key can be meant: in words, and as a test. None is told by its type."""

    wanted: str
    holds: Callable[[Any], bool]


WHOLE_32 = 2**31 - 1  # steps are counted in 32 bits


def between(low: int, high: int, null: str = "", zero: str = "") -> Bound:
    """Whole numbers that can be meant: far above them no memory holds what they ask for."""
    return Bound(f"{null}{low}{zero} to {high:,}", lambda value: low <= value <= high)


MANY = between(1, 10_000_000)
ALL = "all"  # the examples that there are; rules.py puts their number in its place
if TYPE_CHECKING:
    Count = int
else:
    Count = int | str


def _counts(value: int | str) -> bool:
    try:
        return value == ALL or MANY.holds(int(value))
    except ValueError:
        return False


COUNT_OF = Bound(f"{ALL} or {MANY.wanted}", _counts)
COUNT = Bound("0 or above", lambda value: value >= 0)
SEED = between(0, 2**32 - 1)  # JAX's seeds: a larger one would be another's
STEPS = between(0, WHOLE_32)
AT_STEPS = Bound(STEPS.wanted, lambda values: all(map(STEPS.holds, values)))
DIFFERENT = Bound("different from each other", lambda values: len(set(values)) == len(values))
ABOVE_0 = Bound("above 0 and finite", lambda value: 0 < value < math.inf)
VARIANCE = Bound("0 (no biases) or above, finite", lambda value: 0 <= value < math.inf)
FRACTION = Bound("in [0, 1)", lambda value: 0 <= value < 1)
LR_SET = "null (optimizer.lr is the rate) or above 0 and finite"


def within(bound: Bound, default: Any, wanted: str = "") -> Any:
    """A key's default and its bound, in other words where `wanted` has them."""
    metadata = {"bound": bound._replace(wanted=wanted or bound.wanted)}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


class Program(Enum):
    train = "train"  # a network, and its linearization, over the steps of gradient descent
    kernel_convergence = "kernel_convergence"  # kernels of random networks against the analytic
    ensemble = "ensemble"  # many networks of one kind against the Gaussian process they approach
    # the same of networks that are drawn at theta_0 and follow their kernels there, in closed form
    drawn_ensemble = "drawn_ensemble"


class DataSet(Enum):
    digits = "digits"
    gaussian = "gaussian"
    mnist = "mnist"
    cifar10 = "cifar10"
    npz = "npz"  # the user's own arrays, in data.path


Normalize = Enum("Normalize", ["image", "global", "none"])


class Targets(Enum):
    signs = "signs"  # +1 for the first of two classes, -1 for the second; k = 1
    onehot = "onehot"  # 0/1, k = number of classes


class Architecture(Enum):
    fc = "fc"  # fully connected
    cnn = "cnn"  # 3 x 3 convolutions, pooled or flattened
    wrn = "wrn"  # wide residual network of Figure 7
    custom = "custom"  # the user's own, made by model.factory


FLATTENED = {Architecture.fc}  # its inputs are [n, d], whatever the data's shape
ON_IMAGES = {Architecture.cnn, Architecture.wrn}  # they need inputs [n, h, w, c]
NORMALIZED = {Architecture.wrn}  # model.norm is for them
POOLED = {Architecture.cnn}  # model.pool is for them


class Pool(Enum):
    gap = "gap"  # global average
    flatten = "flatten"


class Normalization(Enum):
    batch = "batch"  # by the batch at hand, in training and in evaluation
    none = "none"
    layer = "layer"  # by each example alone


class Activation(Enum):
    relu = "relu"
    tanh = "tanh"
    erf = "erf"
    gelu = "gelu"
    identity = "identity"


class Parametrization(Enum):
    ntk = "ntk"  # Eq. 1
    standard = "standard"  # Eq. S32
    mup = "mup"  # of maximal updates (Yang & Hu 2021), for gradient descent at one rate


class LossName(Enum):
    mse = "mse"
    xent = "xent"


class OptimizerName(Enum):
    sgd = "sgd"  # gradient descent, with momentum and minibatches where they are set
    adam = "adam"  # optax's own settings but for lr; weight_decay is then decoupled (AdamW)


class Solver(Enum):
    steps = "steps"  # gradient descent's own, one after another
    leaps = "leaps"  # many at once on a linearization that is renewed (docs/leaps.md)


class Trained(Enum):
    all = "all"
    readout = "readout"  # all but the last layer stay at theta_0 (SM D)


class LayerRates(Enum):
    same = "same"  # lr for every parameter
    S33 = "S33"  # lr / (variance of the standard parametrization), layer by layer: Eq. S33


class Space(Enum):
    auto = "auto"  # function space where the kernel fits, else weight space
    function = "function"  # exact discrete dynamics from the kernel, no training
    weights = "weights"  # the linearized network trained like the network
    both = "both"
    none = "none"  # the network alone


class Precision(Enum):
    float32 = "float32"
    float64 = "float64"


class Scale(Enum):
    paper = "paper"
    laptop = "laptop"
    smoke = "smoke"


@dataclass
class Data:
    name: DataSet = DataSet.digits
    classes: list[str] = within(DIFFERENT, [])  # in this order; none = all
    # the paper's |D|: the first of the split (data.seed), or all of it, after the choice of classes
    train: Count = within(COUNT_OF, 128)
    test: Count = within(COUNT_OF, 128)  # of the test split, likewise
    # image: per image, minus its mean, over its standard deviation, so |x|^2 = n0;
    # global: minus the mean, over the standard deviation, of all train pixels;
    # none: pixels in [0, 1]
    normalize: Normalize = Normalize.image
    targets: Targets = Targets.onehot
    # rotate the inputs into their span: exact, and faster; false where a network isn't given them
    # flattened, as fc is
    subspace: bool = True
    augment: bool = False  # random flips and crops of the train images, the same for both models
    # of program=ensemble: how many x(alpha) on the path between two train points stand in for the
    # test set
    points: int = within(between(0, 1_000_000), 0)
    dim: int = within(MANY, 64)  # inputs of data.name=gaussian
    # draws the inputs of data.name=gaussian, and the order of the examples of any other set: 0 is
    # the order in which it is stored
    seed: int = within(SEED, 0)
    path: str | None = None  # of data.name=npz: the file
    digest: str | None = None  # of its content; filled in
    dir: str | None = None  # TFDS folder; else $TFDS_DATA_DIR, else TFDS's default


@dataclass
class Model:
    architecture: Architecture = Architecture.fc
    # hidden layers, the paper's L; of a wrn: blocks in each group, the paper's N
    depth: int = within(between(1, 4096), 3)
    width: int = within(MANY, 512)  # the paper's n: units of a layer, or channels
    activation: Activation = Activation.relu
    parametrization: Parametrization = Parametrization.ntk
    w_var: float = within(ABOVE_0, 2.0)  # sigma_w^2
    b_var: float = within(VARIANCE, 0.1)  # sigma_b^2; 0 = no biases
    pool: Pool = Pool.gap  # of a cnn
    norm: Normalization = Normalization.batch  # of a wrn
    # alpha: outputs are multiplied by it, and optimizer.lr is divided by its square
    scale: float = within(ABOVE_0, 1.0)
    centred: bool = False  # minus the outputs at theta_0, so that they start at 0
    factory: str | None = None  # of a custom network: MODULE:NAME
    files: list[str] = field(default_factory=list)  # that its code reads
    digest: str | None = None  # of its source files, and of these; filled in
    # where it starts, in place of what seed draws: an .npz or .safetensors file, or an orbax
    # checkpoint's folder (docs/fine-tuning.md)
    params: str | None = None
    params_digest: str | None = None  # of its content; filled in


@dataclass
class Loss:
    name: LossName = LossName.mse
    scale: float = within(ABOVE_0, 1.0)


@dataclass
class Optimizer:
    name: OptimizerName = OptimizerName.sgd
    lr: float = within(ABOVE_0, 0.1)
    # sets lr to this fraction of the measured critical rate
    lr_over_critical: float | None = within(ABOVE_0, None, LR_SET)
    train: Trained = Trained.all
    layer_rates: LayerRates = LayerRates.same
    weight_decay: float = within(COUNT, 0.0)
    momentum: float = within(FRACTION, 0.0)
    steps: int = within(STEPS, 1024)
    solver: Solver = Solver.steps
    # of leaps: the largest estimated error of the outputs (rms), over the network's deviation from
    # its linearization at theta_0
    tolerance: float = within(ABOVE_0, 0.01)
    # or, where the deviation is smaller, over this fraction of the initial residual's rms
    floor: float = within(ABOVE_0, 0.001)
    batch: int | None = None  # none = full batch
    # a run ends at the first logged step whose train loss is below this,
    stop: float = within(COUNT, 0.0, "0 (never) or above")
    # or, from step 1 / plateau on, changed by less than this fraction while the steps doubled
    plateau: float = within(FRACTION, 0.0)


@dataclass
class Linearized:
    space: Space = Space.auto
    analytic: bool = True  # also the dynamics under the analytic kernel
    flow: bool = False  # continuous time (Eq. 10-12) in place of the exact discrete dynamics


@dataclass
class Log:
    # log-spaced steps, besides 0 and the last
    points: int = within(between(0, 100_000, zero=" (only log.steps)"), 64)
    steps: list[int] = within(AT_STEPS, [])  # and these
    outputs: int = within(MANY, 256)  # train points, and test points, whose outputs are kept
    examples: bool = True  # outputs; of every test point, loss and correctness: for intervals
    train: int | None = None  # train points on which loss and accuracy are measured; none = all
    # hidden weights whose displacement is kept; 0: nothing about weights is
    weights: int = within(between(0, 10_000_000, zero=" (none)"), 256)
    kernel: bool = True  # change of the empirical NTK and NNGP on the train points
    # what Theorem 2.1 bounds: |theta_t - theta_0|, |Theta_t - Theta_0|_F; and Theta_t's largest
    # eigenvalue
    norms: bool = False
    # how the tangent kernel behaves: alignment with the targets, CKA with the one at theta_0,
    # velocity, condition, effective rank, largest eigenvalues
    behaviour: bool = False
    # how well the linearization stands for the network: R^2 of its outputs, and of how they moved,
    # agreement, accuracy gap; and |theta_t - theta_0| / |theta_0| with log.weights
    fidelity: bool = False
    coordinates: bool = False  # size of every layer's outputs, and of what training adds to them
    # of a model that diverges: its rows until then, and when; else such a run has no record
    diverged: bool = False
    # examples evaluated at once: BatchNorm's batch; none = all
    batch: int | None = within(between(1, 10_000_000, "null (all) or "), None)


@dataclass
class Experiment:
    name: str = "experiment"
    scale: Scale = Scale.laptop
    program: Program = Program.train
    # networks of program=kernel_convergence (the paper's M) and of ensembles
    samples: int = within(between(1, 1_000_000), 1)
    seed: int = within(SEED, 0)
    precision: Precision = Precision.float32
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    linearized: Linearized = field(default_factory=Linearized)
    log: Log = field(default_factory=Log)
    results: str = "results"
    # seconds of training between two checkpoints
    checkpoint: float = within(COUNT, 30.0, "0 seconds or above")
    # grid points in one compiled program; none = what caches hold
    pack: int | None = within(between(1, 100_000, "null (what caches hold) or "), None)
    workers: int = within(between(1, 10_000), 1)  # processes that hydra/launcher starts on a grid
    # grids of `-m` and of the figures: each maps keys to values, and means their product
    sweep: list[dict[str, list[Any]]] = field(default_factory=list)
