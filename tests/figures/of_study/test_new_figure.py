"""A new figure is one new file, as docs/how-to/new-figure.md says: nothing else has to know it."""

import importlib

import pytest

from documented_changes import blocks, carry_out, copied
from metrics_builder import make_record
from page_builder import make_page
from trainbench.conclusions.all_tables import Question
from trainbench.figures import of_study

(MODULE,) = blocks("new-figure.md", "python")

FIND = """
from trainbench.figures import of_study
print("runs_of_devices" in of_study.NAMES, of_study.shows("runs_of_devices"))
"""


@pytest.fixture
def new_figure(tmp_path, monkeypatch):
    """A package with one more file in its folder."""
    folder = tmp_path / "of_study"
    folder.mkdir()
    (folder / "runs_of_devices.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setattr(of_study, "__path__", [*of_study.__path__, str(folder)])
    importlib.invalidate_caches()
    return "runs_of_devices"


def test_the_page_shows_a_figure_that_it_knows_nothing_of_where_use_is_shown(tmp_path, new_figure):
    html = make_page(tmp_path, [make_record()], Question(), names=[new_figure]).read_text(encoding="utf-8")
    use = html.partition('<section id="use"')[2].partition("</section>")[0]
    assert '<figure id="figure-runs_of_devices">' in use
    assert "Runs of each device" in use
    assert "All bars should be of the same height." in use


def test_a_new_figure_is_found_by_its_place_and_says_itself_what_it_shows(tmp_path):
    package = copied(tmp_path)
    (package / "figures/of_study/runs_of_devices.py").write_text(MODULE, encoding="utf-8")
    assert carry_out(FIND, package) == "True Runs of each device.\n"
