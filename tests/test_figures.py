"""Figures and claims from real records, and from records bent so that a claim must turn around."""

from itertools import product

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ntkrepro import claims, config, experiment, figures, records
from ntkrepro.claims import FAILED, REPRODUCED, UNCHECKABLE
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.figures import FIGURES, fig1, fig2, fig4, fig8, figS2, module
from ntkrepro.records import Record

PANES = {"digits": 6, "custom": 6, "1": 4, "2": 3, "3": 4, "4": 6, "5": 6, "6": 6, "7": 4, "8": 4}
PANES |= {"S1": 2, "S2": 6, "S3": 2, "S4": 4, "S5": 6, "F1": 2}
CLAIMS = {
    "digits": set(),
    "custom": {"4b", "4c accuracy", "4c loss", "4d"},
    "1": {"1a L=1", "1a L=3", "1b L=1", "1b L=3", "1c"},
    "2": {"2a readout", "2a other", "2b", "2c"},
    "3": {"3a", "3b", "3c", "3d"},
    "4": {"4a", "4b", "4c accuracy", "4c loss", "4d"},
    "5": {"5a accuracy", "5a loss"},
    "6": {"6a accuracy", "6a loss", "6b"},
    "7": {"7a shape", "7a rebound"},
    "8": {
        *("8a L=1", "8a L=2", "8b n=4", "8b n=8", "8b n=16"),
        *("8c L=1", "8d N=1"),
    },
    "S1": {"S1a", "S1b"},
    "S2": {"S2a accuracy", "S2a loss"},
    "S3": {"1a L=1", "1b L=1", "1c"},
    "S4": set(),
    "S5": {"S5a"},
    "F1": {"F1"},
}
ONE_VALUE = {"7a rebound", "S1b", "F1"}  # the largest of all there is: no interval
AT_PAPER_SCALE = {"4b", "4c accuracy", "4c loss", "4d", "6a accuracy", "6a loss", "6b"}
AT_PAPER_SCALE |= {"5a accuracy", "5a loss", "7a shape", "7a rebound"}
AT_PAPER_SCALE |= {"S2a accuracy", "S2a loss"}
QUICK = ("digits", "custom")  # on embedded data
every_figure = pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in FIGURES if n not in QUICK)]
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 50)


@pytest.fixture
def record(digits):
    return records.read(digits)


@pytest.fixture
def needed(name, smoke_records):
    """The records that a figure needs."""
    return {e: [records.read(p) for p in smoke_records(e)] for e in module(name).EXPERIMENTS}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pane_values(figure):
    """What the lines of each pane show, one array a pane."""
    lines = [[np.asarray(line.get_ydata(), float) for line in ax.lines] for ax in figure.axes]
    return [np.concatenate(values or [[]]) for values in lines]


@every_figure
def test_every_pane_of_a_figure_shows_something(name, needed):
    figure = module(name).draw(needed)
    assert len(figure.axes) == PANES[name]
    for ax, shown in zip(figure.axes, pane_values(figure), strict=True):
        assert np.isfinite(shown).all(), ax.get_title()
        assert np.ptp(shown) > 0, ax.get_title()
    figure.clear()


@every_figure
def test_a_figure_is_drawn_twice_to_the_same_bytes(name, needed, smoke_records):
    results = smoke_records(next(iter(needed)))[0].parents[1]
    folder, stem = results / "figures/smoke", name if name in QUICK else f"fig{name}"

    def draw():
        figures.draw([name], ["scale=smoke", f"results={results}"])
        return {n: data for n, data in files(folder).items() if n.startswith(f"{stem}.")}

    first = draw()
    assert set(first) == {f"{stem}.png", f"{stem}.pdf"}
    assert first[f"{stem}.pdf"].startswith(b"%PDF")
    pixels = matplotlib.image.imread(folder / f"{stem}.png")[..., :3]
    assert pixels.size > 3e5
    assert pixels.std() > 0.05
    assert draw() == first


