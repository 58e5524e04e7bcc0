"""The report from real smoke records: what it shows, what it says is missing, and in a browser."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from ntkrepro import choices, claims, config, figures, records, report
from ntkrepro.claims import FAILED, Claim
from ntkrepro.errors import UserError
from ntkrepro.figures import fig1, fig3, module

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HEADLESS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MEASURE = """
const body = getComputedStyle(document.body)
return [
  [document.documentElement.scrollWidth, innerWidth],
  [...document.images].map(image => [image.naturalWidth, image.width]),
  [body.color, body.backgroundColor].map(colour => colour.match(/\\d+/g).slice(0, 3)),
  performance.getEntriesByType("resource").map(entry => entry.name),
]
"""
VOID = {"meta", "link", "img", "br"}


class Element(NamedTuple):
    tag: str
    attributes: dict[str, str | None]


class Page(HTMLParser):
    """Elements, headings, and the text and the pictures of every section by its heading's id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.headings: list[int] = []
        self.text: dict[str, str] = {}
        self.images: dict[str, Element] = {}
        self.open: list[str] = []
        self.section = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag == "section":
            self.section = element.attributes["aria-labelledby"]
        if tag == "img":
            self.images[self.section] = element
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        words = " ".join(data.split())
        self.text[self.section] = f"{self.text.get(self.section, '')} {words}".strip()


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "RESAMPLES", 20)


@pytest.fixture
def embedded(smoke_records, tmp_path, monkeypatch):
    """Results that hold nothing but the runs of Figures 1 and S3, of the four that are reported."""
    monkeypatch.setattr(report, "NAMES", ["1", "3", "S3", "S4"])
    (tmp_path / "runs").mkdir()
    for path in smoke_records("kernel_convergence"):
        shutil.copy(path, tmp_path / "runs")
    return ["scale=smoke", f"results={tmp_path}"]


@pytest.fixture
def complete(smoke_records):
    """Results with the runs of every figure, and their words."""
    needed = {e for name in report.NAMES for e in module(name).EXPERIMENTS}
    results = {smoke_records(experiment)[0].parents[1] for experiment in sorted(needed)}
    return ["scale=smoke", f"results={results.pop()}"]


def folder(words) -> Path:
    return Path(words[-1].partition("=")[2])


def written(words) -> Page:
    report.report(words)
    page = Page((folder(words) / "report/smoke/index.html").read_text())
    assert page.open == []
    return page


def shows(text, claim):
    parts = (claim.id, claim.statement, claim.source, f"{claim.value:.4g}", figures.span(claim))
    return all(" ".join(part.split()) in text for part in (*parts, claim.threshold, claim.verdict))


@pytest.mark.slow
def test_every_figure_has_its_section_with_all_that_belongs_to_it(complete):
    page = written(complete)
    for figure in figures.gather(report.NAMES, complete):
        section = f"figure-{figure.name}"
        text = page.text[section]
        assert figure.claims or figure.name == "S4"
        assert all(shows(text, claim) for claim in figure.claims)
        assert figure.module.PAPER in text
        assert all(run in text for run in figure.runs())
        about = next(iter(figure.runs().values())).provenance
        assert all(word in text for word in (about["commit"], f"jax {about['versions']['jax']}"))
        image = page.images[section].attributes
        assert image["alt"] == figure.module.ALT
        assert image["src"].startswith("data:image/png;base64,iVBOR")


@pytest.mark.slow
def test_the_summary_links_to_every_claim_and_counts_it_once(complete):
    page = written(complete)
    gathered = figures.gather(report.NAMES, complete)
    different = {claim for figure in gathered for claim in figure.claims}
    assert len(different) < sum(len(figure.claims) for figure in gathered)  # S3 repeats 1
    for verdict in report.VERDICTS:
        count = sum(claim.verdict == verdict for claim in different)
        assert f"{count} {verdict}" in page.text["summary"]
    ids = {element.attributes.get("id") for element in page.elements}
    links = [e.attributes["href"] for e in page.elements if e.tag == "a"]
    assert {link for link in links if link.startswith("#")} <= {f"#{name}" for name in ids}
    assert all(f"#figure-{name}" in links for name in report.NAMES)


