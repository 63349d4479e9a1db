"""A figure's SVG says in words what it shows, and what is saved is the same every time."""

import re
from xml.etree import ElementTree

import pytest
from matplotlib.lines import Line2D

from drawn_studies import drawn_study, study
from metrics_builder import make_record
from trainbench.figures.frame import framed
from trainbench.figures.looks import styled
from trainbench.figures.of_study import accuracy_over_time, seconds_per_epoch
from trainbench.figures.saving import save, texts
from trainbench.results.tables import TableOrder

SVG = "{http://www.w3.org/2000/svg}"


@styled
def small_figure(title="Seconds to train", note="Lower is faster."):
    figure = framed(5.0, 2.0, (title, note), [(Line2D([], []), "cpu")])
    axes = figure.subplots()
    axes.set_title("conv", loc="left")
    axes.set_xlabel("Batch size")
    axes.plot([1, 2], [3, 4])
    return figure


@pytest.fixture
def svg(tmp_path):
    save(small_figure(), tmp_path / "a.svg", tmp_path / "a.png")
    return ElementTree.parse(tmp_path / "a.svg").getroot()  # noqa: S314


def test_an_svg_has_its_title_first(svg):
    assert (svg[0].tag, svg[0].text) == (f"{SVG}title", "Seconds to train")


def test_an_svg_describes_what_it_shows(svg):
    assert (svg[1].tag, svg[1].text) == (
        f"{SVG}desc",
        "Lower is faster. Panels: conv. Axes: Batch size. Shown: cpu.",
    )


def test_an_svg_is_an_image_to_those_who_cannot_see_it(svg):
    assert svg.get("role") == "img"


def test_names_that_look_like_elements_are_text(tmp_path):
    save(small_figure(title="<script>&"), tmp_path / "a.svg", tmp_path / "a.png")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()  # noqa: S314
    assert root[0].text == "<script>&"
    assert root[1].tag == f"{SVG}desc"


def test_a_title_that_is_broken_into_lines_is_one_sentence_in_words():
    assert texts(small_figure(title="word " * 40))[0] == ("word " * 40).strip()


def test_an_unfinished_formula_in_a_name_does_not_stop_the_figure(tmp_path):
    order = TableOrder()
    shown = drawn_study([make_record(host="$\\frac{$"), make_record(host="b")], order)
    save(seconds_per_epoch.draw(shown), tmp_path / "a.svg", tmp_path / "a.png")
    assert (tmp_path / "a.svg").exists()


def test_a_hostile_name_brings_no_element_into_the_svg(tmp_path):
    order = TableOrder()
    shown = drawn_study([make_record(host="--><script>alert(1)</script>"), make_record(host="b")], order)
    save(seconds_per_epoch.draw(shown), tmp_path / "a.svg", tmp_path / "a.png")
    elements = {element.tag for element in ElementTree.parse(tmp_path / "a.svg").iter()}  # noqa: S314
    assert not [tag for tag in elements if "script" in tag]


@pytest.mark.parametrize("figure", [seconds_per_epoch, accuracy_over_time], ids=lambda figure: figure.TITLE)
def test_the_same_tables_give_the_same_bytes(tmp_path, figure):
    for name in ("first", "second"):
        save(figure.draw(study()), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    for kind in ("svg", "png"):
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()


def test_an_svg_carries_no_date(tmp_path):
    save(seconds_per_epoch.draw(study()), tmp_path / "a.svg", tmp_path / "a.png")
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT", (tmp_path / "a.svg").read_text())


def test_a_png_has_150_dots_per_inch(tmp_path):
    figure = seconds_per_epoch.draw(study())
    save(figure, tmp_path / "a.svg", tmp_path / "a.png")
    header = (tmp_path / "a.png").read_bytes()[16:24]
    assert int.from_bytes(header[:4]) == int(figure.get_figwidth() * 150)


def test_saving_leaves_nothing_but_the_two_files(tmp_path):
    save(seconds_per_epoch.draw(study()), tmp_path / "a.svg", tmp_path / "a.png")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "a.svg"]
