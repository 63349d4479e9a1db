"""Draws throughput over numbers of threads or GPUs, with intervals: a panel for each model and batch size."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainbench.conclusions.scaling_series import Axis
from trainbench.figures.axes import log_axis, name_places, say_empty
from trainbench.figures.bars import Room, bar_of, draw_bars, goes_on_note
from trainbench.figures.frame import Entry
from trainbench.figures.looks import Look
from trainbench.figures.panels import Shown, panels_of_cells
from trainbench.results.columns import Row

PANEL_INCHES: Final = 2.3
SPEED: Final = "samples_per_second"

Panel = tuple[Axes, Sequence[Row]]
"""Axes, and the points to be drawn there."""


def throughput_panels(
    shown: Shown, points: Sequence[Row], *, header: tuple[str, str], legend: Sequence[Entry], x_label: str, empty: str
) -> tuple[Figure, list[Panel]]:
    """A figure with a panel for each model and batch size, and those that have points; `empty` says why none has."""
    of_panels: dict[tuple[str, int], list[Row]] = {}
    for row in points:
        of_panels.setdefault((row["model"], row["batch_size"]), []).append(row)
    ends = [(_room(here), end) for here in of_panels.values() for row in here for end in bar_of(row, SPEED)]
    figure, panels = panels_of_cells(
        shown,
        panel_inches=PANEL_INCHES,
        header=(header[0], header[1] + goes_on_note(ends)),
        legend=legend,
        labels=(x_label, "Samples a second, log scale"),
    )
    for model, size, axes in panels:
        if (model, size) not in of_panels:
            say_empty(axes, "not measured" if shown.models else empty)
    return figure, [(axes, of_panels[model, size]) for model, size, axes in panels if (model, size) in of_panels]


def _room(points: Sequence[Row]) -> Room:
    return Room.around([row[SPEED] for row in points], logarithmic=True)


def scale_axes(panel: Panel, axis: Axis, levels: Sequence[float], beyond: float) -> Room:
    """Axes over numbers, named where they were measured, and over samples a second, with room for `levels` too.

    The first reaches so many times beyond the largest number. Returns the room of bars.
    """
    axes, points = panel
    room = _room(points)
    counts = sorted({row[axis.column] for row in points})
    axes.set_xscale("log", base=2)
    axes.set_xlim(counts[0] / 2**0.25, counts[-1] * beyond)
    name_places(axes.xaxis, counts)
    speeds = [row[SPEED] for row in points]
    ends = [end for row in points for end in bar_of(row, SPEED) if room.holds(end)]
    log_axis(axes, "y", np.array([*speeds, *ends, *levels]), margin=1.3)
    return room


def draw_points(axes: Axes, axis: Axis, points: Sequence[Row], look: Look, room: Room) -> None:
    """A marker for each number, with its interval."""
    xs, ys = ([row[column] for row in points] for column in (axis.column, SPEED))
    axes.plot(xs, ys, linewidth=1.0, markeredgecolor="white", markeredgewidth=0.4, zorder=3, **look.of_line)
    draw_bars(axes, [(row[axis.column], bar_of(row, SPEED)) for row in points], room, look.color)