def test_what_is_missing_is_told_with_the_command_that_makes_it(embedded, capsys):
    page, told = written(embedded), capsys.readouterr().err
    for name in report.NAMES:
        here = page.text[f"figure-{name}"]
        for experiment in module(name).EXPERIMENTS:
            lack = figures.load([f"experiment={experiment}", *embedded])[1]
            assert bool(lack) == ("records are missing" in here) == (name in ("3", "S4"))
            assert lack in here
            assert lack in told
    assert set(page.images) == {"figure-1", "figure-S3"}
    assert told.count("missing 2 of 2") == 1  # what two figures lack is told once


@pytest.mark.slow
def test_without_any_record_there_still_is_a_report(ntkrepro, tmp_path):
    done = ntkrepro("report", "scale=smoke")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "missing 8 of 8 runs of kernel_convergence" in done.stderr
    page = Page((tmp_path / "results/report/smoke/index.html").read_text())
    assert "0 reproduced" in page.text["summary"]


@pytest.mark.parametrize("word", ["model.width=64", "4", "scale=huge"])
def test_only_scale_and_results_are_taken(word):
    with pytest.raises(UserError, match=word):
        report.report([word])


def test_the_same_records_give_the_same_bytes(embedded):
    def content():
        report.report(embedded)
        files = (folder(embedded) / name for name in ("report/smoke/index.html", "claims.md"))
        return [path.read_bytes() for path in files]

    assert content() == content()


def test_a_picture_is_drawn_anew_only_if_it_shows_other_runs(embedded, monkeypatch):
    (figure,) = figures.gather(["S3"], embedded)
    some = {"kernel_convergence": list(figure.runs().values())[:4]}
    place = folder(embedded) / "figS3"
    first = figures.picture(figures.Gathered("S3", figure.module, some, []), place).read_bytes()
    second = figures.picture(figure, place).read_bytes()
    assert first != second
    monkeypatch.setattr(figures, "save", lambda *_: pytest.fail("drawn again"))
    assert figures.picture(figure, place).read_bytes() == second


def test_nothing_is_loaded_from_elsewhere_and_headings_are_in_order(embedded):
    page = written(embedded)
    for element in page.elements:
        assert element.tag not in ("script", "iframe", "object", "embed")
        assert (element.attributes.get("src") or "data:").startswith("data:")
        if element.tag == "link":
            assert element.attributes["href"].startswith("data:")
    text = (folder(embedded) / "report/smoke/index.html").read_text()
    assert "url(" not in text
    assert "@import" not in text
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)


def test_a_claim_that_fails_stands_with_its_reason(embedded, monkeypatch):
    failed = Claim("1x", "a | b", "§0", 0.5, (0.4, 0.6), "≥ 1", FAILED)
    monkeypatch.setattr(fig1, "claims", lambda found: [failed, failed._replace(id="1y")])
    monkeypatch.setattr(fig1, "WHY", {("smoke", "1x"): "Too <narrow>.", ("paper", "1y"): "no"})
    here = written(embedded).text["figure-1"]
    assert "Why not: Too <narrow>." in here
    assert here.count("The reason is not known.") == 1
    table = (folder(embedded) / "claims.md").read_text()
    line = r"| 1x | 1 | a \| b (§0) | 0.5 | 0.4 to 0.6 | ≥ 1 | not reproduced. Too <narrow>. |"
    assert line in table.splitlines()


def test_claims_of_every_scale_with_records_have_a_table(embedded, capsys, monkeypatch):
    def tables():
        report.report(embedded)
        lines = (folder(embedded) / "claims.md").read_text().splitlines()
        return lines, [line.split(":")[0] for line in lines if line.startswith("## ")]

    gathered = figures.gather(["1"], embedded)
    lines, headings = tables()
    printed = capsys.readouterr().out
    assert headings == ["## scale=smoke"]
    for claim in gathered[0].claims:
        assert sum(line.startswith(f"| {claim.id} | 1 |") for line in lines) == 1
        assert f"\n{claim.id} " in printed
    monkeypatch.setattr(figures, "gather", lambda names, words: gathered)
    assert tables()[1] == ["## scale=paper", "## scale=laptop", "## scale=smoke"]


@pytest.mark.slow
def test_a_poster_reading_stands_at_the_papers_scale_alone(smoke_records, tmp_path):
    """Of records that pass for the paper's."""
    found = {"ensemble": [records.read(path) for path in smoke_records("ensemble")]}
    figure = figures.Gathered("3", fig3, found, [])
    for scale in ("paper", "laptop"):
        page = Page(report.html([figure], tmp_path, scale, [f"scale={scale}"]))
        assert (fig3.POSTER in page.text["figure-3"]) == (scale == "paper")


