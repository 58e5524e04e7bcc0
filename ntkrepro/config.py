"""What an experiment is: names and types here, numbers in configs/*.yaml."""

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import product
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ntkrepro import sources
from ntkrepro.errors import UserError
from ntkrepro.kept import composed
from ntkrepro.listing import configs_dir

RECORDS_VERSION = 2  # bump by hand when the same config would give different records


class Program(Enum):
    train = "train"  # a network, and its linearization, over the steps of gradient descent
    kernel_convergence = "kernel_convergence"  # kernels of random networks against the analytic
    ensemble = "ensemble"  # many networks of one kind against the Gaussian process they approach


class DataSet(Enum):
    digits = "digits"
    gaussian = "gaussian"
    mnist = "mnist"
    cifar10 = "cifar10"
    npz = "npz"  # the user's own arrays, in data.path


# image: per image, minus its mean, over its standard deviation, so |x|^2 = n0;
# global: minus the mean, over the standard deviation, of all train pixels; none: pixels in [0, 1]
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


class LossName(Enum):
    mse = "mse"
    xent = "xent"


class OptimizerName(Enum):
    sgd = "sgd"  # gradient descent, with momentum and minibatches where they are set
    adam = "adam"  # optax's own settings but for lr; weight_decay is then decoupled (AdamW)


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
    classes: list[str] = field(default_factory=list)  # in this order; none = all
    train: int = 128  # the paper's |D|: the first of the split, after the choice of classes
    test: int = 128
    normalize: Normalize = Normalize.image
    targets: Targets = Targets.onehot
    subspace: bool = True  # rotate the inputs into their span: exact, and faster
    augment: bool = False  # random flips and crops of the train images, the same for both models
    points: int = 0  # of program=ensemble: how many x(alpha) on the path between two train points
    # stand in for the test set
    dim: int = 64  # inputs of data.name=gaussian
    seed: int = 0  # of data.name=gaussian
    path: str | None = None  # of data.name=npz: the file
    digest: str | None = None  # of its content; filled in
    dir: str | None = None  # TFDS folder; else $TFDS_DATA_DIR, else TFDS's default


@dataclass
class Model:
    architecture: Architecture = Architecture.fc
    depth: int = 3  # hidden layers, the paper's L; of a wrn: blocks in each group, the paper's N
    width: int = 512  # the paper's n: units of a layer, or channels
    activation: Activation = Activation.relu
    parametrization: Parametrization = Parametrization.ntk
    w_var: float = 2.0  # sigma_w^2
    b_var: float = 0.1  # sigma_b^2; 0 = no biases
    pool: Pool = Pool.gap  # of a cnn
    norm: Normalization = Normalization.batch  # of a wrn
    factory: str | None = None  # of a custom network: MODULE:NAME
    digest: str | None = None  # of its source files; filled in


@dataclass
class Loss:
    name: LossName = LossName.mse
    scale: float = 1.0


@dataclass
class Optimizer:
    name: OptimizerName = OptimizerName.sgd
    lr: float = 0.1
    lr_over_critical: float | None = None  # sets lr to this fraction of the measured critical rate
    train: Trained = Trained.all
    layer_rates: LayerRates = LayerRates.same
    weight_decay: float = 0.0
    momentum: float = 0.0
    steps: int = 1024
    batch: int | None = None  # none = full batch
    stop: float = 0.0  # a run ends at the first logged step whose train loss is below this,
    # or, from step 1 / plateau on, changed by less than this fraction while the steps doubled
    plateau: float = 0.0


@dataclass
class Linearized:
    space: Space = Space.auto
    analytic: bool = True  # also the dynamics under the analytic kernel
    flow: bool = False  # continuous time (Eq. 10-12) in place of the exact discrete dynamics


