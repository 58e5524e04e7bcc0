import shutil
import subprocess
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from ntkrepro.config import catalog
from ntkrepro.config.catalog import experiment_file, experiments
from ntkrepro.config.compose import _compose, _composed, compose, decides, expand
from ntkrepro.config.identity import flat, run_id
from ntkrepro.config.rules import check
from ntkrepro.config.schema import Scale
from ntkrepro.config.words import read
from ntkrepro.errors import UserError

WORDS = ["experiment=digits", "scale=paper"]


def configured(words):
    return [run.experiment for run in expand(words)]


@pytest.mark.parametrize("name", experiments())
def test_scales_grow(name):
    def work(scale):
        return sum(
            e.samples * e.data.train * e.optimizer.steps * e.model.depth * e.model.width**2
            for e in configured([f"experiment={name}", f"scale={scale}"])
        )

    assert 1000 * work("smoke") < work("laptop")
    if experiment_file(f"{name}/laptop").is_file():  # else it has the paper's numbers
        assert work("laptop") < work("paper")


def some(values):
    return st.lists(values, min_size=1, max_size=3)


SWEPT = st.fixed_dictionaries(
    {},
    optional={
        "seed": some(st.integers(0, 9)),
        "model.width": some(st.integers(1, 99)),
        "optimizer.lr": some(st.floats(1e-3, 1)),
        "model.activation": some(st.sampled_from(["relu", "erf"])),
    },
)


@settings(max_examples=20, deadline=None)
@given(SWEPT.flatmap(lambda swept: st.permutations(list(swept.items()))))
def test_expand_is_the_product_without_repeats(swept):
    runs = expand(f"{key}={','.join(map(str, values))}" for key, values in swept)
    found = [tuple(flat(run.experiment)[key] for key, _ in swept) for run in runs]
    assert found == list(dict.fromkeys(product(*(values for _, values in swept))))


def test_expand_reads_sweeps_as_hydra_does():
    words = ["experiment=weight_change,digits", "scale=smoke", "seed=range(3,5)"]
    words += ["data.classes=[1,2],[3]", "data.targets=onehot", "optimizer.batch=null,4"]
    words += ["model.activation=relu,'erf'"]
    found = configured(words)
    assert len(found) == len({run_id(e) for e in found}) == (3 + 1) * 2 * 2 * 2 * 2
    assert {e.name for e in found} == {"weight_change", "digits"}
    assert {e.seed for e in found} == {3, 4}
    assert {tuple(e.data.classes) for e in found} == {("1", "2"), ("3",)}
    assert {e.optimizer.batch for e in found} == {None, 4}
    assert {e.model.activation.name for e in found} == {"relu", "erf"}


def test_expand_takes_each_of_an_experiment_s_own_grids_but_what_is_overridden():
    words = ["experiment=fc_cifar_xent", "scale=smoke"]
    expected = {(w, seed) for w in (8, 32) for seed in (0, 1)}
    found = configured(words)
    assert len(found) == len(expected)
    assert {(e.model.width, e.seed) for e in found} == expected
    fixed = configured([*words, "model.width=16"])
    assert [(e.model.width, e.seed) for e in fixed] == [(16, 0), (16, 1)]


@pytest.mark.parametrize("words", [["seed=1,"], ["model.width=a,b"], ["model.width=4,0"]])
def test_expand_refuses_a_sweep_with_a_bad_value(words):
    with pytest.raises(UserError):
        expand(words)


LEAVES = {"optimizer.lr": [0.1, 0.2], "optimizer.momentum": [0.0, 0.5], "optimizer.steps": [3, 4]}
SCALAR = st.sampled_from(list(LEAVES)).flatmap(
    lambda key: st.tuples(
        st.just(key), st.lists(st.sampled_from(LEAVES[key]), min_size=1, max_size=2)
    )
)
PART = st.lists(st.sampled_from(list(LEAVES)), unique=True, min_size=1, max_size=3).flatmap(
    lambda keys: st.fixed_dictionaries({key: st.sampled_from(LEAVES[key]) for key in keys})
)
BRACES = st.tuples(st.just("optimizer"), st.lists(PART, min_size=1, max_size=2))