def test_networks_are_solid_and_linearizations_dashed(record):
    figure = module("digits").draw({"digits": [record]})
    network = claims.table(record, "network", "output", "test").to_numpy()
    solid = [line for line in figure.axes[1].lines if line.get_linestyle() == "-"]
    dashed = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert len(solid) == len(dashed) == 5
    assert all(any((line.get_ydata() == f[1:]).all() for f in network.T) for line in solid)
    assert not any((line.get_ydata() == f[1:]).all() for f in network.T for line in dashed)


@every_figure
def test_claims_at_smoke_scale(name, needed):
    """Values inside their intervals; no verdict where only the paper's numbers have one."""
    checked = module(name).claims(needed)
    assert {claim.id for claim in checked} == CLAIMS[name]
    for claim in checked:
        low, high = claim.interval
        assert low <= claim.value <= high
        assert low < high or claim.id in ONE_VALUE or claim.value in (0, 1)
        if claim.id in AT_PAPER_SCALE and name != "custom":  # asked at any width
            assert claim.verdict == UNCHECKABLE
        else:
            assert claim.verdict in (REPRODUCED, FAILED, UNCHECKABLE)


def bent(record, paper=True, **changes):
    """The record as if of the paper's numbers, with each named quantity of the linearization
    replaced by a function of (the network's, the targets) [t, index]."""
    rows = record.rows.copy()
    targets = claims.select(record, "data", "target", "test")["value"].to_numpy()
    for quantity, change in changes.items():
        split = "test" if quantity == "output" else ""
        network = claims.table(record, "network", quantity, split).to_numpy()
        place = claims.select(record, "ntk_empirical", quantity, split).index
        values = change(network, targets)
        rows.loc[place, "value"] = values.ravel()
        if quantity == "output":
            parts = {"loss": 0.5 * (values - targets) ** 2}
            parts["correct"] = 1.0 * ((values > 0) == (targets > 0))
            for what, part in parts.items():
                place = claims.select(record, "ntk_empirical", f"example_{what}", "test").index
                rows.loc[place, "value"] = part.ravel()
    return record._replace(rows=rows, paper=paper)


def swapped(record):
    """The outputs by the two kernels exchanged."""
    rows = record.rows.copy()
    models = ("ntk_empirical", "ntk_analytic")
    places = [claims.select(record, model, "output", "test").index for model in models]
    for here, there in (places, places[::-1]):
        rows.loc[here, "value"] = record.rows.loc[there, "value"].to_numpy()
    return record._replace(rows=rows)


def check(record):
    """Every claim of Figures 4 and S2 by its id."""
    both = fig4.claims({"fc_cifar": [record]}) + figS2.claims({"fc_cifar_standard": [record]})
    return {claim.id: claim for claim in both}


def scaled(factor):
    return lambda network, targets: factor * network


def residuals_scaled(factor):
    return lambda network, targets: targets + factor * (network - targets)


def one_flipped(network, targets):
    """The last step's outputs with one of 16 signs turned."""
    f = network.copy()
    f[-1, 3] *= -1
    return f


def noisy(size):
    """Noise of `size` times the rms of the last outputs."""

    def change(network, targets):
        noise = np.random.default_rng(0).standard_normal(network.shape[1])
        noise *= size * np.sqrt((network[-1] ** 2).mean() / (noise**2).mean())
        return network + noise

    return change


