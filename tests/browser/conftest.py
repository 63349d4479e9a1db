"""A headless Chromium, and pages to open in it: of a real small study, four hosts, three frameworks, hostile names."""

import shutil
from pathlib import Path

import pytest

from page_builder import make_page
from page_studies import HOSTILE_NAMES, QUESTION, four_hosts, hostile_records, three_frameworks
from trainbench.conclusions.all_tables import Question
from trainbench.conclusions.analysis import AbsentRun

HEIGHT = 1000


class Browser:
    """Chromium, with all that a page logs and asks the network for."""

    def __init__(self, chromium):
        self.chromium = chromium
        self.context = None

    def open(self, page, *, width=1400, dark=False, media="screen", script=True, policy=True):
        """Open a page from disk in a window of its own, which it returns; its `said` and `asked` fill up."""
        self.close()
        self.context = self.chromium.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            bypass_csp=not policy,
        )
        window = self.context.new_page()
        window.said, window.asked = [], []
        window.on("console", lambda message: window.said.append(message.text))
        window.on("pageerror", lambda error: window.said.append(str(error)))
        window.on("dialog", lambda dialog: (window.said.append(dialog.message), dialog.dismiss()))
        window.on("request", lambda request: window.asked.append(request.url))
        window.emulate_media(media=media)
        window.goto(Path(page).as_uri())
        return window

    def close(self):
        if self.context is not None:
            self.context.close()
            self.context = None


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        browser = Browser(chromium)
        yield browser
        browser.close()
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
    absent = [AbsentRun("evil-model", 512, "evil-device", 3, "cpu", "failed")]
    folder = tmp_path_factory.mktemp("hostile")
    return make_page(folder, hostile_records(), renamed=HOSTILE_NAMES, absent=absent)


@pytest.fixture(scope="session")
def small_study_page(finished):
    return finished.folder / "results/report.html"


@pytest.fixture(params=["small_study_page", "four_hosts_page", "three_frameworks_page"])
def page(request):
    return request.getfixturevalue(request.param)
