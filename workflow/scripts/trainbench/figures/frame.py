"""What stands around the panels of every figure, in lines that fit: title and note above them, the legend below."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Final, Literal

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from trainbench.figures.looks import MUTED, Look
from trainbench.results.executors import Executor

TITLE_LOOK: Final[dict[str, Any]] = {"fontsize": 12, "fontweight": "bold", "linespacing": 1.15}
NOTE_LOOK: Final[dict[str, Any]] = {"fontsize": 9, "color": MUTED}
MARGIN_INCHES: Final = 0.1
POINTS_PER_INCH: Final = 72
# Characters that fit into an inch at one point of size: on the safe side for most texts.
CHARACTERS_PER_INCH_AND_POINT: Final = {"bold": 115.0, "normal": 118.0}
LEGEND_POINTS: Final = 9
LEGEND_HANDLE_INCHES: Final = 0.75
LEGEND_TEXT_INCHES: Final = 4.2
TITLE_ID: Final = "title"
NOTE_ID: Final = "note"
"""Labels of the two texts, and the ids of their groups in the SVG: the page writes both as text of its own."""

Entry = tuple[Artist, str]
"""One of a legend: what it shows, and what that is."""


def entry(look: Look, text: str) -> Entry:
    """What is drawn like this."""
    return Line2D([], [], markeredgecolor="white", **look.of_line), text


def device_entry(executor: Executor, look: Look) -> Entry:
    """A device, with what it computes with where that differs between devices."""
    return entry(look, f"{executor.label}: {executor.detail}" if executor.detail else executor.label)


def framed(
    width_inches: float,
    panels_inches: float,
    header: tuple[str, str],
    legend: Sequence[Entry],
    *,
    padding: float = 0.06,
    between: float = 0.04,
) -> Figure:
    """A figure without panels, with room for them between its title and note and its legend.

    Args:
        width_inches: Of the figure.
        panels_inches: Height of all panels, with what is written around them.
        header: Title and note.
        legend: Entries of the legend.
        padding: Inches above and below each panel.
        between: More room between rows of panels, as a share of their height.
    """
    room_inches = width_inches - 2 * MARGIN_INCHES
    title = fitting(header[0], room_inches, TITLE_LOOK["fontsize"], "bold")
    note = fitting(header[1], room_inches, NOTE_LOOK["fontsize"])
    above_note_inches = 0.14 + 0.2 * (title.count("\n") + 1)
    header_inches = above_note_inches + 0.17 * (note.count("\n") + 1)
    labels = [legend_text(label) for _, label in legend]
    columns = fitting_columns(labels, width_inches)
    legend_lines = math.ceil(sum(label.count("\n") + 1 for label in labels) / columns)
    height = header_inches + panels_inches + 0.35 + 0.2 * legend_lines
    rect = (0, 0, 1, 1 - header_inches / height)
    layout = ConstrainedLayoutEngine(rect=rect, h_pad=padding, w_pad=0.08, hspace=between, wspace=0.03)
    figure = Figure(figsize=(width_inches, height), layout=layout)
    left, top, below = MARGIN_INCHES / width_inches, 1 - MARGIN_INCHES / height, 1 - above_note_inches / height
    figure.text(left, top, title, label=TITLE_ID, gid=TITLE_ID, va="top", **TITLE_LOOK)
    figure.text(left, below, note, label=NOTE_ID, gid=NOTE_ID, va="top", **NOTE_LOOK)
    if legend:
        figure.legend([handle for handle, _ in legend], labels, loc="outside lower left", ncols=columns)
    return figure


def fitting(text: str, width_inches: float, points: float, weight: Literal["normal", "bold"] = "normal") -> str:
    """Break a text into lines that fit: by what letters take on average, or where they are wide, by what they take."""
    font = FontProperties(size=points, weight=weight)
    # Letters put on pixels are a little wider.
    room = 0.95 * POINTS_PER_INCH * width_inches
    characters = max(1, int(width_inches * CHARACTERS_PER_INCH_AND_POINT[weight] / points))
    while True:
        lines = textwrap.fill(text, characters)
        widest = _widest_points(lines, font)
        if widest <= room or characters == 1:
            return lines
        characters = max(1, min(characters - 1, int(characters * room / widest) + 1))


def _widest_points(lines: str, font: FontProperties) -> float:
    return max(float(TextPath((0, 0), line, prop=font).get_extents().width) for line in lines.split("\n"))


def legend_text(label: str) -> str:
    """Break a label into lines that fit into a legend, whatever the width of its figure."""
    return fitting(label, LEGEND_TEXT_INCHES, LEGEND_POINTS)


def fitting_columns(labels: Sequence[str], width_inches: float) -> int:
    """How many entries of a legend fit side by side."""
    font = FontProperties(size=LEGEND_POINTS)
    widest = max((_widest_points(label, font) for label in labels), default=0.0) / POINTS_PER_INCH
    return max(1, min(len(labels), int(width_inches / (LEGEND_HANDLE_INCHES + 1.05 * widest))))