@dataclass
class Log:
    points: int = 64  # log-spaced steps, besides 0 and the last
    steps: list[int] = field(default_factory=list)  # and these
    outputs: int = 256  # train points, and test points, whose outputs are kept
    examples: bool = True  # outputs; of every test point, loss and correctness: for intervals
    train: int | None = None  # train points on which loss and accuracy are measured; none = all
    weights: int = 256  # hidden weights whose displacement is kept; 0: nothing about weights is
    kernel: bool = True  # change of the empirical NTK and NNGP on the train points
    batch: int | None = None  # examples evaluated at once: BatchNorm's batch; none = all


@dataclass
class Experiment:
    name: str = "experiment"
    scale: Scale = Scale.laptop
    program: Program = Program.train
    samples: int = 1  # networks of program=kernel_convergence (the paper's M) and of an ensemble
    seed: int = 0
    precision: Precision = Precision.float32
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    linearized: Linearized = field(default_factory=Linearized)
    log: Log = field(default_factory=Log)
    results: str = "results"
    checkpoint: float = 30.0  # seconds of training between two checkpoints
    pack: int | None = None  # grid points in one compiled program; none = what caches hold
    workers: int = 1  # processes that hydra/launcher starts on a grid
    # grids of `-m` and of the figures: each maps keys to values, and means their product
    sweep: list[dict[str, list[Any]]] = field(default_factory=list)


# where, under which name and in which portions, not what
LABELS = {"name", "scale", "results", "data.dir", "data.path", "sweep"}
LABELS |= {"checkpoint", "pack", "workers"}
HASHED_AS = {"data.points": "data.path"}  # a key's first name: a renamed key keeps stored runs


@cache
def register() -> None:
    """Make the schema and the resolver `div` known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Experiment)
    OmegaConf.register_new_resolver("div", _divide, replace=True)


def _divide(a: Any, b: Any) -> float:
    return float(a) / float(b) if float(b) else float("inf")  # `check` names the 0


def to_experiment(config: DictConfig) -> Experiment:
    """The composed config as plain dataclasses, checked. Raises UserError."""
    try:
        experiment = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from error
    assert isinstance(experiment, Experiment)
    check(experiment)
    identify(experiment)
    return experiment


def identify(experiment: Experiment) -> None:
    """Fill in the digests of the files that a config points to, which decide its record too.

    Raises UserError where there is no such file, or a given digest is of another.
    """
    model, data = experiment.model, experiment.data
    for key, part, found in (
        ("model", model, sources.of_factory(model.factory) if model.factory else None),
        ("data", data, sources.of_data(data.path) if data.path else None),
    ):
        if part.digest not in (None, found):
            raise UserError(f"{key}.digest={part.digest}: must be left out, or be {found}")
        part.digest = found


def compose(overrides: Iterable[str]) -> Experiment:
    """The experiment that `ntkrepro run OVERRIDES` would run. Raises UserError."""
    return to_experiment(_compose(list(overrides)))


def expand(overrides: Iterable[str]) -> list[Experiment]:
    """Every point of what the overrides sweep (Hydra's grammar: a,b,c, range(...), several
    experiments) times the experiment's own `sweep`, without repeats.

    An override of a swept key fixes it. Raises UserError.
    """
    refuse_unknown(overrides := list(overrides))
    register()
    swept, fixed = _split(overrides)
    groups = {key: words for key, words in swept.items() if key in ("experiment", "scale")}
    values = {key: words for key, words in swept.items() if key not in groups}
    out: dict[str, Experiment] = {}
    wrong: dict[str, UserError] = {}
    for choice in product(*groups.values()):
        words = [*choice, *fixed]
        base = _compose([*words, *(own[0] for own in values.values())])
        parsed = {key: [_value(word) for word in own] for key, own in values.items()}
        for config in _points(base, parsed, overrides):
            try:
                experiment = to_experiment(config)
            except UserError as error:
                wrong[str(error)] = error
            else:
                out.setdefault(run_id(experiment), experiment)
    if wrong:
        raise UserError("\n  ".join(wrong))
    return list(out.values())


def _split(overrides: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Swept keys with one KEY=VALUE for each value, and the other overrides."""
    swept, fixed = {}, []
    for word, override in zip(overrides, _parse(overrides), strict=True):
        if override.is_sweep_override():
            values = override.sweep_string_iterator()
            swept[override.key_or_group] = [f"{override.key_or_group}={v}" for v in values]
        else:
            fixed.append(word)
    return swept, fixed


