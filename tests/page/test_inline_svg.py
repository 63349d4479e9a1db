"""A figure on the page looks as it was drawn, and can neither run anything nor meet another figure's ids."""

import re

import pytest
from matplotlib.figure import Figure

from trainbench.errors import InputError
from trainbench.figures.frame import framed
from trainbench.figures.saving import save
from trainbench.page.inline_svg import inline, lift_header, read

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]> --> <!-- &amp; ' \u202e",
    "x" * 300,
)


@pytest.fixture
def figure(tmp_path):
    drawn = Figure(figsize=(4, 3))
    axes = drawn.add_subplot()
    axes.plot([1, 2, 3], [1, 4, 2], marker="o", label=HOSTILE[0])
    axes.set(title=HOSTILE[1], xlabel=HOSTILE[2], ylabel=HOSTILE[3])
    axes.legend()
    save(drawn, tmp_path / "figure.svg", tmp_path / "figure.png")
    return tmp_path / "figure.svg"


def written(path, text):
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{text}</svg>', encoding="utf-8")
    return str(inline(read(path), "f", "title", "description"))


def test_every_id_and_every_reference_to_one_is_the_figure_s_own(figure):
    text = str(inline(read(figure), "speed", "t", "d"))
    ids = set(re.findall(r' id="([^"]*)"', text))
    referred = set(re.findall(r'href="#([^"]*)"', text)) | set(re.findall(r"url\(#([^)]*)\)", text))
    assert ids
    assert all(identifier.startswith("speed-") for identifier in ids | referred)
    assert referred <= ids


def test_two_figures_share_no_id(figure):
    ids = [set(re.findall(r' id="([^"]*)"', str(inline(read(figure), name, "t", "d")))) for name in ("a", "b")]
    assert not ids[0] & ids[1]


def test_nothing_that_a_policy_forbids_is_left(figure):
    text = str(inline(read(figure), "f", "t", "d"))
    assert not re.search(r"<style|style=|<script|<!--|<metadata|onerror|http", text)


def test_paint_is_kept_as_attributes(figure):
    assert 'stroke="#1f77b4"' in str(inline(read(figure), "f", "t", "d"))


@pytest.fixture
def headed(tmp_path):
    note = "A note that is much too long for one line of a figure so narrow " * 2
    drawn = framed(4.0, 2.0, ("A title", note), ())
    drawn.add_subplot().set(title="title and note")
    save(drawn, tmp_path / "headed.svg", tmp_path / "headed.png")
    return read(tmp_path / "headed.svg")


def test_title_and_note_are_lifted_out_as_text(headed):
    note = "A note that is much too long for one line of a figure so narrow"
    assert lift_header(headed) == ("A title", f"{note} {note}")


def test_a_figure_whose_header_is_lifted_begins_below_it(headed):
    whole = float(headed.get("height").removesuffix("pt"))
    lift_header(headed)
    (top, height) = (float(number) for number in headed.get("viewBox").split()[1::2])
    assert top > 40
    assert top + height == pytest.approx(whole, abs=0.01)
    assert headed.get("height") == f"{height:g}pt"


def test_the_letters_that_a_header_shares_stay(headed):
    lift_header(headed)
    text = str(inline(headed, "f", "t", "d"))
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(re.findall(r' id="([^"]*)"', text))


def test_a_figure_without_a_header_is_left_as_it_is(figure):
    root = read(figure)
    before = root.get("viewBox")
    assert (lift_header(root), root.get("viewBox")) == (("", ""), before)


def test_it_is_smaller_than_the_file(figure):
    assert len(inline(read(figure), "f", "t", "d")) < figure.stat().st_size


def test_title_and_description_are_text(figure):
    text = str(inline(read(figure), "f", HOSTILE[0], HOSTILE[1]))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</title>" in text
    assert "<script" not in text
    assert "<img" not in text


@pytest.mark.parametrize(
    "element",
    [
        "<script>alert(1)</script>",
        '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml">x</body></foreignObject>',
        '<a href="http://example.org"><path d="M 0 0"/></a>',
        '<image href="http://example.org/x.png"/>',
        "<style>*{display:none}</style>",
        '<animate attributeName="href" to="javascript:alert(1)"/>',
        "<text>x</text>",
        "<set attributeName='href' to='http://example.org'/>",
        "<?xml-stylesheet href='http://example.org/x.css'?>",
        '<iframe xmlns="http://www.w3.org/1999/xhtml" src="http://example.org"/>',
    ],
)
def test_elements_that_figures_do_not_have_are_left_out(tmp_path, element):
    assert written(tmp_path / "f.svg", element).endswith("</desc></svg>")


@pytest.mark.parametrize(
    "attribute",
    [
        'onclick="alert(1)"',
        'fill="url(http://example.org/x)"',
        'style="fill: url(http://example.org/x)"',
        'style="background: red; behavior: url(x)"',
        'clip-path="url(http://example.org/#x)"',
        'transform="javascript:alert(1)"',
        'style="fill: javascript:alert(1); clip-path: url(javascript:alert(1))"',
        'stroke="red&quot; onload=&quot;alert(1)"',
        'width="1&#10;onload"',
        'id="a b"',
        'href="#x"',
    ],
)
def test_attributes_with_more_than_a_figure_needs_are_left_out(tmp_path, attribute):
    assert '<path d="M 0 0"/>' in written(tmp_path / "f.svg", f'<path d="M 0 0" {attribute}/>')


@pytest.mark.parametrize("address", ["http://example.org/#x", "//example.org/x.svg#x", "#x http://example.org"])
def test_a_reference_to_another_document_is_left_out(tmp_path, address):
    assert written(tmp_path / "f.svg", f'<use href="{address}"/>').endswith("<use/></svg>")


def test_a_reference_to_another_figure_s_id_is_to_the_figure_s_own(tmp_path):
    use = '<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="#main"/>'
    assert written(tmp_path / "f.svg", use).endswith('<use href="#f-main"/></svg>')


@pytest.mark.parametrize("content", ["", "<svg", "<html></html>", "\x89PNG"])
def test_what_is_not_svg_is_refused_by_name(tmp_path, content):
    path = tmp_path / "broken.svg"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.svg"):
        read(path)
