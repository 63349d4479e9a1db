"""Breaks texts into lines that fit a width, by what their letters take."""

import textwrap
from collections.abc import Sequence
from typing import Final, Literal

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

POINTS_PER_INCH: Final = 72
# Characters that fit into an inch at one point of size: on the safe side for most texts.
CHARACTERS_PER_INCH_AND_POINT: Final = {"bold": 115.0, "normal": 118.0}
LEGEND_POINTS: Final = 9
LEGEND_HANDLE_INCHES: Final = 0.75
LEGEND_TEXT_INCHES: Final = 4.2


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