@pytest.mark.parametrize(
    ("claim", "changes", "value", "verdict"),
    [
        ("4b", {"output": noisy(0.24)}, 0.24, REPRODUCED),
        ("4b", {"output": noisy(0.26)}, 0.26, FAILED),
        ("4b", {"output": scaled(1.1)}, 0.1, REPRODUCED),
        ("4c accuracy", {"output": scaled(0.5)}, 0, REPRODUCED),
        ("4c accuracy", {"output": one_flipped}, 100 / 16, FAILED),
        ("4c loss", {"output": residuals_scaled(1.04)}, 1.04**2 - 1, REPRODUCED),
        ("4c loss", {"output": residuals_scaled(1.06)}, 1.06**2 - 1, FAILED),
        ("4c loss", {"output": residuals_scaled(0.94)}, 1 - 0.94**2, FAILED),
        ("S2a accuracy", {"output": scaled(0.5)}, 0, REPRODUCED),
        ("S2a accuracy", {"output": one_flipped}, 100 / 16, FAILED),
        ("S2a loss", {"output": residuals_scaled(1.04)}, 1.04**2 - 1, REPRODUCED),
        ("S2a loss", {"output": residuals_scaled(1.06)}, 1.06**2 - 1, FAILED),
        ("4d", {"weight": scaled(1.09)}, 0.09, REPRODUCED),
        ("4d", {"weight": scaled(1.11)}, 0.11, FAILED),
        ("4d", {"weight": scaled(-1)}, 2, FAILED),
    ],
)
def test_a_claim_turns_around_at_its_threshold(record, claim, changes, value, verdict):
    measured = check(bent(record, **changes))[claim]
    assert measured.value == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert measured.verdict == verdict
    assert check(bent(record, paper=False, **changes))[claim].verdict == UNCHECKABLE


def test_4a_turns_around_when_the_kernels_change_places(record):
    honest, turned = check(record)["4a"], check(swapped(record))["4a"]
    assert (honest.verdict, turned.verdict) == (REPRODUCED, FAILED)
    assert honest.value < 1 < turned.value


def test_4a_counts_from_time_1_on(record):
    """Before, the empirical kernel may be as far off as it likes; after, never."""
    rows = record.rows
    empirical = (rows["model"] == "ntk_empirical") & (rows["quantity"] == "output")
    for when, verdict in ((rows["time"] < 1, REPRODUCED), (rows["time"] > 3, FAILED)):
        value = rows["value"].where(~(when & empirical), 10.0)
        assert check(record._replace(rows=rows.assign(value=value)))["4a"].verdict == verdict


def test_4a_has_no_verdict_without_both_kernels_or_before_time_1(record):
    rows = record.rows
    trained = rows["model"].astype(str).replace("ntk_empirical", "linearized")
    parts = (
        rows[rows["model"] != "ntk_analytic"],
        rows.assign(model=trained),
        rows[rows["time"] < 1],
    )
    for part in parts:
        assert check(record._replace(rows=part))["4a"].verdict == UNCHECKABLE


def test_4d_leaves_out_weights_that_move_in_neither_model(record):
    """Those of units that are dead on every train point."""
    rows = record.rows
    dead = (rows["quantity"] == "weight") & (rows["index"] % 2 == 1)
    half_dead = record._replace(rows=rows.assign(value=rows["value"].where(~dead, 0)))
    assert check(bent(half_dead, weight=scaled(1.09)))["4d"].value == pytest.approx(0.09)


def test_a_trained_linearization_goes_before_the_kernels(record):
    """4b-4d compare with `linearized` where it was trained."""
    exact = record.rows[record.rows["model"] == "network"].assign(model="linearized")
    both = record._replace(rows=pd.concat([record.rows, exact]))
    values = {name: claim.value for name, claim in check(both).items()}
    assert values["4b"] == values["4c accuracy"] == values["4c loss"] == values["4d"] == 0
    assert 0 < values["4a"] < 1


