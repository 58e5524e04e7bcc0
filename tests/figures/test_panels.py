"""How every figure looks: nothing lies on something else, and titles say what the records say."""

import subprocess
import sys
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ntkrepro.config.compose import compose, expand
from ntkrepro.figures import gather, panels, save
from ntkrepro.figures.catalog import FIGURES, figure
from ntkrepro.records import store

QUICK = ("digits", "1", "S3")  # on embedded data
every_figure = pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in FIGURES if n not in QUICK)]
)


@pytest.fixture
def drawn(name, smoke_records):
    """The picture of a figure at smoke scale, laid out, and its renderer."""
    (path, *_), *_ = [smoke_records(experiment) for experiment in figure(name).experiments]
    (shown,) = gather.gather([name], ["scale=smoke", f"results={path.parents[1]}"])
    picture = save.drawing(shown)
    picture.canvas.draw()
    yield picture, picture.canvas.get_renderer()
    plt.close(picture)


@every_figure
def test_no_text_or_legend_lies_on_another_pane(drawn, name):
    picture, renderer = drawn
    panes = [ax.get_tightbbox(renderer) for ax in picture.axes]
    around = [picture._suptitle, picture._supxlabel]
    boxes = [*panes, *(text.get_window_extent(renderer) for text in around)]
    for one, other in combinations(boxes, 2):
        assert not one.padded(1).overlaps(other), (one, other)
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= picture.bbox.x1
        assert box.y1 <= picture.bbox.y1
    for ax in picture.axes:
        for legend in filter(None, [ax.get_legend()]):
            for other in picture.axes:
                assert not legend.get_window_extent(renderer).overlaps(other.bbox)


@every_figure
def test_every_logarithmic_axis_has_two_labels(drawn, name):
    picture, _ = drawn
    for ax in picture.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if axis.get_scale() == "log":
                low, high = axis.get_view_interval()
                ticks = axis.get_majorticklocs()
                texts = axis.get_major_formatter().format_ticks(ticks)
                seen = [x for x, t in zip(ticks, texts, strict=True) if low <= x <= high and t]
                assert len(seen) >= 2, ax.get_title()


@every_figure
def test_the_scale_and_what_bands_and_bars_are_stand_below(drawn, name):
    picture, _ = drawn
    caption = " ".join(picture.get_supxlabel().split())
    assert caption.startswith("scale=smoke")
    filled = any(ax.collections or ax.containers for ax in picture.axes)
    assert filled == any(word in caption for word in ("bands: ", "bars: ", "Bands and dotted"))


@every_figure
def test_no_title_names_a_data_set_by_itself(name, smoke_records):
    own = figure(name)
    records = {e: [store.read(path) for path in smoke_records(e)] for e in own.experiments}
    names = {r.config["data"]["name"] for found in records.values() for r in found}
    for found in records.values():
        for i, record in enumerate(found):
            config = gather.whole(record.config)
            config["data"] = config["data"] | {"name": "noise"}
            found[i] = record._replace(config=config)
    picture = own.draw(records)
    texts = [picture.get_suptitle(), *(ax.get_title() for ax in picture.axes)]
    shown = " ".join(texts).replace("\n", " ")
    assert "noise" in shown or name in ("S1", "grid")  # which name none
    assert not [known for known in names if known in shown]
    plt.close("all")


def test_titles_say_what_the_config_says(digits, tmp_path):
    """Whatever figure it is: here the config of another network, data and loss."""
    record = store.read(digits)
    other = compose(["experiment=digits", "scale=smoke", "data.classes=['1','7']", "seed=1"])
    config = gather.whole(record.config)
    assert "3 and 8 of digits, MSE, fully connected, relu, L=3" in panels.dynamics(
        [record._replace(config=config)], "Figure 4: "
    ).get_suptitle().replace("\n", " ")
    config["data"]["classes"], config["loss"]["name"] = other.experiment.data.classes, "xent"
    config["model"] |= {"architecture": "wrn", "depth": 2}
    title = panels.dynamics([record._replace(config=config)]).get_suptitle().replace("\n", " ")
    assert "1 and 7 of digits, cross entropy, wide residual, relu, N=2" in title
    plt.close("all")


