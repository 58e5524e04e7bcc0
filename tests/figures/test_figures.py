"""Figures and their claims from real records at smoke scale, and from what is missing of them."""

import matplotlib.image
import numpy as np
import pytest

from ntkrepro.claims.claim import UNCHECKABLE, VERDICTS
from ntkrepro.claims.criterion import below
from ntkrepro.config.compose import compose, expand
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.figures import gather, save
from ntkrepro.figures.catalog import FIGURES, figure
from ntkrepro.programs.run import compute
from ntkrepro.records import store, tables
from tests.claims.common import made

pytestmark = pytest.mark.usefixtures("few_resamples")
SHOWN = {  # figure -> its panes, and its claims
    "digits": (6, ""),
    "kernel": (6, ""),
    "custom": (6, "4b, 4c accuracy, 4c loss, 4d"),
    "grid": (1, ""),
    "1": (4, "1a L=1, 1a M=1 L=1, 1a L=3, 1a M=1 L=3, 1b L=1, 1b M=1 L=1, 1b L=3, 1b M=1 L=3, 1c"),
    "2": (
        4,
        "2a readout, 2a other, 2b, 2b kinked, 2c, 2c kinked, "
        "2b kinked relu, 2c kinked relu, 2b smooth tanh, 2c smooth tanh",
    ),
    "3": (
        6,
        "3a, 3b, 3c, 3d, 3b drawn, 3c drawn, 3b limit, 3c limit, 3d drawn, 3d limit",
    ),
    "4": (6, "4a, 4b, 4c accuracy, 4c loss, 4d"),
    "5": (6, "5a accuracy, 5a loss"),
    "6": (6, "6a accuracy, 6a loss, 6b"),
    "7": (
        4,
        "7a shape, 7a dip step network, 7a dip network, 7a peak step network, 7a rebound network, "
        "7a dip step linearization, 7a dip linearization, 7a peak step linearization, "
        "7a rebound linearization, 7b accuracy, 7b loss",
    ),
    "8": (
        6,
        "8a L=1, 8a L=2, 8b n=4, 8b n=8, 8b n=16, 8c L=1, 8d N=1, "
        "8e relu L=1, 8e kinked relu L=1, 8e relu L=2, 8e kinked relu L=2, 8f relu, "
        "8f kinked relu, 8g relu, 8g kinked relu, 4d kinked relu L=2, 8e tanh L=1, "
        "8e relu L=1, data.seed=1, 8e kinked relu L=1, data.seed=1, 8h relu over tanh",
    ),
    "S1": (2, "S1a, S1b"),
    "S2": (6, "S2a accuracy, S2a loss"),
    "S3": (2, "1a L=1, 1a M=1 L=1, 1b L=1, 1b M=1 L=1, 1c L=1"),
    "S4": (4, ""),
    "S5": (6, "S5a"),
    "F1": (3, "F1 holds, F1 tells"),
    "F2": (2, "F2a relu, F2b relu, F2a tanh, F2b tanh"),
    "F3": (
        4,
        "F3a relu L=1, F3b relu L=1, F3c relu L=1, F3d relu L=1, "
        "F3a tanh L=1, F3b tanh L=1, F3c tanh L=1, F3d tanh L=1",
    ),
    "F4": (6, "F4a, F4c, F4d, F4b relu, F4b tanh"),
    "F5": (4, "F5a, F5b, F5c, F5d, F5e"),
    "F6": (
        6,
        "F6a ntk, F6a standard, F6a mup, F6b ntk, F6b standard, F6c mup, F6d ntk, F6e mup, "
        "F6f ntk, F6f mup, F6g standard, F6h standard, F6i standard",
    ),
}
ONE_VALUE = {"S1b"}  # the largest there is: no interval
ONE_VALUE |= {"F2b relu", "F2b tanh"}  # seeds may need as many
QUICK = ("digits", "custom", "grid", "kernel")  # on embedded data
every_figure = pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in FIGURES if n not in QUICK)]
)