def written(key, value):
    if not isinstance(value, dict):
        return str(value)
    return "{" + ", ".join(f"{leaf.split('.')[1]}: {v}" for leaf, v in value.items()) + "}"


@settings(max_examples=40, deadline=None)
@given(st.lists(SCALAR | BRACES, max_size=4))
def test_no_word_is_lost(words):
    """One value of each word, applied in the order of the words, gives a point."""
    expected = {}
    for choice in product(*(values for _, values in words)):
        point = {"optimizer.lr": 0.1, "optimizer.momentum": 0.0, "optimizer.steps": 1024}
        for (key, _), value in zip(words, choice, strict=True):
            point |= value if isinstance(value, dict) else {key: value}
        expected[tuple(sorted(point.items()))] = None
    texts = [f"{key}={','.join(written(key, v) for v in values)}" for key, values in words]
    runs = [flat(run.experiment) for run in expand(["scale=paper", *texts])]
    found = [tuple(sorted((key, run[key]) for key in LEAVES)) for run in runs]
    assert sorted(found) == sorted(expected)


def test_a_word_in_braces_fixes_what_an_experiment_sweeps():
    for word in ("data={train: 64}", "data.train=64"):
        found = configured(["experiment=rmse_fc_data", "scale=smoke", word])
        assert {e.data.train for e in found} == {64}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=range(0)"], r"seed=range\(0\): no values"),
        (["seed=range(5,0)"], r"seed=range\(5,0\): no values"),
        (["seed=range(0,9,0)"], "a step other than 0"),
        (["seed=range(0,nan)"], "finite bounds"),
        (["sweep=[{seed:[]}]"], r"sweep: seed=\[\]: must have at least one value"),
        (["sweep=[{sed:[1]}]"], "sweep: sed: no such key; did you mean seed"),
        (["seed=interval(0,1)"], r"seed=interval\(0,1\): list the values"),
        (["experiment=glob(*)"], r"experiment=glob\(\*\): list the values"),
        (["seed=range(0,1000000000)"], r"seed=range\(0,1000000000\): 1,000,000,000 points; a sw"),
        (["optimizer.lr=range(0.1,1e9,0.1)"], "points; a sweep has at most 100,000"),
        (
            ["model.width=range(1,999)", "seed=range(0,9999)"],
            "model.width, seed: 9,979,002 points; a sweep",
        ),
        (["experiment=kernel_convergence", "data.seed=range(0,9999)"], "sweep: .* points; a sweep"),
    ],
)
def test_a_sweep_is_counted_before_it_is_listed(words, told):
    with pytest.raises(UserError, match=told):
        expand(words)


def test_composing_many_points_is_told(monkeypatch, capsys):
    monkeypatch.setattr("ntkrepro.config.compose.LONG", 6)
    monkeypatch.setattr("ntkrepro.progress.EVERY", 0)
    assert len(expand(["seed=range(0,5)"])) == 5
    assert capsys.readouterr().err == ""
    assert len(expand(["seed=range(0,6)"])) == 6
    assert capsys.readouterr().err.count("points of the sweep step") == 6


def test_what_is_wrong_with_every_point_is_looked_at_a_hundred_times(monkeypatch):
    seen = []
    monkeypatch.setattr("ntkrepro.config.compose.check", lambda e: (seen.append(e), check(e)))
    with pytest.raises(UserError) as error:
        expand(["seed=range(0,20000)", "model.width=0"])
    assert str(error.value) == "model.width=0: must be 1 to 10,000,000"
    assert len(seen) == 100


