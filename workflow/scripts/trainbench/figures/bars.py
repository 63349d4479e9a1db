"""Bars from the low to the high end of an interval, which end in an arrow where there is no room for all of them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.markers import CARETDOWN, CARETUP

from trainbench.results.columns import Row

MOST_REACH: Final = 5.0
"""How many times beyond the lowest and highest value a bar widens an axis: one of any length would squeeze the rest."""
CAP_POINTS: Final = 5.0
WIDTH_POINTS: Final = 1.1


Bar = tuple[float, float] | tuple[()]
"""Its two ends; none where there is no bar."""


def bar_of(row: Row, figure: str) -> Bar:
    """The interval of a figure of a table's row."""
    low, high = row[f"{figure}_low"], row[f"{figure}_high"]
    return () if low is None or high is None else (low, high)


@dataclass(frozen=True)
class Room:
    """From where to where the bars of a panel are drawn to their ends; a bar that goes on ends in an arrow."""

    lowest: float
    highest: float

    @classmethod
    def around(cls, values: Iterable[float], *, logarithmic: bool) -> "Room":
        """Room beyond what has to be shown: `values`, all positive for a logarithmic axis."""
        shown = list(values)
        if not shown:
            return cls(0.0, math.inf)
        # A linear axis begins at 0. On a logarithmic one there is no such place.
        return cls(min(shown) / MOST_REACH if logarithmic else 0.0, max(shown) * MOST_REACH)

    def holds(self, end: float) -> bool:
        """Whether an end of a bar is drawn where it is."""
        return self.lowest <= end <= self.highest


def goes_on_note(ends: Iterable[tuple[Room, float]]) -> str:
    """What arrows are, if one of these ends of bars has no room."""
    return "" if all(room.holds(end) for room, end in ends) else " Arrow: the bar goes on."


def draw_bars(axes: Axes, bars: Iterable[tuple[float, Bar]], room: Room, color: str) -> None:
    """Bars with caps at their ends, each with its x; an arrow at the edge where there is no room.

    The y axis has to have its limits already.
    """
    foot, top = axes.get_ylim()
    marks: dict[str | int, list[tuple[float, float]]] = {"_": [], CARETDOWN: [], CARETUP: []}
    spans: list[list[float]] = []
    for x, bar in bars:
        spans += [[x]] if bar else []
        for end, edge, arrow in zip(bar, (foot, top), (CARETDOWN, CARETUP), strict=False):
            held = room.holds(end)
            spans[-1].append(end if held else edge)
            marks["_" if held else arrow].append((x, spans[-1][-1]))
    if spans:
        xs, lows, highs = zip(*spans, strict=True)
        axes.vlines(xs, lows, highs, colors=color, linewidth=WIDTH_POINTS, zorder=3)
    for mark, places in marks.items():
        if places:
            look: dict[str, Any] = {"color": color, "marker": mark, "markersize": CAP_POINTS, "linestyle": "none"}
            edge_points = WIDTH_POINTS if mark == "_" else 0.0
            axes.plot(*zip(*places, strict=True), markeredgewidth=edge_points, zorder=3, **look)
