"""Bars from the low to the high end of an interval, which end in an arrow where there is no room for all of them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.markers import CARETDOWN, CARETUP

MOST_REACH: Final = 5.0
"""How many times beyond the lowest and highest value a bar widens an axis: one of any length would squeeze the rest."""
CAP_POINTS: Final = 5.0
WIDTH_POINTS: Final = 1.1


@dataclass(frozen=True)
class Room:
    """From where to where the bars of a panel are drawn to their ends; a bar that goes on ends in an arrow."""

    lowest: float
    highest: float

    @classmethod
    def around(cls, values: np.ndarray, *, logarithmic: bool) -> "Room":
        """Room beyond what has to be shown: `values`, all positive for a logarithmic axis."""
        if not values.size:
            return cls(0.0, math.inf)
        # A linear axis begins at 0. On a logarithmic one there is no such place.
        return cls(values.min() / MOST_REACH if logarithmic else 0.0, values.max() * MOST_REACH)

    def cuts(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Which ends of bars are not drawn where they are; what is unknown is no end."""
        return (bars < self.lowest) | (bars > self.highest)


def goes_on_note(bars: Iterable[tuple[Room, pd.DataFrame]]) -> str:
    """What arrows are, if one of these bars has no room."""
    return " Arrow: the bar goes on." if any(room.cuts(of_panel).any(axis=None) for room, of_panel in bars) else ""


def draw_bars(axes: Axes, bars: pd.DataFrame, room: Room, color: str) -> None:
    """Bars from a low to a high end, each with its x as index, with caps at their ends or arrows at the edge.

    The y axis has to have its limits already.
    """
    known = bars.dropna()
    cut = room.cuts(known).to_numpy()
    ends = np.where(cut, axes.get_ylim(), known)
    xs = np.column_stack([known.index, known.index])
    if len(known):
        axes.vlines(known.index, ends[:, 0], ends[:, 1], colors=color, linewidth=WIDTH_POINTS, zorder=3)
    for mark, here in {"_": ~cut, CARETDOWN: cut & [True, False], CARETUP: cut & [False, True]}.items():
        if here.any():
            look: dict[str, Any] = {"color": color, "marker": mark, "markersize": CAP_POINTS, "linestyle": "none"}
            axes.plot(xs[here], ends[here], markeredgewidth=WIDTH_POINTS if mark == "_" else 0.0, zorder=3, **look)