@pytest.fixture
def record(digits):
    return store.read(digits)


@pytest.fixture
def needed(name, smoke_records):
    """The records that a figure needs."""
    return {e: [store.read(p) for p in smoke_records(e)] for e in figure(name).experiments}


@every_figure
def test_every_pane_of_a_figure_shows_something(name, needed):
    picture = figure(name).draw(needed)
    assert name not in SHOWN or len(picture.axes) == SHOWN[name][0]
    for ax in picture.axes:
        shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
        assert np.isfinite(shown).all(), ax.get_title()
        assert np.ptp(shown) > 0, ax.get_title()


@every_figure
def test_a_figure_is_drawn_twice_to_the_same_bytes(name, needed, smoke_records):
    results = smoke_records(next(iter(needed)))[0].parents[1]
    plain = results / "figures/smoke" / (f"fig{name}" if name[-1].isdigit() else name)
    files = [plain.with_suffix(f".{form}") for form in ("png", "pdf")]

    def draw():
        save.draw([name], ["scale=smoke", f"results={results}"])
        return [path.read_bytes() for path in files]

    first = draw()
    assert first[1].startswith(b"%PDF")
    pixels = matplotlib.image.imread(files[0])[..., :3]
    assert pixels.size > 3e5
    assert pixels.std() > 0.05
    assert draw() == first


def test_networks_are_solid_and_linearizations_dashed(record):
    lines = figure("digits").draw({"digits": [record]}).axes[1].lines
    network = tables.table(record, "network", "output", "test").to_numpy()
    styles = {"-": True, "--": False}
    assert sorted(line.get_linestyle() for line in lines) == ["-"] * 5 + ["--"] * 5
    for line in lines:
        is_network = any((line.get_ydata() == f[1:]).all() for f in network.T)
        assert is_network == styles[line.get_linestyle()]


@every_figure
def test_claims_at_smoke_scale(name, needed):
    """Values inside their intervals; no verdict where only the paper's numbers have one."""
    checked = figure(name).claims(needed)
    assert name not in SHOWN or ", ".join(claim.id for claim in checked) == SHOWN[name][1]
    for claim in checked:
        low, high = claim.interval
        if name == "8" and np.isnan(claim.value):  # all saturated, at such widths
            assert claim.verdict == UNCHECKABLE
            continue
        assert low <= claim.value <= high
        assert low < high or claim.id in ONE_VALUE or claim.value in (0, 1, 100)
        if claim.contract.scale == "paper" and name != "custom":  # asked at any width
            assert claim.verdict == UNCHECKABLE
        else:
            assert claim.verdict in VERDICTS


def stored(record, *words):
    """The rows of another run under the config of these words."""
    store.write(compose(words), record.rows, record.provenance)


def test_a_record_is_the_papers_if_all_its_numbers_are(record, tmp_path):
    """Whatever it is called."""
    own = ["experiment=fc_cifar", "seed=0", f"results={tmp_path}"]
    paper = [*own, "scale=paper"]
    by_hand = [*own, "scale=laptop", "model.width=2048", "log.points=64"]
    other = [*paper, "model.width=64"]
    steps, loose = "optimizer.solver=steps", "optimizer.tolerance=0.1"
    for words, expected in (
        (paper, True),
        (by_hand, True),
        (other, False),
        ([*paper, steps], True),
        ([*paper, loose], False),
    ):
        stored(record, *words)
        (found,), lack = gather.load(words)
        assert (found.paper, lack) == (expected, "")


def test_what_is_missing_of_a_sweep_is_counted(record, tmp_path):
    words = ["experiment=weight_change", "scale=smoke", f"results={tmp_path}"]
    stored(record, *words, "model.width=16", "seed=1")
    found, lack = gather.load(words)
    assert len(found) == 1
    assert lack == f"5 of 6 runs of weight_change: ntkrepro run -m {' '.join(words)}"