@pytest.mark.parametrize("word", ["a$b_1^2", "$x$ $", "[/red]", "{0}", "100 %_$", "x" * 500])
def test_words_of_a_user_are_shown_as_they_are(digits, tmp_path, capsys, word):
    """Neither mathematics nor markup; a long one is broken."""
    record = store.read(digits)
    config = gather.whole(record.config)
    config["data"] = config["data"] | {"classes": [word, "other"]}
    config["model"] = config["model"] | {"factory": f"nets:{word}"}
    picture = panels.dynamics([record._replace(config=config)])
    panels.caption(picture, f"scale=smoke {word}")
    panels.save(picture, tmp_path / "own", {"Runs": record.id})
    written = "".join(picture.get_suptitle().split("\n")).replace(r"\$", "$")
    assert word.replace(" ", "") in written.replace(" ", "")
    assert panels.about(tmp_path / "own.png") == {"Runs": record.id}


def test_ten_outputs_are_told_apart_by_colour_and_by_marker(tmp_path):
    from ntkrepro.programs.run import compute

    words = ["scale=smoke", f"results={tmp_path}", "data.classes=[]", "data.targets=onehot"]
    compute(compose(words))
    ((record,), _) = gather.load(["experiment=digits", *words])
    picture = panels.dynamics([record])
    for ax in picture.axes[:2]:
        solid = [line for line in ax.lines if line.get_linestyle() == "-"]
        marked = {line.get_marker() for line in ax.lines} - {"None"}
        colours = {to_rgb(line.get_color()) for line in solid}
        assert len(solid) == len(colours) == len(marked) == 10
        luminance = np.sort([np.dot((0.2126, 0.7152, 0.0722), colour) for colour in colours])
        assert np.diff(luminance).max() < 0.3
    legend = [text.get_text() for text in picture.axes[2].get_legend().get_texts()]
    assert legend[2:] == [f"output {digit}" for digit in range(10)]
    plt.close(picture)


def test_reference_lines_differ_in_their_dash():
    assert len({dash for _, dash in panels.REFERENCES.values()}) == len(panels.REFERENCES)


def test_two_processes_draw_the_same_bytes(digits, tmp_path):
    """Whatever the order of sets."""
    files = []
    for seed in ("1", "2"):
        results = tmp_path / seed
        results.mkdir()
        (results / "runs").symlink_to(digits.parent)
        words = [sys.executable, "-m", "ntkrepro", "figures", "digits", "scale=smoke"]
        subprocess.run(
            [*words, f"results={results}"], env={"PYTHONHASHSEED": seed}, check=True, timeout=120
        )
        files.append([path.read_bytes() for path in sorted(results.glob("figures/smoke/*"))])
    assert len(files[0]) == 2
    assert files[0] == files[1]


def test_a_picture_of_rows_that_have_changed_since_is_drawn_again(digits, tmp_path):
    """A record that was computed again has the same id, and other last digits."""
    words = ["scale=smoke", f"results={tmp_path}"]
    record, (run,) = store.read(digits), expand(["experiment=digits", *words])
    pictures = []
    for factor in (1, 1, 1 + 1e-12):
        rows = record.rows.assign(value=factor * record.rows["value"])
        store.write(run, rows, record.provenance)
        (shown,) = gather.gather(["digits"], words)
        png = save.picture(shown, tmp_path / "digits")
        pictures.append((png.stat().st_mtime_ns, panels.about(png)["Rows"]))
    assert pictures[0] == pictures[1] != pictures[2]
    assert pictures[1][0] < pictures[2][0]


def test_a_caption_says_which_networks_leapt(tmp_path):
    """Where nothing lies on it; whatever part of the runs it is."""
    from ntkrepro.programs.run import compute

    words = ["scale=smoke", f"results={tmp_path}", "optimizer.solver=leaps"]
    compute(compose(words))
    (shown,) = gather.gather(["digits"], words)
    picture = save.drawing(shown, words)
    picture.canvas.draw()
    caption = picture.get_supxlabel().replace("\n", " ")
    assert caption.startswith("scale=smoke optimizer.solver=leaps. By leaps, tolerance 0.01. A col")
    test_no_text_or_legend_lies_on_another_pane((picture, picture.canvas.get_renderer()), "digits")
    plt.close(picture)
    (record,) = shown.runs().values()
    optimizer = record.config["optimizer"]
    configs = [{}, optimizer, optimizer | {"tolerance": 0.1}, optimizer | {"solver": "steps"}]
    several = [record._replace(config={"optimizer": own}) for own in configs]
    assert save.solvers(several) == [
        "1 of 4 runs by leaps, tolerance 0.01",
        "1 of 4 runs by leaps, tolerance 0.1",
    ]
    assert save.solvers(several[::3]) == []
