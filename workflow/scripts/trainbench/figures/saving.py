"""Saves figures as SVG, which says in words what it shows, and as PNG."""

import io
from pathlib import Path
from xml.sax.saxutils import escape

from matplotlib.figure import Figure

from trainbench.figures.frame import NOTE_ID, TITLE_ID
from trainbench.figures.looks import styled
from trainbench.files import whole_file


@styled
def save(figure: Figure, svg_path: Path, png_path: Path) -> None:
    """Write a figure as SVG and as PNG (150 dots per inch), each in one atomic step.

    The same figure gives the same bytes: no date is written, and ids in the SVG come from a fixed salt. The SVG has the
    role of an image, and a title and a description, for those who cannot see it.
    """
    svg, png = io.StringIO(), io.BytesIO()
    title, description = texts(figure)
    figure.savefig(svg, format="svg", metadata={"Date": None, "Title": title})
    figure.savefig(png, format="png")
    element = f"<title>{escape(title)}</title>"
    described = svg.getvalue().replace(element, f"{element}\n <desc>{escape(description)}</desc>", 1)
    whole_file.write(described.replace("<svg ", '<svg role="img" ', 1), svg_path)
    whole_file.write(png.getvalue(), png_path)


def texts(figure: Figure) -> tuple[str, str]:
    """A figure's title, and its description in words: its note, panels, axes and legend."""
    header = {text.get_label(): " ".join(text.get_text().split()) for text in figure.texts}
    parts = {
        "Panels": [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes],
        "Axes": [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())],
        "Shown": [" ".join(text.get_text().split()) for legend in figure.legends for text in legend.get_texts()],
    }
    distinct = {name: list(dict.fromkeys(filter(None, words))) for name, words in parts.items()}
    lists = [f"{name}: {'; '.join(words)}." for name, words in distinct.items() if words]
    return header.get(TITLE_ID, ""), " ".join(filter(None, [header.get(NOTE_ID, ""), *lists]))