def test_the_interval_is_that_of_the_mean(monkeypatch):
    """95 % of a mean of 400 is 1.96 standard errors to either side."""
    monkeypatch.setattr(claims, "RESAMPLES", 2000)
    items = np.random.default_rng(0).standard_normal(400)
    low, high = claims.bootstrap(lambda chosen: items[chosen].mean(-1), 400)
    half = 1.96 * items.std() / 20
    assert low == pytest.approx(items.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(items.mean() + half, abs=0.1 * half)


def test_all_resamples_at_once_are_those_one_by_one():
    pair = np.random.default_rng(1).random((2, 5, 40))
    value, interval = claims.of_means(lambda a, b: (a / b).max(0), *pair)

    def one(items):
        return (pair[0][:, items].mean(1) / pair[1][:, items].mean(1)).max()

    assert value == pytest.approx(one(np.arange(40)), 1e-12)
    by_one = claims.bootstrap(lambda rows: np.array([one(items) for items in rows]), 40)
    assert interval == pytest.approx(by_one, 1e-12)


def test_the_rank_correlation_is_scipy_s(record):
    """7a with its interval, of resampled and so of tied losses; the network has noise."""
    rng, rows = np.random.default_rng(2), record.rows
    loss = (rows["quantity"] == "loss") & (rows["split"] == "train")
    noise = np.where(loss & (rows["model"] == "network"), rng.uniform(0.5, 2, len(rows)), 1)
    noisy = record._replace(rows=rows.assign(value=rows["value"] * noise))
    shape = claims.loss_curves_agree(noisy)[0]
    a, b = (
        claims.series(noisy, model, "loss", "train")["value"].to_numpy()[1:]
        for model in ("network", claims.linear_model(noisy))
    )
    assert shape.value == pytest.approx(stats.spearmanr(a, b).statistic, 1e-12)
    drawn = [stats.spearmanr(a[i], b[i]).statistic for i in claims.resampled(len(a))]
    assert shape.interval == pytest.approx(claims.percentiles(drawn), 1e-12)
    assert shape.value < 1


def sweep(quantities, in_n=-0.5, in_m=-0.5, noise=0.02, steps=(0,)):
    """Records over width and seed whose `quantities` end as n^in_n m^in_m at index m."""
    rng, found = np.random.default_rng(0), []
    columns = ["step", "model", "quantity", "split", "index", "value"]
    for width, seed in product((16, 32, 64, 128), (0, 1, 2)):
        rows = []
        for quantity, m, step in product(quantities, (1, 2, 4), steps):
            power = in_n[m] if isinstance(in_n, dict) else in_n
            value = width**power * m**in_m * rng.lognormal(0, noise)
            rows.append((step, "network", quantity, "", m, value if step == steps[-1] else width))
        settings = {"model": {"width": width, "depth": 1}, "seed": seed}
        found.append(Record(pd.DataFrame(rows, columns=columns), settings, {}))
    return found


def converging(**exponents):
    runs = sweep(("nngp_error", "ntk_error"), **exponents)
    return {claim.id: claim for claim in fig1.claims({"kernel_convergence": runs})}


def moving(**exponents):
    quantities = ("weight_change", "ntk_change", "nngp_change")
    runs = sweep(quantities, in_m=0, steps=(0, 8), **exponents)
    return {claim.id: claim for claim in fig2.claims({"weight_change": runs})}


def plateaus(in_n=-1.0, in_data=1.0, noise=0.02):
    """Claims of Figure 8 from records whose test RMSE ends at n^in_n |D|^in_data."""
    rng, runs = np.random.default_rng(0), []
    for width, train, seed in product((16, 32, 64, 128), (8, 16, 32), (0, 1, 2)):
        value = width**in_n * train**in_data * rng.lognormal(0, noise)
        rows = [(t, t, "linearized", "rmse", "test", 0, v) for t, v in ((0, 0.0), (4, value))]
        columns = ["step", "time", "model", "quantity", "split", "index", "value"]
        settings = {"model": {"width": width, "depth": 1}, "data": {"train": train}, "seed": seed}
        runs.append(Record(pd.DataFrame(rows, columns=columns), settings, {}))
    small = [run for run in runs if run.config["data"]["train"] == 8]
    found = dict.fromkeys(fig8.EXPERIMENTS, small) | {"rmse_fc_data": runs}
    return {claim.id: claim for claim in fig8.claims(found)}


@pytest.mark.parametrize(
    ("ids", "measure", "exponents", "value", "verdict"),
    [
        (("8a L=1",), plateaus, {"in_n": -1.0}, -1, REPRODUCED),
        (("8a L=1",), plateaus, {"in_n": -0.65}, -0.65, FAILED),
        (("8a L=1",), plateaus, {"in_n": -1.35}, -1.35, FAILED),
        (("8a L=1",), plateaus, {"noise": 2.0}, None, UNCHECKABLE),
        (("8b n=16", "8b n=128"), plateaus, {"in_data": 1.0}, 1, REPRODUCED),
        (("8b n=16", "8b n=128"), plateaus, {"in_data": 0.55}, 0.55, FAILED),
        (("8b n=16", "8b n=128"), plateaus, {"in_data": 1.45}, 1.45, FAILED),
        (("8c L=1", "8d N=1"), plateaus, {"in_n": -0.2}, -0.2, REPRODUCED),
        (("8c L=1", "8d N=1"), plateaus, {"in_n": 0.0}, 0, FAILED),
        (("8c L=1", "8d N=1"), plateaus, {"in_n": -0.2, "noise": 2.0}, None, FAILED),
        (("1a L=1", "1b L=1"), converging, {"in_n": -0.5}, -0.5, REPRODUCED),
        (("1a L=1", "1b L=1"), converging, {"in_n": -0.65}, -0.65, FAILED),
        (("1a L=1", "1b L=1"), converging, {"in_n": -0.35}, -0.35, FAILED),
        (("1a L=1", "1b L=1"), converging, {"noise": 1.0}, None, UNCHECKABLE),
        (("1c",), converging, {"in_m": -0.5}, -0.5, REPRODUCED),
        (("1c",), converging, {"in_m": -0.25}, -0.25, FAILED),
        (("2a readout", "2a other"), moving, {"in_n": -0.5}, -0.5, REPRODUCED),
        (("2a readout", "2a other"), moving, {"in_n": -0.7}, -0.7, FAILED),
        (("2a readout", "2a other"), moving, {"noise": 1.0}, None, UNCHECKABLE),
        (("2a readout",), moving, {"in_n": {1: 0, 2: 0, 4: -0.5}}, -0.5, REPRODUCED),
        (("2a other",), moving, {"in_n": {1: 0, 2: 0, 4: -0.5}}, 0, FAILED),
        (("2b", "2c"), moving, {"in_n": -1.0}, -1, REPRODUCED),
        (("2b", "2c"), moving, {"in_n": -1.3}, -1.3, REPRODUCED),
        (("2b", "2c"), moving, {"in_n": -1.4}, -1.4, FAILED),
        (("2b", "2c"), moving, {"in_n": -0.6}, -0.6, FAILED),
        (("2b", "2c"), moving, {"in_n": 0.0}, 0, FAILED),
    ],
)
def test_a_claim_on_a_slope_turns_around(ids, measure, exponents, value, verdict):
    measured = measure(**exponents)
    for name in ids:
        assert measured[name].verdict == verdict
        if value is not None:
            assert measured[name].value == pytest.approx(value, abs=0.05)


def test_a_slope_of_one_width_or_two_points_has_no_verdict():
    one = [run for run in sweep(("nngp_error", "ntk_error")) if run.config["model"]["width"] == 16]
    two = [run for run in sweep(("nngp_error", "ntk_error")) if run.config["seed"] == 0][:2]
    for runs in (one, two):
        claim = fig1.claims({"kernel_convergence": runs})[0]
        assert claim.verdict == UNCHECKABLE


def stored(record, *words):
    """The rows of another run under the config of these words."""
    records.write(config.compose(words), record.rows, record.provenance)


def test_a_record_is_the_papers_if_all_its_numbers_are(record, tmp_path):
    """Whatever it is called."""
    here = f"results={tmp_path}"
    paper = ["experiment=fc_cifar", "scale=paper", here]
    by_hand = ["experiment=fc_cifar", "scale=laptop", "model.width=2048", "optimizer.steps=25600"]
    other = [*paper, "model.width=64"]
    for words, expected in ((paper, True), ([*by_hand, here], True), (other, False)):
        stored(record, *words)
        (found,), lack = figures.load(words)
        assert (found.paper, lack) == (expected, "")


def test_what_is_missing_of_a_sweep_is_counted(record, tmp_path):
    words = ["experiment=weight_change", "scale=smoke", f"results={tmp_path}"]
    stored(record, *words, "model.width=16", "seed=1")
    found, lack = figures.load(words)
    assert len(found) == 1
    assert lack == f"5 of 6 runs of weight_change: ntkrepro run -m {' '.join(words)}"


def test_a_figure_of_parts_shows_those_that_are_there(record, tmp_path):
    here = ["scale=smoke", f"results={tmp_path}"]
    for point in config.expand(["experiment=rmse_fc_depth", *here]):
        records.write(point, record.rows, record.provenance)
    with pytest.raises(UserError) as error:
        figures.draw(["8"], here)
    told = [line.split(" runs of ")[1].split(":")[0] for line in str(error.value).splitlines()]
    assert told == ["rmse_fc_data", "rmse_cnn", "rmse_wrn"]
    (figure,) = figures.gather(["8"], here)
    assert {claim.id for claim in figure.claims} == {"8a L=1", "8a L=2"}
    shown = [len(ax.lines) > 0 for ax in figure.module.draw(figure.records).axes]
    assert shown == [True, False, False, False]
    assert (tmp_path / "figures/smoke/fig8.png").exists()


@pytest.fixture
def exploration(record, tmp_path):
    """Results that hold nothing but a run of another seed."""
    stored(record, "scale=smoke", "seed=5", f"results={tmp_path}")
    return tmp_path


def test_an_exploration_has_a_file_of_its_own(exploration):
    figures.draw(["digits"], ["scale=smoke", f"results={exploration}", "seed=5"])
    run = config.run_id(config.compose(["scale=smoke", "seed=5"]))
    assert set(files(exploration / "figures/smoke")) == {
        f"digits-{run}.{form}" for form in ("png", "pdf")
    }


def test_an_exploration_never_stands_in_for_the_figure(exploration):
    with pytest.raises(UserError, match="ntkrepro run experiment=digits scale=smoke"):
        figures.draw(["digits"], ["scale=smoke", f"results={exploration}"])
    assert not (exploration / "figures").exists()


def test_all_that_is_missing_is_told_once(tmp_path):
    words = ["scale=smoke", f"results={tmp_path}"]
    with pytest.raises(UserError) as error:
        figures.draw([], words)
    needed = dict.fromkeys(e for name in FIGURES for e in module(name).EXPERIMENTS)
    lines = str(error.value).removeprefix("missing ").split("\n  and ")
    assert lines == [figures.load([f"experiment={e}", *words])[1] for e in needed]


def test_a_figure_over_no_time_is_refused(record, tmp_path):
    start = record._replace(rows=record.rows[record.rows["step"] == 0])
    asked = ["scale=smoke", "optimizer.steps=0", f"results={tmp_path}"]
    stored(start, *asked)
    with pytest.raises(UserError, match=r"optimizer\.steps=0"):
        figures.draw(["digits"], asked)
    assert not (tmp_path / "figures").exists()


def test_a_figure_of_outputs_is_refused_where_they_were_not_kept(tmp_path):
    words = ["scale=smoke", "log.examples=false", f"results={tmp_path}"]
    experiment.run(config.compose(words))
    with pytest.raises(UserError, match=r"log\.examples=false: run \w+ has no single outputs"):
        figures.draw(["digits"], words)


def test_figures_that_cannot_be_written_name_the_path(exploration):
    (exploration / "figures").touch()
    with pytest.raises(RunFailed, match=f"can't write {exploration}/figures/smoke/digits"):
        figures.draw(["digits"], ["scale=smoke", f"results={exploration}", "seed=5"])


def test_claims_are_printed_in_full(capsys):
    """On a line however narrow the output is."""
    what = "Network and linearization agree on all that was ever measured: largest gap of any of it"
    claim = claims.Claim("4x", what, "Figure 4", 0.123456, (0.1, 0.2), "< 1", UNCHECKABLE)
    figures.show([claim])
    printed = capsys.readouterr().out
    for words in ("4x", "0.1235", "0.1 to 0.2", "< 1", UNCHECKABLE, f"{what} (Figure 4)"):
        assert words in printed
