"""Which configs can't be meant, and the mend: bounds of single keys, then rules across keys."""

from collections.abc import Callable, Iterator
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

from ntkrepro.config import splits
from ntkrepro.config.keys import KEYS, written
from ntkrepro.config.schema import (
    ALL,
    FLATTENED,
    NORMALIZED,
    ON_IMAGES,
    POOLED,
    Architecture,
    DataSet,
    Experiment,
    LayerRates,
    LossName,
    Normalization,
    OptimizerName,
    Parametrization,
    Program,
    Solver,
    Space,
    Targets,
    Trained,
)
from ntkrepro.errors import UserError

FLAT = (list[str], list[int])  # lists whose elements OmegaConf lets be lists
Refused = Iterator[tuple[str, Any, str]]  # key, its value, what it must be


def check(experiment: Experiment) -> None:
    """Raises UserError for the first value that can't be meant; `all` becomes a number, and
    data.subspace false where nothing is flattened, or theta_0 is of inputs as they are."""
    for rule in (out_of_bounds, *RULES):
        for key, value, wanted in rule(experiment):
            raise UserError(f"{key}={written(value)}: must be {wanted}")


def out_of_bounds(e: Experiment) -> Refused:
    """Single keys against the bounds that schema.py gives them."""
    for name, key in KEYS.items():
        value, bound = attrgetter(name)(e), key.bound
        if key.field.type in FLAT and any(isinstance(v, list | dict) for v in value):
            yield name, value, "a list of single values"
        elif bound and value is not None and not bound.holds(value):
            yield name, value, bound.wanted


class Use(NamedTuple):
    """Where a key decides anything: in words, and as a test."""

    where: str
    holds: Callable[[Experiment], bool]


def of_programs(*programs: Program) -> Use:
    names = " or ".join(program.name for program in programs)
    return Use(f"program={names}", lambda e: e.program in programs)


def of_architectures(known: set[Architecture]) -> Use:
    names = " or ".join(sorted(architecture.name for architecture in known))
    return Use(f"model.architecture={names}", lambda e: e.model.architecture in known)


TRAIN = of_programs(Program.train)
ENSEMBLE = of_programs(Program.ensemble, Program.drawn_ensemble)
FOLLOWED = of_programs(Program.train, Program.ensemble, Program.drawn_ensemble)
FLOW = Use(
    f"linearized.space=auto, function or both, or {ENSEMBLE.where}",
    lambda e: (
        ENSEMBLE.holds(e)
        or (TRAIN.holds(e) and e.linearized.space not in (Space.weights, Space.none))
    ),
)
LEAPS = Use("optimizer.solver=leaps", lambda e: e.optimizer.solver is Solver.leaps)
USES = {  # what is not here decides something everywhere, or has a rule of its own below
    key: use
    for use, keys in (
        (
            of_programs(Program.ensemble, Program.kernel_convergence, Program.drawn_ensemble),
            "samples",
        ),
        (Use("data.name=gaussian", lambda e: e.data.name is DataSet.gaussian), "data.dim"),
        (of_architectures({Architecture.custom}), "model.files"),
        (of_architectures(POOLED), "model.pool"),
        (of_architectures(NORMALIZED), "model.norm"),
        (FLOW, "linearized.flow"),
        (ENSEMBLE, "data.points"),
        (FOLLOWED, "loss.scale log.points log.steps"),
        (FOLLOWED, "optimizer.lr optimizer.train optimizer.momentum optimizer.steps"),
        (TRAIN, "data.augment loss.name linearized.space linearized.analytic"),
        (TRAIN, "optimizer.name optimizer.layer_rates optimizer.weight_decay optimizer.batch"),
        (TRAIN, "optimizer.stop optimizer.plateau"),
        (of_programs(Program.train, Program.ensemble), "optimizer.solver"),
        (LEAPS, "optimizer.tolerance optimizer.floor"),
        (TRAIN, "log.outputs log.examples log.train log.weights log.kernel log.batch"),
        (TRAIN, "log.norms log.behaviour log.fidelity log.diverged model.params"),
        (TRAIN, "model.scale model.centred log.coordinates"),
    )
    for key in keys.split()
}


def unused(e: Experiment) -> Refused:
    """A key that changes nothing must not name another run."""
    for key, use in USES.items():
        value, usual = attrgetter(key)(e), KEYS[key].value
        if value != usual and not use.holds(e):
            yield key, value, f"{written(usual)}, or left out: it is for {use.where}"


def gradient_descent(experiment: Experiment, trained: Trained = Trained.all) -> bool:
    """Whether the steps are those of Eq. 20: then outputs move by the kernel of what is `trained`
    alone."""
    opt = experiment.optimizer
    plain = opt.name is OptimizerName.sgd and opt.layer_rates is LayerRates.same
    whole = opt.train is trained and opt.weight_decay == 0
    return plain and whole and not experiment.data.augment