def test_a_figure_of_parts_shows_those_that_are_there(record, tmp_path):
    here = ["scale=smoke", f"results={tmp_path}"]
    for run in expand(["experiment=rmse_fc_depth", *here]):
        store.write(run, record.rows, record.provenance)
    with pytest.raises(UserError) as error:
        save.draw(["8"], here)
    told = [line.split(" runs of ")[1].split(":")[0] for line in str(error.value).splitlines()]
    assert told == ["rmse_fc_data", "rmse_cnn", "rmse_wrn", "rmse_activations"]
    (shown,) = gather.gather(["8"], here)
    assert {claim.id for claim in shown.claims} == {"8a L=1", "8a L=2"}
    picture = shown.figure.draw(shown.records)
    assert [len(ax.lines) > 0 for ax in picture.axes] == [True]
    assert "Not run: rmse_fc_data, rmse_cnn, rmse_wrn, rmse_activations" in picture.get_supxlabel()
    assert (tmp_path / "figures/smoke/fig8.png").exists()


@pytest.fixture
def exploration(record, tmp_path):
    """Results that hold nothing but a run of another seed, and the words that draw it."""
    words = ["scale=smoke", f"results={tmp_path}", "seed=5"]
    stored(record, *words)
    return words


def test_an_exploration_has_a_file_of_its_own_and_never_stands_in_for_the_figure(
    exploration, tmp_path
):
    with pytest.raises(UserError, match="ntkrepro run experiment=digits scale=smoke"):
        save.draw(["digits"], exploration[:2])
    assert not (tmp_path / "figures").exists()
    save.draw(["digits"], exploration)
    stem = f"digits-{compose(exploration).id}"
    files = {path.name for path in (tmp_path / "figures/smoke").iterdir()}
    assert files == {f"{stem}.png", f"{stem}.pdf"}


def test_figures_that_cannot_be_written_name_the_path(exploration, tmp_path):
    (tmp_path / "figures").touch()
    with pytest.raises(RunFailed, match=f"can't write {tmp_path}/figures/smoke/digits"):
        save.draw(["digits"], exploration)


def test_all_that_is_missing_is_told_once(tmp_path):
    words = ["scale=smoke", f"results={tmp_path}"]
    with pytest.raises(UserError) as error:
        save.draw([], words)
    needed = dict.fromkeys(e for name in FIGURES for e in figure(name).experiments)
    lines = str(error.value).removeprefix("missing ").split("\n  and ")
    assert lines == [gather.load([f"experiment={e}", *words])[1] for e in needed]


def test_a_figure_over_no_time_is_refused(record, tmp_path):
    start = record._replace(rows=record.rows[record.rows["step"] == 0])
    asked = ["scale=smoke", "optimizer.steps=0", f"results={tmp_path}"]
    stored(start, *asked)
    with pytest.raises(UserError, match=r"optimizer\.steps=0"):
        save.draw(["digits"], asked)
    assert not (tmp_path / "figures").exists()


def test_a_figure_of_outputs_is_refused_where_they_were_not_kept(tmp_path):
    words = ["scale=smoke", "log.examples=false", f"results={tmp_path}"]
    compute(compose(words))
    with pytest.raises(UserError, match=r"log\.examples=false: run \w+ has no output"):
        save.draw(["digits"], words)


def test_claims_are_printed_in_full(capsys):
    """On a line however narrow the output is."""
    what = (
        "Network and linearization agree on all that was ever [/red] measured: the gap of {0} :x:"
    )
    save.show([made(0.123456, (0.1, 0.2), below(1), "4x", measures=what, checkable=False)])
    printed = capsys.readouterr().out
    for words in ("4x", "0.1235", "0.1 to 0.2", "< 1", UNCHECKABLE, f"{what} (§3.3, Figure 4)"):
        assert words in printed
