"""What stands around the panels of every figure: title and note above them, the legend below."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from trainbench.figures.style import MUTED
from trainbench.figures.text_fitting import fitting, fitting_columns

TITLE_POINTS: Final = 12
NOTE_POINTS: Final = 9
HEADER_MARGIN_INCHES: Final = 0.1
TITLE_ID: Final = "title"
NOTE_ID: Final = "note"
"""Labels of the two texts, and the ids of their groups in the SVG: the page writes both as text of its own."""

Entry = tuple[Artist, str]
"""One of a legend: what it shows, and what that is."""


@dataclass(frozen=True)
class Header:
    """Title and note of a figure, wrapped to its width."""

    title: str
    note: str

    @classmethod
    def wrap(cls, title: str, note: str, width_inches: float) -> "Header":
        """Break both into lines that fit."""
        room_inches = width_inches - 2 * HEADER_MARGIN_INCHES
        return cls(fitting(title, room_inches, TITLE_POINTS, "bold"), fitting(note, room_inches, NOTE_POINTS))

    @property
    def _above_note_inches(self) -> float:
        return 0.14 + 0.2 * (self.title.count("\n") + 1)

    @property
    def inches(self) -> float:
        """Height of both."""
        return self._above_note_inches + 0.17 * (self.note.count("\n") + 1)

    def write(self, figure: Figure) -> None:
        """Write both at the top of `figure`."""
        width, height = figure.get_size_inches()
        top, below = 1 - HEADER_MARGIN_INCHES / height, 1 - self._above_note_inches / height
        title: dict[str, Any] = {"fontsize": TITLE_POINTS, "fontweight": "bold", "linespacing": 1.15}
        note: dict[str, Any] = {"fontsize": NOTE_POINTS, "color": MUTED}
        for name, y, text, look in ((TITLE_ID, top, self.title, title), (NOTE_ID, below, self.note, note)):
            figure.text(HEADER_MARGIN_INCHES / width, y, text, label=name, gid=name, va="top", **look)


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
    written = Header.wrap(*header, width_inches)
    columns = fitting_columns([label for _, label in legend], width_inches)
    legend_lines = math.ceil(sum(label.count("\n") + 1 for _, label in legend) / columns)
    height = written.inches + panels_inches + 0.35 + 0.2 * legend_lines
    rect = (0, 0, 1, 1 - written.inches / height)
    layout = ConstrainedLayoutEngine(rect=rect, h_pad=padding, w_pad=0.08, hspace=between, wspace=0.03)
    figure = Figure(figsize=(width_inches, height), layout=layout)
    written.write(figure)
    if legend:
        handles, labels = zip(*legend, strict=True)
        figure.legend(list(handles), list(labels), loc="outside lower left", ncols=columns)
    return figure