HOSTILE = "epoch=9.npz données.npz a(1).npz a,b a:b,c [x {a} ${ ~/x it's a;b $HOME `ls` #a é =  \n"
HOSTILE += ' "q" a\\ !x'


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(HOSTILE.split(" "))
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
)
def test_a_text_that_must_be_quoted_is_told_quoted_for_bash(value):
    """What the mend says, typed into bash, is read as the text that was meant."""
    try:
        read([f"results={value}"])
    except UserError as error:
        given, _, mend = str(error).rpartition(": quote the text: ")
        if not given:
            return
        typed = subprocess.check_output(["bash", "-c", f"printf %s {mend}"]).decode()
        (word,) = read([typed])
        assert word.values == [value]


@pytest.mark.parametrize("value", HOSTILE.split(" ")[:3])
def test_the_mend_of_a_text_is_to_quote_it(value):
    with pytest.raises(UserError, match="quote the text: 'results=\"") as error:
        compose([f"results={value}"])
    assert "Exception" not in str(error.value)


def test_interpolations_of_a_sweep_are_resolved_at_every_point():
    """lr = eta / width, of the experiment's own grid."""
    found = configured(["experiment=parametrization", "scale=smoke", "model.width=8,16"])
    standard = [e for e in found if e.model.parametrization.name == "standard"]
    rates = [{e.optimizer.lr * w for e in standard if e.model.width == w} for w in (8, 16)]
    assert rates[0] == rates[1] != set()
    assert len({e.optimizer.lr for e in standard}) > len(rates[0])


def test_a_sweep_over_scales_takes_the_grid_of_each():
    both, *alone = (
        {run.id for run in expand(["experiment=weight_change", f"scale={scale}"])}
        for scale in ("smoke,laptop", "smoke", "laptop")
    )
    assert both == alone[0] | alone[1]


def test_the_papers_numbers_of_figures_4_and_s2():
    """From the captions; 25600 steps: time to 256, read off the poster."""
    for name, lr in (("fc_cifar", 0.01), ("fc_cifar_standard", 0.005 / 2048)):
        e = compose([f"experiment={name}", "scale=paper"]).experiment
        assert (e.model.depth, e.model.width, e.data.train) == (5, 2048, 256)
        assert (e.optimizer.lr, e.optimizer.steps) == (lr, 25600)


def test_a_rate_over_the_width_follows_the_width():
    for width in (7, 300):
        chosen = compose(["experiment=fc_cifar_standard", f"model.width={width}"])
        assert chosen.experiment.optimizer.lr == 0.005 / width


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
        ("model=fc", "model=fc: unknown; valid: custom"),
        ("data=mnist", "data=mnist: unknown; valid: npz"),
        ("model.activation=rellu", "model.activation=rellu.*relu, tanh, erf, gelu, identity"),
        ("model.width=wide", "model.width=wide"),
        ("model.width=1.5", "model.width=1.5"),
        ("model.width=null", "model.width=null"),
        ("model.width=2,3", "model.width=2,3.*-m"),
        ("width", "width.*KEY=VALUE"),
        ("", "''.*KEY=VALUE"),
        ("=3", "=3.*KEY=VALUE"),
        ("+", "KEY=VALUE"),
        ("~seed", "~seed.*KEY=VALUE"),
        ("~seed=3", "no key can be left out"),
        ("hydra=1", "hydra: no such key"),
        ("model={widht: 3}", r"model\.widht: no such key; did you mean model\.width"),
        ("seed=(3", r"seed=\(3: can't be read; seed is an integer"),
        ("seed=" + "9" * 5000, "can't be read; seed is an integer"),
        ("log.steps=" + "[" * 3000, "can't be read; log.steps is a list of integers"),
        ("log.steps=[[1]]", r"log.steps=\[\[1\]\]: must be a list of single values"),
        ("optimizer=(", "can't be read; optimizer takes {KEY: VALUE, ...}"),
        ("seed=4294967296", "seed=4294967296: must be 0 to 4,294,967,295"),
        ("data.test=1000000000000", "data.test=1000000000000: must be all or 1 to 10,000,000"),
    ],
)
def test_what_is_not_known_is_told_with_the_nearest_that_is(override, told):
    with pytest.raises(UserError, match=told):
        compose([override])


