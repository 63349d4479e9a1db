"""A figure's SVG says in words what it shows, and what is saved is the same every time."""

from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from trainbench.figures.drawing import Header, save, styled, texts

SVG = "{http://www.w3.org/2000/svg}"


@styled
def small_figure(title="Seconds to train", note="Lower is faster."):
    figure = Figure(figsize=(5, 3))
    Header.wrap(title, note, 5).write(figure)
    axes = figure.subplots()
    axes.set_title("conv", loc="left")
    axes.set_xlabel("Batch size")
    (line,) = axes.plot([1, 2], [3, 4])
    figure.legend([line], ["cpu"])
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
