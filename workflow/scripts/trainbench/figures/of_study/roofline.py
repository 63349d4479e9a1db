"""What each cell achieves below the roofs of its device: arithmetic and memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainbench.conclusions.tables.roofline import OVERHEAD_BELOW
from trainbench.figures.axes import log_axis, say_empty
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import entry
from trainbench.figures.looks import MARKERS, Look
from trainbench.figures.panels import panels, settle_layout
from trainbench.figures.style import MUTED, styled
from trainbench.figures.text_fitting import fitting_columns, legend_text
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


@dataclass(frozen=True)
class _Roof:
    """The most that a device of a host was seen to do."""

    flop_per_second: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """FLOP a byte from which on arithmetic is the lower roof."""
        return self.flop_per_second / self.bytes_per_second

    def __str__(self) -> str:
        gflop, gigabytes = self.flop_per_second / FLOP_PER_GFLOP, self.bytes_per_second / BYTES_PER_GIGABYTE
        return f"{format_number(gflop, significant=3)} GFLOP/s, {format_number(gigabytes, significant=3)} GB/s"


@styled
def draw(study: DrawnStudy) -> Figure:
    """FLOP a second over arithmetic intensity, all cells in one panel."""
    cells = study.tables["roofline"]
    executors = executors_of(cells, study.order)
    of_executors = [cells[(cells["device"] == one.device) & (cells["host"] == one.host)] for one in executors]
    roofs = [_roof(of_executor) for of_executor in of_executors]
    looks = [study.look(executor) for executor in executors]
    figure, [axes] = panels(
        of_group=1,
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
            entry(replace(look, marker="none"), f"{executor.label}: {roof or 'unknown'}")
            for executor, roof, look in zip(executors, roofs, looks, strict=True)
        ],
        labels=("Arithmetic intensity (FLOP a byte, log scale)", "Achieved (GFLOP/s, log scale)"),
    )
    known = cells.dropna(subset=["achieved_flop_per_second", "flop_per_byte"])
    known_roofs = [roof for roof in roofs if roof is not None]
    if known.empty or not known_roofs:
        say_empty(axes, "no completed run" if known.empty else "no run knows what its device can do at most")
        return figure
    intensities = np.array([*known["flop_per_byte"], *(roof.ridge for roof in known_roofs)])
    speeds = np.array([*known["achieved_flop_per_second"], *(roof.flop_per_second for roof in known_roofs)])
    log_axis(axes, "x", intensities, margin=2.0)
    log_axis(axes, "y", speeds / FLOP_PER_GFLOP, margin=1.8)
    markers = {model: MARKERS[index % len(MARKERS)] for index, model in enumerate(models_of(cells, study.order))}
    _name_models(axes, markers)
    points: list[Point] = []
    for of_executor, roof, look in zip(of_executors, roofs, looks, strict=True):
        if roof is not None:
            _draw_roof(axes, roof, look)
        # Joined from the smallest batch to the largest, in whatever order the config names them.
        in_order = of_executor[of_executor.index.isin(known.index)].sort_values("batch_size")
        for model, of_model in in_order.groupby("model", sort=False):
            points += _draw_cells(axes, study, of_model, look.color, markers[str(model)])
    settle_layout(figure)
    if len(points) <= MOST_LABELLED_POINTS:
        write_values(axes, points, all_or_none=False)
    return figure


def _roof(cells: pd.DataFrame) -> _Roof | None:
    """The ceilings of a device of a host, None where no run knows them."""
    known = cells[["flop_ceiling_per_second", "bytes_ceiling_per_second"]].dropna()
    return _Roof(*known.iloc[0].tolist()) if len(known) else None


def _draw_roof(axes: Axes, roof: _Roof, look: Look) -> None:
    low, high = axes.get_xlim()
    intensities = np.array([low, roof.ridge, high])
    gflop = np.minimum(roof.flop_per_second, intensities * roof.bytes_per_second) / FLOP_PER_GFLOP
    axes.plot(intensities, gflop, color=look.color, linestyle=look.line_style, scalex=False, scaley=False)


def _draw_cells(axes: Axes, study: DrawnStudy, cells: pd.DataFrame, color: str, marker: str) -> list[Point]:
    """The cells of one model on one device, joined in order of batch sizes; flagged ones are hollow."""
    xs = cells["flop_per_byte"].tolist()
    ys = (cells["achieved_flop_per_second"] / FLOP_PER_GFLOP).tolist()
    axes.plot(xs, ys, color=color, linewidth=0.8, alpha=0.5, zorder=2.5)
    keys = cells[["model", "batch_size", "device", "host"]].itertuples(index=False, name=None)
    points = []
    for x, y, key in zip(xs, ys, keys, strict=True):
        hollow = bool(study.cells[key]["flagged_runs"])
        face, edge, edge_points = ("white", color, 1.0) if hollow else (color, "white", 0.4)
        look: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": edge_points}
        axes.plot([x], [y], color=color, marker=marker, zorder=3, **look)
        points.append(Point(x, y, str(key[1]), color, (y, y)))
    return points


def _name_models(axes: Axes, markers: Mapping[str, str]) -> None:
    """What each marker is, above the panel: the legend below it is the devices'."""
    handles = [Line2D([], [], color=MUTED, marker=marker, linestyle="none") for marker in markers.values()]
    names = [legend_text(model) for model in markers]
    columns = fitting_columns(names, PANEL_INCHES[0])
    axes.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1), handlelength=1.0, ncols=columns)
