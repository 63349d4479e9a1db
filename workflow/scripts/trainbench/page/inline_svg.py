"""Makes a figure's SVG a part of a page: no script, no style sheet, no address, ids that are the figure's own.

Only the elements and attributes named here come through, each value checked, so that nothing that a figure holds, its
labels included, can act on the page. Style declarations become attributes: the page forbids styles other than its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup

from trainbench.errors import InputError

# Those that matplotlib writes.
_ELEMENTS: Final = frozenset({"g", "defs", "clipPath", "path", "use", "rect"})
_REFERENCES: Final = ("href", "clip-path")
_GEOMETRY: Final = ("x", "y", "width", "height")
_PAINT: Final = (
    *("fill", "fill-opacity", "fill-rule", "clip-rule", "opacity"),
    *("stroke", "stroke-width", "stroke-opacity", "stroke-linejoin", "stroke-linecap", "stroke-miterlimit"),
    *("stroke-dasharray", "stroke-dashoffset"),
)
# The whole value of each attribute.
_VALUES: Final = {
    name: re.compile(pattern, re.ASCII)
    for names, pattern in (
        (("id",), r"[A-Za-z_][\w.:-]*"),
        (("href",), r"#[A-Za-z_][\w.:-]*"),
        (("clip-path",), r"url\(#[A-Za-z_][\w.:-]*\)"),
        (("transform",), r"(?:\s*(?:translate|scale|rotate|matrix|skewX|skewY)\([-+\d.,eE\s]+\))+\s*"),
        (("d",), r"[MmLlHhVvCcSsQqTtAaZz\d.,+\-eE\s]*"),
        (_GEOMETRY, r"[-+\d.eE]+(?:pt|px|%)?"),
        (_PAINT, r"#[0-9a-fA-F]{3,8}|[a-z]+|[-+\d.,eE\s]+"),
    )
    for name in names
}
_LONG_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")
PIXELS_PER_POINT: Final = 4 / 3

# The groups of a figure's title and note, as trainbench.figures.frame names them, and where a line of theirs stands.
_HEADER: Final = ("title", "note")
_LINE_AT: Final = re.compile(r"translate\([-+\d.eE]+[ ,]([-+\d.eE]+)\)")
_BELOW_A_LINE_POINTS: Final = 4.0


def read(path: Path) -> ElementTree.Element:
    """The root element of a figure's file.

    Raises:
        InputError: the file is not SVG.
    """
    try:
        # Expat since 2.4 refuses entities that blow up; this file is our own, and external entities are never read.
        # Comments hold the texts that are drawn as outlines.
        parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))  # noqa: S314
        root = ElementTree.fromstring(path.read_bytes(), parser)  # noqa: S314
    except ElementTree.ParseError as error:
        raise InputError(f"the figure {path} is not valid SVG ({error}); delete it and run snakemake again") from error
    if _local(root.tag) != "svg":
        raise InputError(f"the figure {path} begins with {_local(root.tag)}, expected svg; delete it and run snakemake")
    return root


def inline(root: ElementTree.Element, name: str, title: str, description: str) -> Markup:
    """A figure as a part of a page, which a screen reader calls by its title and describes.

    Its name goes before every id, so that ids of several figures differ.
    """
    width, height = _size(root)
    head = Markup(
        '<svg class="plot" role="img" viewBox="{}" width="{:.0f}" height="{:.0f}" aria-labelledby="{}-title" '
        'aria-describedby="{}-desc" stroke-linejoin="round">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>'
    ).format(
        root.get("viewBox", f"0 0 {width:g} {height:g}"),
        width * PIXELS_PER_POINT,
        height * PIXELS_PER_POINT,
        *(name, name, name, title, name, description),
    )
    shown = "".join(ElementTree.tostring(part, "unicode") for child in root for part in _allowed(child, name))
    # Of allowed names and checked values alone, none of which has a space before a slash.
    return head + Markup(shown.replace(" />", "/>")) + Markup("</svg>")  # noqa: S704


def lift_header(root: ElementTree.Element) -> tuple[str, str]:
    """Take title and note out of a figure, which then begins below them, for the page to write them; "" without any."""
    found = dict.fromkeys(_HEADER, "")
    lines = [0.0]
    for group in [one for one in root.iter() if _local(one.tag) == "g" and one.get("id") in found]:
        texts = (part.text or "" for part in group.iter() if not isinstance(part.tag, str))
        found[group.get("id", "")] = " ".join(" ".join(texts).split())
        lines += [float(line[1]) for part in group if (line := _LINE_AT.match(part.get("transform", "")))]
        # Other texts use the outlines of letters that are defined here.
        group[:] = [part for part in group.iter() if _local(part.tag) == "defs"]
    if any(lines):
        width, height = _size(root)
        top = max(lines) + _BELOW_A_LINE_POINTS
        root.set("viewBox", f"0 {top:g} {width:g} {height - top:g}")
        root.set("height", f"{height - top:g}pt")
    return found["title"], found["note"]


def words(root: ElementTree.Element) -> tuple[str, str]:
    """The title and the description that a figure has itself; "" where it has none."""
    found = {_local(child.tag): child.text or "" for child in root}
    return found.get("title", ""), found.get("desc", "")


def _allowed(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """An element with all below it, as far as it is allowed."""
    tag = _local(element.tag)
    if tag not in _ELEMENTS:
        return []
    shown = ElementTree.Element(tag, dict(_attributes(element, name)))
    shown.extend(part for child in element for part in _allowed(child, name))
    # What groups nothing but its children is not needed; empty ones even less.
    if shown.attrib or tag not in {"g", "defs"}:
        return [shown]
    return list(shown) if tag == "g" or not len(shown) else [shown]


def _attributes(element: ElementTree.Element, name: str) -> Iterator[tuple[str, str]]:
    tag = _local(element.tag)
    declarations = (declaration.partition(":")[::2] for declaration in element.get("style", "").split(";"))
    for key, value in (*element.items(), *((key.strip(), value.strip()) for key, value in declarations)):
        local = _local(key)
        if local not in _VALUES or not _VALUES[local].fullmatch(value):
            continue
        if local == "id":
            # Groups have ids that nothing refers to.
            if tag != "g":
                yield local, f"{name}-{value}"
        elif local in _REFERENCES:
            if tag == "use" or local != "href":
                yield local, value.replace("#", f"#{name}-")
        elif local == "d":
            yield local, " ".join(_rounded(value).split())
        else:
            yield local, value if local == "transform" else _rounded(value)


def _rounded(text: str) -> str:
    """Numbers to a hundredth of a point, which nobody sees."""
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text)


def _size(root: ElementTree.Element) -> tuple[float, float]:
    """Width and height in points."""
    width, height = (re.fullmatch(r"([\d.]+)(?:pt|px)?", root.get(side, "")) for side in ("width", "height"))
    return (float(width[1]), float(height[1])) if width and height else (640.0, 480.0)


def _local(name: object) -> str:
    """A name without its namespace; comments and instructions have none."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""
