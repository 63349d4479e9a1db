"""A headless Chromium, and pages to open in it: of a real small study, four hosts, three frameworks, hostile names."""

import shutil
from pathlib import Path

import pytest

from metrics_builder import absent_run
from page_builder import make_page
from page_studies import HOSTILE_NAMES, QUESTION, four_hosts, hostile_records, three_frameworks
from trainbench.conclusions.all_tables import Question

HEIGHT = 1000


# What tests alter of a page, as it was when the page was opened.
RESET = """() => {
  document.querySelectorAll("[aria-sort=ascending] button").forEach((button) => { button.click(); button.click(); });
  document.querySelectorAll("[aria-sort=descending] button").forEach((button) => button.click());
  document.querySelectorAll(".tools input").forEach((input) => {
    input.value = "";
    input.dispatchEvent(new Event("input"));
  });
  window.openAtFirst ??= [...document.querySelectorAll("details[open]")];
  document.querySelectorAll("details").forEach((details) => { details.open = window.openAtFirst.includes(details); });
  window.scrollTo(0, 0);
}"""


class Browser:
    """Chromium, with all that a page logs and asks the network for."""

    def __init__(self, chromium):
        self.chromium = chromium
        self.shared = {}
        self.fresh = None

    def open(self, page, *, script=True):
        """Open a page from disk in a window of its own, which it returns; its `said` and `asked` fill up."""
        self.close()
        self.fresh = self._open(page, script)
        return self.fresh

    def show(self, page, *, width=1400, dark=False, media="screen"):
        """A page in the window that all tests share, as if it had just been opened there, seen in this way."""
        if page not in self.shared:
            self.shared[page] = self._open(page, script=True)
        window = self.shared[page]
        window.evaluate(RESET)
        if window.viewport_size["width"] != width:
            window.set_viewport_size({"width": width, "height": HEIGHT})
        window.emulate_media(media=media, color_scheme="dark" if dark else "light")
        return window

    def _open(self, page, script):
        context = self.chromium.new_context(viewport={"width": 1400, "height": HEIGHT}, java_script_enabled=script)
        window = context.new_page()
        window.said, window.asked = [], []
        window.on("console", lambda message: window.said.append(message.text))
        window.on("pageerror", lambda error: window.said.append(str(error)))
        window.on("dialog", lambda dialog: (window.said.append(dialog.message), dialog.dismiss()))
        window.on("request", lambda request: window.asked.append(request.url))
        window.goto(Path(page).as_uri())
        return window

    def close(self):
        if self.fresh is not None:
            self.fresh.context.close()
            self.fresh = None


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield Browser(chromium)
        chromium.close()


@pytest.fixture(scope="session")
def four_hosts_page(tmp_path_factory):
    return make_page(tmp_path_factory.mktemp("four-hosts"), four_hosts(), QUESTION)


@pytest.fixture(scope="session")
def three_frameworks_page(tmp_path_factory):
    records, order = three_frameworks()
    return make_page(tmp_path_factory.mktemp("three-frameworks"), records, Question(order=order))


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory):
    absent = [absent_run("evil-model", 512, "evil-device", 3, "cpu", "failed")]
    folder = tmp_path_factory.mktemp("hostile")
    return make_page(folder, hostile_records(), renamed=HOSTILE_NAMES, absent=absent)


@pytest.fixture(scope="session")
def small_study_page(finished):
    return finished.folder / "results/report.html"


@pytest.fixture(params=["small_study_page", "four_hosts_page", "three_frameworks_page"])
def page(request):
    return request.getfixturevalue(request.param)