def measurable(e: Experiment) -> bool:
    """Whether there is a critical rate: of gradient descent, followed step by step."""
    return e.program is Program.train and gradient_descent(e)


def critical_rate(e: Experiment) -> Refused:
    """With a measured rate lr stays at its default, so that no two configs mean the same run."""
    opt, key = e.optimizer, "optimizer.lr_over_critical"
    fraction = opt.lr_over_critical
    if fraction is not None and not measurable(e):
        wanted = (
            "null unless program=train and optimizer.name=sgd trains all, without weight decay, "
        )
        yield key, fraction, f"{wanted}layer rates and augmentation"
    if fraction is not None and opt.lr != KEYS["optimizer.lr"].value:
        yield "optimizer.lr", opt.lr, f"left out with {key}={fraction}, which sets it"


def optimizer(e: Experiment) -> Refused:
    opt, n = e.optimizer, e.data.train
    sgd, normalizes = opt.name is OptimizerName.sgd, e.model.norm is not Normalization.none
    if opt.batch is not None and not 1 <= opt.batch <= n:
        yield "optimizer.batch", opt.batch, f"null (full batch) or 1 to data.train={n}"
    if opt.momentum and not sgd:
        yield "optimizer.momentum", opt.momentum, f"0 with optimizer.name={opt.name.name}, not sgd"
    plain = sgd and not (e.model.architecture in NORMALIZED and normalizes)
    if opt.layer_rates is LayerRates.S33 and not (
        plain and e.model.parametrization is Parametrization.ntk
    ):
        wanted = "model.parametrization=ntk, optimizer.name=sgd and nothing is normalized"
        yield "optimizer.layer_rates", opt.layer_rates, f"same unless {wanted}"
    if opt.weight_decay and opt.train is not Trained.all:
        wanted = f"0 with optimizer.train={opt.train.name}"
        yield "optimizer.weight_decay", opt.weight_decay, wanted


def leaps(e: Experiment) -> Refused:
    """Leaps follow the tangent kernel of all train points; an ensemble's readouts need none."""
    trained = e.optimizer.train if e.program is Program.ensemble else Trained.all
    opt, normalized = e.optimizer, e.model.architecture in NORMALIZED
    why = {
        "optimizer.name is not sgd, or trains with weight decay, layer rates or augmentation, or "
        "not all": not gradient_descent(e, trained),
        f"optimizer.batch={opt.batch}": opt.batch is not None,
        "model.norm=batch, which leaves no kernel of pairs of examples": normalized
        and e.model.norm is Normalization.batch,
        f"linearized.space={e.linearized.space.name}": e.linearized.space
        in (Space.weights, Space.both),
        "model.centred=true": e.model.centred,
    }
    for reason, holds in why.items() if opt.solver is Solver.leaps else ():
        if holds:
            yield "optimizer.solver", opt.solver, f"steps where {reason}"


def scaled(e: Experiment) -> Refused:
    """At lr / scale^2 the linearization is the same: by gradient descent on the loss alone."""
    opt, scale = e.optimizer, e.model.scale
    if scale != 1 and opt.name is not OptimizerName.sgd:
        yield "model.scale", scale, f"1 with optimizer.name={opt.name.name}, not sgd"
    if scale != 1 and opt.weight_decay:
        yield "optimizer.weight_decay", opt.weight_decay, f"0 with model.scale={scale:g}"


def maximal_updates(e: Experiment) -> Refused:
    """muP is written for gradient descent on layers of weights and biases."""
    model, with_mup = e.model, "with model.parametrization=mup"
    if model.parametrization is not Parametrization.mup:
        return
    if e.optimizer.name is not OptimizerName.sgd:
        yield "optimizer.name", e.optimizer.name, f"sgd {with_mup}"
    if model.architecture in NORMALIZED and model.norm is not Normalization.none:
        yield "model.norm", model.norm, f"none {with_mup}"
    if e.linearized.analytic:
        wanted = f"false {with_mup}, whose kernel moves at every width"
        yield "linearized.analytic", True, wanted


def inputs(e: Experiment) -> Refused:
    data, architecture = e.data, e.model.architecture
    gaussian, network = data.name is DataSet.gaussian, f"model.architecture={architecture.name}"
    data.subspace = data.subspace and architecture in FLATTENED and not e.model.params
    if data.augment and (data.subspace or gaussian):
        wanted = "false unless data.name is a set of images and data.subspace=false"
        yield "data.augment", True, wanted
    if gaussian and architecture in ON_IMAGES:
        yield "data.name", data.name, f"a set of images with {network}"
    if data.targets is Targets.signs and len(data.classes) != 2:
        wanted = f"onehot unless data.classes names two classes (now {data.classes})"
        yield "data.targets", data.targets, wanted
    if data.targets is Targets.signs and e.loss.name is LossName.xent:
        yield "data.targets", data.targets, "onehot with loss.name=xent"


