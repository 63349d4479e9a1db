"""What each cell achieves below the roofs of its device: arithmetic and memory."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainbench.conclusions.tables.roofline import OVERHEAD_BELOW
from trainbench.figures.axes import log_axis, say_empty
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import entry, fitting_columns, legend_text
from trainbench.figures.looks import MARKERS, MUTED, Look, styled
from trainbench.figures.panels import panels, settle_layout
from trainbench.figures.value_labels import Point, write_values
from trainbench.results.executors import executors_of
from trainbench.results.tables import models_of
from trainbench.words.wording import format_number

TITLE: Final = "Roofline"
CAPTION: Final = (
    "A marker near its line uses the device fully. Far below it the time goes into starting many small operations, "
    "where larger batches help more than a faster device, or to other programs (hollow, \N{DAGGER} in the table)."
)
PANEL_INCHES: Final = (8.4, 4.8)
MOST_LABELLED_POINTS: Final = 60
FLOP_PER_GFLOP: Final = 1e9
BYTES_PER_GIGABYTE: Final = 1e9


@styled
def draw(study: DrawnStudy) -> Figure:
    """FLOP a second over arithmetic intensity, all cells in one panel."""
    cells = study.tables["roofline"]
    executors = executors_of(cells, study.order)
    # The most FLOP and bytes a second that a device of a host was seen to do.
    ceilings = cells.dropna(subset=["flop_ceiling_per_second", "bytes_ceiling_per_second"])
    roofs = {
        (str(device), str(host)): (float(flop), float(memory))
        for device, host, flop, memory in ceilings.drop_duplicates(["device", "host"])[
            ["device", "host", "flop_ceiling_per_second", "bytes_ceiling_per_second"]
        ].itertuples(index=False)
    }
    figure, [axes] = panels(
        [[""]],
        columns=1,
        panel_size=PANEL_INCHES,
        header=(
            "How well each device is used: a marker on its line uses it fully",
            "Line: the most that the device was seen to do, limited by memory where it rises and by arithmetic where "
            "it is flat. Marker: mean of a cell's runs, the batch size beside it where there is room. Below "
            f"{100 * OVERHEAD_BELOW:g} % of its line neither explains the time: starting many small operations "
            "does, or other programs do." + study.flagged_note("a run"),
        ),
        legend=[
            entry(replace(study.looks[one.key], marker="none"), f"{one.label}: {_roof_text(roofs.get(one.key))}")
            for one in executors
        ],
        labels=("Arithmetic intensity (FLOP a byte, log scale)", "Achieved (GFLOP/s, log scale)"),
    )
    known = cells.dropna(subset=["achieved_flop_per_second", "flop_per_byte"])
    if known.empty or not roofs:
        say_empty(axes, "no completed run" if known.empty else "no run knows what its device can do at most")
        return figure
    ridges, tops = [flop / memory for flop, memory in roofs.values()], [flop for flop, _ in roofs.values()]
    log_axis(axes, "x", np.array([*known["flop_per_byte"], *ridges]), margin=2.0)
    log_axis(axes, "y", np.array([*known["achieved_flop_per_second"], *tops]) / FLOP_PER_GFLOP, margin=1.8)
    markers = {model: MARKERS[index % len(MARKERS)] for index, model in enumerate(models_of(cells, study.order))}
    # Above the panel: the legend below it is the devices'.
    handles = [Line2D([], [], color=MUTED, marker=marker, linestyle="none") for marker in markers.values()]
    names = [legend_text(model) for model in markers]
    beside: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "handlelength": 1.0}
    axes.legend(handles, names, ncols=fitting_columns(names, PANEL_INCHES[0]), **beside)
    points: list[Point] = []
    for executor in executors:
        look = study.looks[executor.key]
        if executor.key in roofs:
            _draw_roof(axes, *roofs[executor.key], look)
        # Joined from the smallest batch to the largest, in whatever order the config names them.
        here = known[(known["device"] == executor.device) & (known["host"] == executor.host)].sort_values("batch_size")
        for model, of_model in here.groupby("model", sort=False):
            points += _draw_cells(axes, of_model, look.color, markers[str(model)])
    settle_layout(figure)
    if len(points) <= MOST_LABELLED_POINTS:
        write_values(axes, points, all_or_none=False)
    return figure


def _roof_text(roof: tuple[float, float] | None) -> str:
    if roof is None:
        return "unknown"
    gflop, gigabytes = roof[0] / FLOP_PER_GFLOP, roof[1] / BYTES_PER_GIGABYTE
    return f"{format_number(gflop, significant=3)} GFLOP/s, {format_number(gigabytes, significant=3)} GB/s"


def _draw_roof(axes: Axes, flop_per_second: float, bytes_per_second: float, look: Look) -> None:
    low, high = axes.get_xlim()
    intensities = np.array([low, flop_per_second / bytes_per_second, high])
    gflop = np.minimum(flop_per_second, intensities * bytes_per_second) / FLOP_PER_GFLOP
    axes.plot(intensities, gflop, color=look.color, linestyle=look.line_style, scalex=False, scaley=False)


def _draw_cells(axes: Axes, cells: pd.DataFrame, color: str, marker: str) -> list[Point]:
    """The cells of one model on one device, joined in order of batch sizes; flagged ones are hollow."""
    xs, ys = cells["flop_per_byte"].tolist(), (cells["achieved_flop_per_second"] / FLOP_PER_GFLOP).tolist()
    axes.plot(xs, ys, color=color, linewidth=0.8, alpha=0.5, zorder=2.5)
    points = []
    for x, y, size, flagged in zip(xs, ys, cells["batch_size"], cells["flagged_runs"] > 0, strict=True):
        face, edge, edge_points = ("white", color, 1.0) if flagged else (color, "white", 0.4)
        look: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": edge_points}
        axes.plot([x], [y], color=color, marker=marker, zorder=3, **look)
        points.append(Point(x, y, str(size), color, (y, y)))
    return points
