"""Draws throughput over numbers of threads or GPUs, with intervals: a panel for each model and batch size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainbench.conclusions.scaling_series import SPEED, Axis
from trainbench.figures.axes import log_axis, name_places, say_empty
from trainbench.figures.bars import Room, draw_bars, goes_on_note
from trainbench.figures.frame import Entry
from trainbench.figures.looks import Look
from trainbench.figures.panels import Shown, panels_of_cells
from trainbench.results.columns import Row, grouped


@dataclass(frozen=True)
class Panel:
    """A panel over numbers of an axis, the points to be drawn there, and how much of their bars."""

    axis: Axis
    points: Sequence[Row]
    room: Room
    axes: Axes

    def scale(self, levels: Sequence[float], beyond: float) -> None:
        """Axes over numbers, named where they were measured, and over samples a second, with room for `levels` too.

        The first reaches so many times beyond the largest number.
        """
        bars = _bars(self.points, self.axis)
        counts = sorted(set(bars.index))
        self.axes.set_xscale("log", base=2)
        self.axes.set_xlim(counts[0] / 2**0.25, counts[-1] * beyond)
        name_places(self.axes.xaxis, counts)
        ends = bars.mask(self.room.cuts(bars)).stack().dropna()
        log_axis(self.axes, "y", np.array([*_speeds(self.points), *ends, *levels]), margin=1.3)

    def draw(self, points: Sequence[Row], look: Look) -> None:
        """A marker for each of these points, with its interval."""
        bars = _bars(points, self.axis)
        white: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
        self.axes.plot(bars.index, _speeds(points), linewidth=1.0, zorder=3, **white, **look.of_line)
        draw_bars(self.axes, bars, self.room, look.color)


def throughput_panels(
    shown: Shown,
    points: Sequence[Row],
    axis: Axis,
    *,
    header: tuple[str, str],
    legend: Sequence[Entry],
    x_label: str,
    empty: str,
) -> tuple[Figure, list[Panel]]:
    """A figure with a panel for each model and batch size, and those that have points; `empty` says why none has."""
    of_panels = grouped(points, ("model", "batch_size"))
    rooms = {key: Room.around(np.array(_speeds(here)), logarithmic=True) for key, here in of_panels.items()}
    arrows = goes_on_note((rooms[key], _bars(here, axis)) for key, here in of_panels.items())
    figure, panels = panels_of_cells(
        shown,
        panel_inches=2.3,
        header=(
            header[0],
            header[1] + arrows,
        ),
        legend=legend,
        labels=(x_label, "Samples a second, log scale"),
    )
    for key, axes in panels.items():
        if key not in of_panels:
            say_empty(axes, "not measured" if shown.models else empty)
    return figure, [Panel(axis, of_panels[key], rooms[key], axes) for key, axes in panels.items() if key in of_panels]


def _speeds(points: Sequence[Row]) -> list[float]:
    return [row[SPEED] for row in points]


def _bars(points: Sequence[Row], axis: Axis) -> pd.DataFrame:
    """The intervals of points, by their number."""
    ends = [[row[f"{SPEED}_low"], row[f"{SPEED}_high"]] for row in points]
    return pd.DataFrame(ends, [row[axis.column] for row in points], ["low", "high"], dtype=float)
