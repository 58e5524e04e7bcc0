"""The report in Debian's Chromium without a window; skips where it isn't installed."""

import shutil
from itertools import product
from pathlib import Path

import pytest

from ntkrepro.report import page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
HEADLESS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
MEASURE = """
const body = getComputedStyle(document.body)
return [
  [document.documentElement.scrollWidth, innerWidth],
  [...document.images].map(image => [image.naturalWidth, image.width]),
  [body.color, body.backgroundColor].map(colour => colour.match(/\\d+/g).slice(0, 3)),
  performance.getEntriesByType("resource").map(entry => entry.name),
]
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
        assert all(natural > 0 and 0 < drawn <= width for natural, drawn in shown)
        text, background = (sum(map(int, colour)) for colour in colours)
        assert (text < background) == (scheme == "light")
        assert loaded == []
        assert browser.get_log("browser") == []
