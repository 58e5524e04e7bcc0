"""The program `ensemble`: its members, blocks and readout training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrepro.claims import ensembles
from ntkrepro.config.compose import compose
from ntkrepro.config.schema import Data, Solver, Targets, Trained
from ntkrepro.data import inputs, load
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.networks import functions
from ntkrepro.programs import ensemble, memory, observe
from ntkrepro.programs.run import compute
from ntkrepro.programs.setup import prepare
from ntkrepro.records import store
from ntkrepro.records.summary import summary
from ntkrepro.records.tables import table
from ntkrepro.theory import dynamics
from ntkrepro.theory.kernels import empirical
from ntkrepro.training import loop, recipe

DIGITS = ("program=ensemble", "data.points=11", "data.train=12", "model.width=16", "model.depth=2")
SMALL = (*DIGITS, "samples=5", "optimizer.steps=8", "log.points=0", "log.steps=[3]", "seed=2")


def small(tmp_path, *overrides):
    return compose([*SMALL, f"results={tmp_path}", *overrides])


def computed(run, say=lambda line: None):
    return ensembles.members(store.read(compute(run, say)))


def alone(seed, *overrides):
    """Outputs [t, points] of the network of a seed, trained by itself, step by step."""
    own = prepare(compose([*SMALL, f"seed={seed}", *overrides]))
    opt, dtype = own.experiment.optimizer, own.x_train.dtype
    task = recipe.Task(own.params0, own.x_train, own.dataset.y_train, jnp.asarray(own.lr, dtype))
    how = recipe.Recipe(own.model, momentum=opt.momentum, trained=opt.train.name)
    runs = loop.train(how, task, ("network",), own.steps)
    params = (loop.add(own.params0, omega["network"]) for _, omega in runs)
    return np.stack([functions.apply(own.model, p, own.x_test)[:, 0] for p in params])


def test_members_are_the_networks_of_their_seeds(tmp_path):
    seen = computed(small(tmp_path))
    assert list(seen.steps) == [0, 3, 8]
    assert seen.networks.shape == (3, 5, 11)
    for member in (0, 4):
        assert np.abs(seen.networks[:, member] - alone(2 + member)).max() < 1e-5


WAYS = ("optimizer.train=all", "optimizer.train=all optimizer.solver=leaps")


@pytest.mark.parametrize("words", [*WAYS, "optimizer.train=readout"])
def test_the_loss_is_the_mean_over_members_on_the_train_points(tmp_path, words):
    run = small(tmp_path, *words.split())
    found = table(store.read(compute(run)), "network", "loss", "train").to_numpy()[:, 0]
    own = prepare(run)
    every = [functions.apply(own.model, ensemble.member(own, i), own.x_train) for i in range(5)]
    assert found[0] == pytest.approx(np.mean((np.stack(every) - own.dataset.y_train) ** 2) / 2)
    assert found.shape == (3,)
    assert found[2] < found[1] < found[0]


def test_members_by_leaps_are_those_by_steps(tmp_path):
    words = ("precision=float64", "model.activation=tanh", "optimizer.steps=256", "samples=2")
    found = [
        computed(small(tmp_path, *words, f"optimizer.solver={solver.name}")) for solver in Solver
    ]
    off = np.sqrt(np.mean((found[1].networks - found[0].networks) ** 2, axis=(1, 2)))
    assert (off[1:] > 0).all()
    assert (off < 0.01 * np.sqrt(np.mean(found[0].networks ** 2, axis=(1, 2)))).all()


def test_an_ensemble_by_leaps_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    words = ("samples=2", "optimizer.steps=64", "optimizer.solver=leaps", "checkpoint=0")
    whole = computed(small(tmp_path / "whole", *words)).networks
    run, seen = small(tmp_path / "cut", *words), []
    real = ensemble.leaping.moves.apply

    def dies(*args):
        seen.append(args)
        if len(seen) == 40:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(ensemble.leaping.moves, "apply", dies)
    with pytest.raises(KeyboardInterrupt):
        computed(run)
    assert list(ensemble.folder(run).glob("*.checkpoint"))
    assert np.array_equal(computed(run).networks, whole)


def test_the_path_leads_from_one_class_to_the_other_on_a_sphere():
    images = Data(classes=["3", "8"], targets=Targets.signs, train=12, points=11)
    images.subspace = False
    dataset = load.load(images)
    at = inputs.alphas(11)
    assert (at[0], at[-1]) == (-2, 3)
    (start,), (end,) = (dataset.x_test[at == a] for a in (0.0, 1.0))
    first, other = (dataset.x_train[dataset.y_train[:, 0] == y][0] for y in (1, -1))
    assert np.allclose(start, first)
    assert np.allclose(end, other)
    assert np.allclose((dataset.x_test**2).sum(1), 64)
    turned = load.load(Data(**{**vars(images), "subspace": True}))
    assert turned.x_train.shape[1] <= 12  # the path adds no direction
    gram = dataset.x_test @ dataset.x_train.T
    assert np.allclose(turned.x_test @ turned.x_train.T, gram)


@pytest.mark.parametrize("trained", Trained)
def test_blocks_are_kept_and_a_run_goes_on_where_it_was_cut_off(tmp_path, monkeypatch, trained):
    """The same members whatever the block, and a finished block is not computed again."""
    word = f"optimizer.train={trained.name}"
    whole = computed(small(tmp_path / "whole", word)).networks
    run = small(tmp_path / "cut", word)
    each = 4 * sum(leaf.nbytes for leaf in jax.tree.leaves(prepare(run).params0))
    monkeypatch.setattr(memory, "CACHES", {jax.default_backend(): 2 * each})
    real, calls = ensemble.TRAINED[trained], []

    def dies(setup, critical, first, *args):
        calls.append(first)
        if first == 4:
            raise KeyboardInterrupt
        return real.blocks[Solver.steps](setup, critical, first, *args)

    monkeypatch.setitem(ensemble.TRAINED, trained, real._replace(blocks={Solver.steps: dies}))
    with pytest.raises(KeyboardInterrupt):
        computed(run)
    assert sorted(p.name for p in ensemble.folder(run).iterdir()) == ["0-2.npz", "2-4.npz"]
    monkeypatch.setitem(ensemble.TRAINED, trained, real)
    said = []
    assert np.abs(computed(run, said.append).networks - whole).max() < 1e-5
    assert said == ["members 0 to 1 are there already", "members 2 to 3 are there already"]
    assert not ensemble.folder(run).exists()
    assert calls == [0, 2, 4]


def test_members_by_leaps_tell_what_they_took(tmp_path):
    """Each its own; the summary, of all."""
    run = small(tmp_path, "samples=3", "optimizer.steps=256", "optimizer.solver=leaps")
    record = store.read(compute(run))
    spent = [table(record, "network", name, "") for name in observe.SPENT]
    assert all(part.shape == (3, 3) for part in spent)  # steps, members
    estimate, linearizations, gradients = (part.to_numpy() for part in spent)
    assert (estimate[-1] > 0).all()
    assert (np.diff(linearizations, axis=0) > 0).all()
    assert len(set(gradients[-1])) > 1
    worth = f"{linearizations[-1].sum():.0f} linearizations, worth {gradients[-1].sum():.4g} gradi"
    assert worth in summary(record)
    assert summary(record).endswith("(3 x 256 steps)")


def test_one_member_has_no_spread(tmp_path, recwarn):
    record = store.read(compute(small(tmp_path, "samples=1")))
    own, process = summary(record).splitlines()[1:3]
    assert "±" not in own and "±" in process  # noqa: PT018
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_a_damaged_block_is_told_and_trained_again(tmp_path, monkeypatch, capsys):
    run = small(tmp_path)
    monkeypatch.setattr(ensemble.shutil, "rmtree", lambda path, **options: None)
    whole, path = computed(run).networks, ensemble.folder(run) / "0-5.npz"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 64
    path.write_bytes(damaged)
    said = []
    assert (computed(run, said.append).networks == whole).all()
    assert said == []
    assert capsys.readouterr().err == f"warning: {path}: it is damaged; the run starts over\n"
    assert (computed(run, said.append).networks == whole).all()
    assert said == ["members 0 to 4 are there already"]


def test_training_the_readout_is_the_nngp_kernel_s_dynamics(tmp_path):
    """Finite width: f_0 - K(x, X) phi_t(K) (f_0(X) - y) under the empirical K (Eq. S28)."""
    run = small(tmp_path, "optimizer.train=readout", "precision=float64", "samples=1")
    seen = computed(run)
    with jax.enable_x64(True):
        own = prepare(run)
        model, x = (own.model, own.params0), (own.x_train, own.x_test)
        k, k_test = (np.asarray(empirical.nngp(*model, part, own.x_train)) for part in x)
        f, f_test = (functions.apply(*model, part) for part in x)
    residual = np.asarray(f) - own.dataset.y_train
    c = dynamics.coefficients(dynamics.spectrum(k), residual, seen.steps, 0.1 * own.rate)
    expected = dynamics.outputs(f_test, k_test, c)[..., 0]
    assert np.abs(seen.networks[:, 0] - expected).max() < 1e-10
    assert np.abs(expected[-1] - expected[0]).max() > 0.1


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (1e-10, ["precision=float64"]),
        (1e-10, ["precision=float64", "data.train=40", "optimizer.momentum=0.9"]),  # > width
        (1e-5, []),
    ],
)
def test_a_readout_in_closed_form_is_trained_step_by_step(tmp_path, tolerance, words):
    words = ["optimizer.train=readout", "optimizer.steps=60", *words]
    seen = computed(small(tmp_path, *words)).networks
    with jax.enable_x64("precision=float64" in words):
        for member in (0, 4):
            assert np.abs(seen[:, member] - alone(2 + member, *words)).max() < tolerance
    assert np.abs(seen[-1] - seen[0]).max() > 0.1


def test_progress_of_a_readout_grows_with_its_members(tmp_path):
    ticks = []
    compute(small(tmp_path, "optimizer.train=readout"), tick=ticks.append)
    assert ticks == [1, 3, 4, 6, 8]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda own: {"lr": 500.0}, "between step 0 and step 3: .*=500 is 250 x .* 2 of network"),
        (
            lambda own: {"x_train": own.x_train.at[3].set(1e38)},
            r"the loss of network is not finite at step 0: .* \(inputs up to 1e\+38\)",
        ),
    ],
)
def test_a_readout_that_has_no_numbers_is_refused(tmp_path, change, told):
    own = prepare(small(tmp_path, "optimizer.train=readout", "model.activation=relu"))
    own = own._replace(**change(own))
    with pytest.raises(RunFailed, match=told):
        ensemble.solve_block(own, {"network": 2.0}, 0, 2, tmp_path, lambda step: None)


@pytest.mark.slow
def test_members_on_several_devices_are_those_on_one(ntkrepro, tmp_path):
    seen = []
    for devices in (1, 4):
        words = [*SMALL, "samples=8", f"results={tmp_path}/{devices}"]
        flags = f"--xla_force_host_platform_device_count={devices}"
        assert ntkrepro("run", *words, XLA_FLAGS=flags).returncode == 0
        record = store.read(compose(words).path)
        assert record.provenance["devices"] == devices
        seen.append(ensembles.members(record).networks)
    assert np.abs(seen[0] - seen[1]).max() < 1e-5


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.points=0", "data.points=0: must be at least 2 with program=ensemble"),
        ("data.targets=onehot", "data.targets=onehot: must be signs"),
        ("model.architecture=cnn", "model.architecture=cnn: must be fc"),
        ("optimizer.batch=4", "optimizer.batch=4: must be null"),
        ("optimizer.name=adam", "optimizer.name=adam: must be sgd"),
    ],
)
def test_what_an_ensemble_cannot_be_is_refused(override, told):
    with pytest.raises(UserError, match=told):
        compose([*SMALL, "data.subspace=false", override])


def test_a_path_within_one_class_is_told(tmp_path):
    with pytest.raises(UserError, match=r"data\.points: the train points are of one class"):
        computed(small(tmp_path, "data.train=1"))