def kernels(e: Experiment) -> Refused:
    """What programs that compare kernels can't have."""
    model, program = e.model, f"program={e.program.name}"
    fc = model.architecture is Architecture.fc
    if e.program is Program.kernel_convergence and not fc:
        yield "model.architecture", model.architecture, f"fc with {program}"
    ntk = model.parametrization is Parametrization.ntk
    if e.program is not Program.train and not ntk:
        yield "model.parametrization", model.parametrization, f"ntk with {program}"
    if e.linearized.flow and e.optimizer.momentum:
        wanted = (
            f"false with optimizer.momentum={e.optimizer.momentum}: it follows gradient descent"
        )
        yield "linearized.flow", True, wanted


def ensemble(e: Experiment) -> Refused:
    """What ensembles need."""
    if not ENSEMBLE.holds(e):
        return
    program = f"program={e.program.name}"
    if e.data.points < 2:
        wanted = f"at least 2 with {program}, which follows its networks along them"
        yield "data.points", e.data.points, wanted
    if e.data.targets is not Targets.signs:
        yield "data.targets", e.data.targets, f"signs with {program}"
    if e.model.architecture is not Architecture.fc:
        wanted = f"fc with {program}, which compares with analytic kernels"
        yield "model.architecture", e.model.architecture, wanted
    if e.program is Program.drawn_ensemble and e.samples < 2:
        yield "samples", e.samples, f"at least 2 with {program}, which keeps how they spread"


NOT_OF_CUSTOM = {  # what its own code decides, or would have to tell: key -> what it must be
    "model.parametrization": "left out {}",
    "linearized.analytic": "false {}, which has no analytic kernel; model=custom sets it",
    "optimizer.layer_rates": "same {}, which has no standard parametrization",
    "optimizer.train": "all {}, whose readout is not known",
    "log.coordinates": "false {}, whose layers are not known",
}


def own_files(e: Experiment) -> Refused:
    """What a network and data of the user's own need, and what such a network can't have."""
    own, alone = e.model.architecture is Architecture.custom, "with model.architecture=custom"
    if bool(e.model.factory) != own:
        wanted = f"MODULE:NAME {alone}" if own else f"null, or stand {alone} (model=custom)"
        yield "model.factory", e.model.factory, wanted
    file = e.data.name is DataSet.npz
    if bool(e.data.path) != file:
        wanted = "an .npz file with data.name=npz" if file else "null, or stand with data=npz"
        yield "data.path", e.data.path, wanted
    for key, wanted in NOT_OF_CUSTOM.items() if own else ():
        value, usual = attrgetter(key)(e), KEYS[key].value
        if value is not (False if key == "linearized.analytic" else usual):
            yield key, value, wanted.format(alone)


def logged(e: Experiment) -> Refused:
    model, train, n = e.model, e.log.train, e.data.train
    batch = model.architecture in NORMALIZED and model.norm is Normalization.batch
    if e.log.kernel and batch:
        wanted = (
            "false with model.norm=batch: outputs then depend on the whole batch, and there is "
        )
        yield "log.kernel", True, f"{wanted}no kernel of pairs of examples"
    if train is not None and not 1 <= train <= n:
        yield "log.train", train, f"null (all) or 1 to data.train={n}"
    if e.log.fidelity and e.linearized.space is Space.none:
        yield "log.fidelity", True, "false with linearized.space=none: it compares with that"
    for key, asked in (("norms", e.log.norms), ("behaviour", e.log.behaviour)):
        if asked and not e.log.kernel:
            yield f"log.{key}", True, "false with log.kernel=false: of the kernel that it logs"


def examples(e: Experiment) -> Refused:
    """No more than there are; and what `all` is."""
    data = e.data
    for split, most in zip(("train", "test"), splits.available(data), strict=True):
        key, asked, whose = f"data.{split}", getattr(data, split), data.classes or data.name.name
        if asked == ALL and most == inf:
            yield key, ALL, f"a number with data.name={data.name.name}, which has no end"
        count = int(most if asked == ALL else asked)
        setattr(data, split, count)
        if count > most and not (split == "test" and data.points):
            yield key, count, f"{ALL} or at most {most}, all there is of {whose}"


RULES = (
    *(own_files, examples),  # the others compare numbers
    *(critical_rate, optimizer, ensemble, kernels, unused, leaps, scaled, inputs, logged),
    maximal_updates,
)