@pytest.mark.parametrize("name", report.NAMES)
def test_every_figure_says_what_the_paper_says_and_what_there_is_to_be_seen(name):
    text = module(name)
    assert len(text.PAPER) > 40
    assert len(text.ALT) > 40
    assert text.__doc__.startswith(f"Figure {name}")
    scales = {scale for scale, _ in getattr(text, "WHY", {})}
    assert scales <= {scale.name for scale in config.Scale}


@pytest.mark.parametrize("name", config.experiments())
def test_marks_stand_beside_the_values_that_the_papers_scale_uses(name):
    points = config.expand([f"experiment={name}", "scale=paper"])
    configs = [config.as_dict(point) for point in points]
    found = choices.choices(name)
    assert found or name == "digits"
    for choice in found:
        if "${" not in choice.value:
            values = set(choices.used(configs, choice.key).split(", "))
            assert set(choice.value.split(", ")) <= values, choice


@pytest.mark.parametrize(
    ("note", "is_open"),
    [
        ("S", False),
        ("S: |D|", False),
        ("S: an A in its text", False),
        ("A", True),
        ("S: k = 10; I: 0 and 1", True),
        ("S, P", True),
    ],
)
def test_a_mark_tells_what_the_paper_leaves_open(note, is_open):
    assert choices.Choice("key", "1", note).open() is is_open


def test_marks_hold_for_every_key_of_their_line():
    text = "optimizer: { lr: 0.4, steps: [16, 256] } # A\nmodel:\n  depth: 4 # S\n  width: 8\n"
    found = [(c.key, c.value, c.note) for c in choices.marked(text)]
    pairs = [("optimizer.lr", "0.4", "A"), ("optimizer.steps", "16, 256", "A")]
    assert found == [*pairs, ("model.depth", "4", "S")]


@pytest.fixture
def browser(tmp_path) -> Iterator:
    """Debian's Chromium without a window; skips where it isn't installed."""
    if not BROWSER or not DRIVER:
        pytest.skip("no Chromium with its driver; scripts/chromium.sh installs both")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (*HEADLESS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.slow
def test_a_browser_shows_all_of_it_without_complaint(complete, browser):
    written(complete)
    page = (folder(complete) / "report/smoke/index.html").as_uri()
    for width, scheme in product((400, 1200), ("light", "dark")):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(page)
        widths, shown, colours, loaded = browser.execute_script(MEASURE)
        assert widths[0] <= widths[1] == width
        assert len(shown) == len(report.NAMES)
        assert all(natural > 0 and 0 < drawn <= width for natural, drawn in shown)
        text, background = (sum(map(int, colour)) for colour in colours)
        assert (text < background) == (scheme == "light")
        assert loaded == []
        assert browser.get_log("browser") == []


@pytest.mark.slow
def test_the_pages_written_from_configs_and_records_are_up_to_date():
    script = Path(__file__).parents[1] / "scripts" / "write_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_reproduce_computes_what_is_missing_and_reports(complete, ntkrepro, tmp_path):
    """A run whose data are missing keeps nothing else from being computed and shown."""
    shutil.copytree(folder(complete) / "runs", tmp_path / "results/runs")
    words = ["scale=smoke", f"results={tmp_path / 'results'}"]
    embedded, images = (
        records.path_of(config.expand([f"experiment={name}", *words])[0])
        for name in ("kernel_convergence", "fc_mnist")
    )
    count = len(report.points(words))
    embedded.unlink()
    images.unlink()
    done = ntkrepro("reproduce", "scale=smoke", TFDS_DATA_DIR=str(tmp_path))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"{count - 2} of {count} points are there already" in done.stdout
    assert f"wrote results/runs/{embedded.name}" in done.stdout
    assert f"error: 1 of {count} points failed" in done.stderr
    assert "ntkrepro data prepare mnist" in done.stderr
    assert records.read(embedded).provenance["command"] == "ntkrepro reproduce scale=smoke"
    page = Page((tmp_path / "results/report/smoke/index.html").read_text())
    assert set(page.images) == {
        f"figure-{n}" for n in report.NAMES if "fc_mnist" not in module(n).EXPERIMENTS
    }
    assert done.stdout.splitlines()[-1].endswith("not checkable at this scale")
