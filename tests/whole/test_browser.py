"""The report in Debian's Chromium without a window; skips where it isn't installed."""

import re
import shutil
from itertools import product
from pathlib import Path

import pytest

from ntkrepro.figures import gather
from ntkrepro.records.tables import series
from ntkrepro.report import page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
HEADLESS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
MEASURE = """
const body = getComputedStyle(document.body)
const pictures = [...document.querySelectorAll(".picture svg")]
return [
  [document.documentElement.scrollWidth, innerWidth],
  pictures.map(svg => [svg.querySelectorAll("path").length, svg.clientWidth]),
  [body.color, body.backgroundColor].map(colour => colour.match(/\\d+/g).slice(0, 3)),
  performance.getEntriesByType("resource").map(entry => entry.name),
]
"""


NUMBERS = re.compile(r"[a-z, ]+: loss = (\S+), time η·step = (\S+)")
AT_THE_END = """
const svg = document.querySelector("[aria-labelledby=figure-4] svg"), told = []
for (const one of svg.querySelectorAll(arguments[0])) {
  const place = new DOMPoint(...points(one).at(-1)).matrixTransform(svg.getScreenCTM())
  const where = { clientX: place.x, clientY: place.y, bubbles: true }
  svg.dispatchEvent(new PointerEvent("pointermove", where))
  const tip = svg.parentElement.querySelector("output")
  told.push(tip.hidden ? "" : tip.textContent)
}
return told
"""


@pytest.fixture
def browser(tmp_path):
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


def test_a_browser_shows_all_of_it_without_complaint(browser, complete):
    page.report(complete)
    address = Path(complete[1].removeprefix("results="), "report/smoke/index.html").as_uri()
    for width, scheme in product((400, 1200), ("light", "dark")):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(address)
        widths, shown, colours, loaded = browser.execute_script(MEASURE)
        assert widths[0] <= widths[1] == width
        assert len(shown) == len(page.NAMES)
        assert all(paths > 0 and 0 < drawn <= width for paths, drawn in shown)
        text, background = (sum(map(int, colour)) for colour in colours)
        assert (text < background) == (scheme == "light")
        assert loaded == []
        assert browser.get_log("browser") == []


def test_values_are_read_off_curves_and_models_hidden(browser, complete):
    page.report(complete)
    browser.get(Path(complete[1].removeprefix("results="), "report/smoke/index.html").as_uri())
    (shown,) = gather.gather(["4"], complete)
    record = shown.records["fc_cifar"][0]
    for split in ("train", "test"):
        end = series(record, "network", "loss", split).iloc[-1]
        of = f".pane[data-up=loss] [data-label='{split}, network']"
        (told,) = browser.execute_script(AT_THE_END, of)
        value, time = NUMBERS.fullmatch(told).groups()
        assert (float(value), float(time)) == pytest.approx((end["value"], end["time"]), rel=0.01)
    boxes = browser.find_elements("css selector", "[aria-labelledby=figure-4] .models input")
    names = [box.find_element("xpath", "..").text for box in boxes]
    assert names == ["network", "linearized", "analytic kernel"]
    for box in boxes:
        box.click()
    assert set(browser.execute_script(AT_THE_END, ".series[data-model]")) == {""}
    assert browser.get_log("browser") == []