def _parse(words: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UserError(explain(error, words)) from error


def _value(word: str) -> Any:
    """The value of KEY=VALUE as Hydra reads it."""
    return _parse([word])[0].value()


def _points(
    base: DictConfig, swept: dict[str, list[Any]], overrides: list[str]
) -> Iterator[DictConfig]:
    """The points of `swept` times base.sweep: one config, updated in place, as copies cost more."""
    plain: Any = OmegaConf.to_container(base.sweep)
    base.sweep = []  # of a point; converting it would take as long as all the rest
    named = {word.lstrip("+").partition("=")[0] for word in overrides}
    for own in plain or [{}]:
        grid = swept | {key: values for key, values in own.items() if key not in named}
        config = base.copy()
        for row in product(*grid.values()):
            for key, value in zip(grid, row, strict=True):
                _update(config, key, value)
            yield config


def _update(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}={value}: {first_line(error)}") from error


def _compose(overrides: list[str]) -> DictConfig:
    register()
    refuse_unknown(overrides)
    return composed(_composed_by_hydra, overrides)


def _composed_by_hydra(overrides: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs_dir()), version_base="1.3"):
        try:
            return hydra_compose("run", overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error, overrides)) from error


def flat(experiment: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, enums by name."""
    out: dict[str, Any] = {}
    for item in fields(experiment):
        value, key = getattr(experiment, item.name), prefix + item.name
        if is_dataclass(value):
            out |= flat(value, key + ".")
        else:
            out[key] = value.name if isinstance(value, Enum) else value
    return out


def run_id(experiment: Experiment) -> str:
    """Name of the run's record: sha256 over what decides its values, first 16 hex digits.

    Labels stay out, and so does whatever equals the schema's default, so that a key added later,
    whose default is today's behaviour, keeps every stored run. A changed default needs a new
    RECORDS_VERSION.
    """
    return _hash(flat(experiment), RECORDS_VERSION)


def grid_id(points: list[Experiment]) -> str:
    """The run_id of one run, and one for all of several."""
    ids = [run_id(point) for point in points]
    return ids[0] if len(ids) == 1 else hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]


def stored_id(stored: dict[str, Any], version: int) -> str:
    """The run_id of a record's own config (`as_dict`) and version."""
    values: dict[str, Any] = {}
    for key, value in stored.items():
        values |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {}
        values |= {} if isinstance(value, dict) else {key: value}
    if isinstance(values.get("data.path"), int):
        values["data.points"] = values.pop("data.path")
    return _hash(values, version)


@cache
def defaults(schema: type[Experiment]) -> dict[str, Any]:
    return flat(schema())


def _hash(values: dict[str, Any], version: int) -> str:
    default = defaults(Experiment)
    identity = {
        HASHED_AS.get(key, key): value
        for key, value in values.items()
        if key not in LABELS and value != default.get(key)
    }
    text = json.dumps([version, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_dict(experiment: Experiment) -> dict[str, Any]:
    """The config for a record's metadata, JSON-ready, without the folders of this machine."""

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {k: v.name if isinstance(v, Enum) else v for k, v in items}

    out: Any = asdict(experiment, dict_factory=plain)
    del out["data"]["dir"], out["data"]["path"]
    return {key: value for key, value in out.items() if key not in LABELS - {"name", "scale"}}


def log_steps(optimizer: Optimizer, log: Log) -> list[int]:
    """Steps at which everything is measured: 0, log-spaced, `log.steps`, the last."""
    last = optimizer.steps
    spaced = (
        {round(last ** (i / max(log.points - 1, 1))) for i in range(log.points)} if last else {0}
    )
    return sorted({0, last} | spaced | {s for s in log.steps if s <= last})


def check(experiment: Experiment) -> None:
    """Raises UserError for the first value that can't be meant."""
    data, model, loss, opt, log = (
        experiment.data,
        experiment.model,
        experiment.loss,
        experiment.optimizer,
        experiment.log,
    )
    images = model.architecture in ON_IMAGES
    norm = model.architecture in NORMALIZED and model.norm is not Normalization.none
    rules = [
        ("samples", experiment.samples, experiment.samples >= 1, "at least 1"),
        ("seed", experiment.seed, experiment.seed >= 0, "0 or above"),
        ("data.seed", data.seed, data.seed >= 0, "0 or above"),
        (
            "data.classes",
            data.classes,
            len(set(data.classes)) == len(data.classes),
            "different from each other",
        ),
        ("data.train", data.train, data.train >= 1, "at least 1"),
        ("data.test", data.test, data.test >= 1, "at least 1"),
        ("data.dim", data.dim, data.dim >= 1, "at least 1"),
        ("model.depth", model.depth, model.depth >= 1, "at least 1 hidden layer"),
        ("model.width", model.width, model.width >= 1, "at least 1"),
        ("model.w_var", model.w_var, 0 < model.w_var < math.inf, "above 0 and finite"),
        ("model.b_var", model.b_var, 0 <= model.b_var < math.inf, "0 (no biases) or above, finite"),
        ("loss.scale", loss.scale, 0 < loss.scale < math.inf, "above 0 and finite"),
        ("optimizer.lr", opt.lr, 0 < opt.lr < math.inf, "above 0 and finite"),
        *critical_rules(experiment),
        ("optimizer.stop", opt.stop, opt.stop >= 0, "0 (never) or above"),
        ("optimizer.plateau", opt.plateau, 0 <= opt.plateau < 1, "in [0, 1)"),
        ("checkpoint", experiment.checkpoint, experiment.checkpoint >= 0, "0 seconds or above"),
        (
            "pack",
            experiment.pack,
            experiment.pack is None or experiment.pack >= 1,
            "null (what caches hold) or at least 1",
        ),
        ("workers", experiment.workers, experiment.workers >= 1, "at least 1"),
        ("optimizer.momentum", opt.momentum, 0 <= opt.momentum < 1, "in [0, 1)"),
        ("optimizer.steps", opt.steps, opt.steps >= 0, "0 or above"),
        (
            "optimizer.batch",
            opt.batch,
            opt.batch is None or 1 <= opt.batch <= data.train,
            f"null (full batch) or 1 to data.train={data.train}",
        ),
        ("optimizer.weight_decay", opt.weight_decay, opt.weight_decay >= 0, "0 or above"),
        (
            "optimizer.momentum",
            opt.momentum,
            opt.momentum == 0 or opt.name is OptimizerName.sgd,
            f"0 with optimizer.name={opt.name.name}: only sgd takes it",
        ),
        (
            "optimizer.layer_rates",
            "S33",
            opt.layer_rates is LayerRates.same
            or (
                model.parametrization is Parametrization.ntk
                and opt.name is OptimizerName.sgd
                and not norm
            ),
            "same unless model.parametrization=ntk, optimizer.name=sgd and nothing is normalized",
        ),
        (
            "data.augment",
            "true",
            not data.augment or (not data.subspace and data.name is not DataSet.gaussian),
            "false unless data.name is a set of images and data.subspace=false",
        ),
        (
            "data.subspace",
            "true",
            model.architecture in FLATTENED or not data.subspace,
            f"false with model.architecture={model.architecture.name}, not flattened",
        ),
        (
            "data.name",
            data.name.name,
            not images or data.name is not DataSet.gaussian,
            f"a set of images with model.architecture={model.architecture.name}",
        ),
        (
            "model.architecture",
            model.architecture.name,
            model.architecture is Architecture.fc
            or experiment.program is not Program.kernel_convergence,
            f"fc with program={experiment.program.name}",
        ),
        *ensemble_rules(experiment),
        *custom_rules(experiment),
        (
            "model.parametrization",
            model.parametrization.name,
            model.parametrization is Parametrization.ntk or experiment.program is Program.train,
            f"ntk with program={experiment.program.name}",
        ),
        (
            "log.kernel",
            "true",
            not (log.kernel and norm and model.norm is Normalization.batch),
            "false with model.norm=batch: outputs then depend on the whole batch, and there is no "
            "kernel of pairs of examples",
        ),
        ("log.batch", log.batch, log.batch is None or log.batch >= 1, "null (all) or at least 1"),
        (
            "log.train",
            log.train,
            log.train is None or 1 <= log.train <= data.train,
            f"null (all) or 1 to data.train={data.train}",
        ),
        (
            "log.steps",
            log.steps,
            min(log.steps, default=0) >= 0,
            "0 or above",
        ),
        ("log.points", log.points, log.points >= 0, "0 (only log.steps) or above"),
        ("log.outputs", log.outputs, log.outputs >= 1, "at least 1"),
        ("log.weights", log.weights, log.weights >= 0, "0 (none) or above"),
        (
            "data.targets",
            "signs",
            data.targets is not Targets.signs or len(data.classes) == 2,
            f"onehot unless data.classes names two classes (now {data.classes})",
        ),
        (
            "data.targets",
            "signs",
            data.targets is not Targets.signs or loss.name is not LossName.xent,
            "onehot with loss.name=xent",
        ),
    ]
    for key, value, holds, wanted in rules:
        if not holds:
            raise UserError(f"{key}={value}: must be {wanted}")


def gradient_descent(experiment: Experiment) -> bool:
    """Whether the steps are those of Eq. 20: then outputs move by the tangent kernel alone."""
    opt = experiment.optimizer
    plain = opt.name is OptimizerName.sgd and opt.layer_rates is LayerRates.same
    whole = opt.train is Trained.all and opt.weight_decay == 0
    return plain and whole and not experiment.data.augment


def critical_rules(experiment: Experiment) -> list[tuple[str, Any, bool, str]]:
    """What a measured learning rate and an early end need: gradient descent, followed step by step.

    lr itself then stays at its default, so that no two configs mean the same run.
    """
    opt, trains = experiment.optimizer, experiment.program is Program.train
    asked = opt.lr_over_critical is not None
    return [
        (
            "optimizer.lr_over_critical",
            opt.lr_over_critical,
            opt.lr_over_critical is None or 0 < opt.lr_over_critical < math.inf,
            "null (optimizer.lr is the rate) or above 0 and finite",
        ),
        (
            "optimizer.lr_over_critical",
            opt.lr_over_critical,
            not asked or (trains and gradient_descent(experiment)),
            "null unless program=train and optimizer.name=sgd trains all, without weight decay, "
            "layer rates and augmentation",
        ),
        (
            "optimizer.lr",
            opt.lr,
            not asked or opt.lr == Optimizer().lr,
            f"left out with optimizer.lr_over_critical={opt.lr_over_critical}, which sets it",
        ),
        (
            "optimizer.stop",
            opt.stop,
            opt.stop == 0 or trains,
            f"0 with program={experiment.program.name}",
        ),
        (
            "optimizer.plateau",
            opt.plateau,
            opt.plateau == 0 or trains,
            f"0 with program={experiment.program.name}",
        ),
    ]


def ensemble_rules(experiment: Experiment) -> list[tuple[str, Any, bool, str]]:
    """What program=ensemble needs, and what only it can do."""
    data, model, opt = experiment.data, experiment.model, experiment.optimizer
    asked = experiment.program is Program.ensemble
    return [
        (
            "data.points",
            data.points,
            data.points >= 2 if asked else data.points == 0,
            "at least 2 with program=ensemble, which follows its networks along them"
            if asked
            else f"0 with program={experiment.program.name}",
        ),
        (
            "data.targets",
            data.targets.name,
            not asked or data.targets is Targets.signs,
            "signs with program=ensemble",
        ),
        (
            "loss.name",
            experiment.loss.name.name,
            not asked or experiment.loss.name is LossName.mse,
            "mse with program=ensemble: its Gaussian processes are those of Eq. 15, 16",
        ),
        (
            "model.architecture",
            model.architecture.name,
            not asked or model.architecture is Architecture.fc,
            "fc with program=ensemble, which compares with analytic kernels",
        ),
        (
            "optimizer.weight_decay",
            opt.weight_decay,
            opt.weight_decay == 0 or opt.train is Trained.all,
            "0 with optimizer.train=readout",
        ),
        (
            "optimizer.batch",
            opt.batch,
            not asked or (opt.batch is None and opt.name is OptimizerName.sgd),
            "null, and optimizer.name=sgd, with program=ensemble",
        ),
    ]


def custom_rules(experiment: Experiment) -> list[tuple[str, Any, bool, str]]:
    """What a network and data of the user's own need, and what such a network can't have."""
    data, model, opt = experiment.data, experiment.model, experiment.optimizer
    own, file = model.architecture is Architecture.custom, data.name is DataSet.npz
    alone = "with model.architecture=custom"
    unused = [(key, getattr(model, key), getattr(Model(), key)) for key in NOT_OF_CUSTOM]
    return [
        (
            "model.factory",
            model.factory,
            bool(model.factory) == own,
            f"MODULE:NAME {alone}" if own else f"null, or stand {alone} (model=custom)",
        ),
        (
            "data.path",
            data.path,
            bool(data.path) == file,
            "an .npz file with data.name=npz" if file else "null, or stand with data=npz",
        ),
        *((f"model.{key}", v.name, not own or v is d, f"left out {alone}") for key, v, d in unused),
        (
            "linearized.analytic",
            "true",
            not (own and experiment.linearized.analytic),
            f"false {alone}, whose analytic kernel is not known; model=custom sets it",
        ),
        (
            "optimizer.layer_rates",
            "S33",
            not own or opt.layer_rates is LayerRates.same,
            f"same {alone}, which has no standard parametrization",
        ),
        (
            "optimizer.train",
            "readout",
            not own or opt.train is Trained.all,
            f"all {alone}, whose readout is not known",
        ),
    ]


NOT_OF_CUSTOM = ("parametrization", "pool", "norm")  # what its own code decides


def experiments() -> list[str]:
    """Names of the experiments that the YAML folder holds."""
    return sorted(path.stem for path in (configs_dir() / "experiment").glob("*.yaml"))


def refuse_unknown(overrides: Iterable[str]) -> None:
    """Raises UserError for the first KEY=VALUE whose key, experiment or scale doesn't exist."""
    known = {"experiment": experiments(), "scale": [scale.name for scale in Scale]}
    known |= {"model": ["custom"], "data": ["npz"]}
    for override in overrides:
        key, equals, value = override.lstrip("+~").partition("=")
        if not equals or key.startswith("hydra") or override.startswith("-"):
            continue
        if is_unknown(key):
            raise UserError(f"{key}: no such key; {nearest(key, list(flat(Experiment())))}")
        for word in value.split(",") if key in known else []:
            if word not in known[key]:
                raise UserError(f"{key}={word}: unknown; {nearest(word, known[key])}")


def is_unknown(key: str) -> bool:
    return key not in {*flat(Experiment()), *(f.name for f in fields(Experiment)), "experiment"}


def explain(error: Exception, overrides: list[str]) -> str:
    """A composition error in one line: what was given, what is wrong with it, the mend."""
    text = first_line(error)
    if text.startswith("Ambiguous value"):
        given = text.split("'")[1]
        return f"{given}: several values are a sweep; add -m, or [...] for a list"
    for word in overrides:
        if "=" not in word and f"'{word}'" in text:
            return f"{word}: overrides are KEY=VALUE"
    return text


def nearest(word: str, known: list[str]) -> str:
    """'did you mean ...' from what is valid."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"valid: {', '.join(known)}"


def first_line(error: Exception) -> str:
    """Hydra's and OmegaConf's own words without their context lines."""
    chain = [error, error.__cause__] if error.__cause__ else [error]
    heads = [str(link).strip().splitlines()[0] for link in chain if str(link).strip()]
    return ": ".join(heads) or type(error).__name__