def test_a_rate_over_a_width_of_zero_names_the_width():
    with pytest.raises(UserError, match=r"model\.width=0: must be 1 to"):
        compose(["experiment=fc_cifar_standard", "model.width=0"])


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A copy of the configs that a test may change, and an empty cache folder."""
    folder = tmp_path / "configs"
    shutil.copytree(catalog.configs_dir(), folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("ntkrepro.config.compose.configs_dir", lambda: folder)
    decides.cache_clear()
    yield folder
    decides.cache_clear()


def refuse(*args):
    raise AssertionError("composed again")


def test_a_composed_config_is_kept(configs, monkeypatch):
    first = compose(WORDS)
    monkeypatch.setattr("ntkrepro.config.compose.hydra_compose", refuse)
    assert compose(WORDS) == first


def test_an_edit_of_any_config_is_seen(configs):
    before = compose(WORDS).experiment
    path = configs / "experiment" / "digits.yaml"
    path.write_text(path.read_text().replace("width: ", "width: 1", 1))
    decides.cache_clear()  # as in the next process
    after = compose(WORDS).experiment
    assert after.model.width == int(f"1{before.model.width}")


@pytest.mark.parametrize("name", experiments())
def test_a_kept_config_is_what_hydra_composes(name, configs):
    """Values, types, enums, what is missing, and what may be set."""
    for scale in Scale:
        words = [f"experiment={name}", f"scale={scale.name}"]
        first, again, composed = _compose(words), _compose(words), _composed(words)
        assert first == again == composed
        assert OmegaConf.to_object(again) == OmegaConf.to_object(composed)
        assert nodes(again) == nodes(composed)


def nodes(config, key=""):
    """Every node's path, its type, and what it takes."""
    about = {k: v for k, v in vars(config._metadata).items() if k != "resolver_cache"}
    found = [(key, type(config), about, getattr(config, "_val", None))]
    if isinstance(config, DictConfig) and not config._is_none():
        for name in config:
            found += nodes(config._get_node(name), f"{key}.{name}")
    return found


def test_a_damaged_kept_config_is_told_and_composed_anew(configs, tmp_path, capsys):
    (run,) = expand(WORDS)
    (path,) = (tmp_path / "cache").rglob("*.json")
    text = path.read_bytes()
    assert b'"steps": ' in text
    path.write_bytes(text.replace(b'"steps": ', b'"steps": 1'))
    assert [expand(WORDS), expand(WORDS)] == [[run], [run]]
    assert capsys.readouterr().err == f"warning: {path} is damaged: composed anew\n"


def test_without_a_folder_to_write_it_is_composed_all_the_same(configs, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert compose(WORDS) == compose(["scale=paper", "experiment=digits"])


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ([], (0.1, 0.3)),
        (["optimizer.lr=0.1"], (0.1, None)),
        (["optimizer={lr: 0.2}"], (0.2, None)),
        (["optimizer.lr_over_critical=0.5"], (0.1, 0.5)),
        (["optimizer.lr_over_critical=null"], (0.1, None)),
        (["optimizer.name=adam"], (0.1, None)),
        (["optimizer.weight_decay=0.01"], (0.1, None)),
        (["experiment=fc_mnist", "seed=0"], (0.1, 0.3)),
        (["sweep=[{optimizer.lr: [0.2]}]"], (0.2, None)),
    ],
)
def test_the_rate_of_an_own_network_is_measured_unless_it_is_set(here, words, rate):
    (run,) = expand(["model=custom", "model.factory=nets:Pair", *words])
    optimizer = run.experiment.optimizer
    assert (optimizer.lr, optimizer.lr_over_critical) == rate


def test_the_command_composes_an_own_network_s_rate_as_a_sweep_does(here, ntkrepro):
    words = ["model=custom", "model.factory=nets:Pair", "scale=smoke", "optimizer.steps=2"]
    assert ntkrepro("run", *words).returncode == 0
    (run,) = expand(words)
    assert run.experiment.optimizer.lr_over_critical == 0.3
    assert run.path.is_file()
