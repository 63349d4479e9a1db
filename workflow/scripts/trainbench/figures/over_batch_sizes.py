"""Draws a quantity of cells over batch sizes: a panel a model, a line a device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from trainbench.figures.axes import is_wide, linear_y, log_axis, say_empty
from trainbench.figures.bars import Room, draw_bars, goes_on_note
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import POINTS_PER_INCH, device_entry
from trainbench.figures.looks import GUIDE_LINE, MUTED, Look
from trainbench.figures.panels import MOST_MODELS, PANEL_INCHES, panels, settle_layout, shown_note
from trainbench.figures.value_labels import Point, write_values
from trainbench.results.columns import INTERVAL
from trainbench.results.executors import Executor
from trainbench.results.tables import batch_sizes_of, models_of
from trainbench.words.wording import format_number

MOST_LABELLED_DEVICES: Final = 3
MOST_DOTS: Final = 20
"""Of so many runs at most a cell has a dot each: more are a bar themselves."""
NAME_CHARACTERS: Final = 12
NAME_INCHES_PER_CHARACTER: Final = 0.085
MOST_WIDTH_INCHES: Final = 12.0

ENDS: Final = ["low", "high"]


@dataclass(frozen=True)
class Subject:
    """What such a figure is about: its words, devices, values and y axis.

    `values` has a row a cell: its `value`, the `low` and `high` end of its bar, and `hollow`, the value again where it
    rests on flagged runs. `runs` has a row a run: its `value`, and whether it is `flagged`. `guides` are horizontal
    lines that values are read against, by their names.
    """

    title: str
    note: str
    y_label: str
    executors: Sequence[Executor]
    values: pd.DataFrame
    runs: pd.DataFrame
    logarithmic: bool
    scale_y: Callable[[Axes, Sequence[float]], None]
    guides: Mapping[str, float]
    label: Callable[[float], str] = lambda value: format_number(value, significant=3)

    @property
    def labelled(self) -> bool:
        """Whether values are written beside markers: so few devices have room for them."""
        return len(self.executors) <= MOST_LABELLED_DEVICES

    @property
    def named(self) -> bool:
        """Whether lines have names at their ends, as well as in the legend."""
        short = all(len(executor.label) <= NAME_CHARACTERS for executor in self.executors)
        return self.labelled and len(self.executors) > 1 and short


@dataclass(frozen=True)
class _Line:
    """A device in one panel: its cells, its runs and how its failures ended, by x.

    A cell is shown from the `least` to the `most` of its value and its runs.
    """

    name: str
    look: Look
    cells: pd.DataFrame
    runs: pd.DataFrame
    failures: Mapping[float, str]


def over_measured(
    study: DrawnStudy,
    metric: str,
    *,
    title: str,
    of_several: str,
    of_one: str,
    note: str = "",
    y_label: str,
    guides: Mapping[str, float],
) -> Figure:
    """The figure of a metric of cells and runs; what its marks are depends on whether cells have `of_several` runs.

    Its axis is logarithmic where ratios matter, and can be: a run of which nothing was seen has no place on such a one.
    """
    cells, runs = study.tables["cells"], study.tables["runs"].dropna(subset=[metric])
    if metric in cells:
        value, low, high = (cells[f"{metric}{end}"] for end in INTERVAL)
    else:
        # A share: one standard deviation to both sides of its mean.
        value, sd = cells[f"{metric}_mean"], cells[f"{metric}_sd"]
        low, high = value - sd, value + sd
    logarithmic = is_wide([*value, *guides.values()]) and not (runs[metric] <= 0).any()
    most = cells["n"].max()
    dots = "." if most > MOST_DOTS else "; faint dots are single runs."
    marks = of_several + dots + study.flagged_note("a run") if most > 1 else of_one + study.flagged_note("the run")
    subject = Subject(
        title=title,
        note=marks + note,
        y_label=f"{y_label}, log scale" if logarithmic else y_label,
        executors=study.executors,
        values=cells.assign(value=value, low=low, high=high, hollow=value.where(cells["flagged_runs"] > 0)),
        runs=runs.assign(value=runs[metric], flagged=runs["flags"] != ""),
        logarithmic=logarithmic,
        scale_y=_log_y if logarithmic else linear_y,
        guides=guides,
    )
    return over_batch_sizes(study, subject)


def _log_y(axes: Axes, values: Sequence[float]) -> None:
    log_axis(axes, "y", np.asarray(values), margin=1.4)


def over_batch_sizes(study: DrawnStudy, subject: Subject) -> Figure:
    """The figure of a subject."""
    cells = study.tables["cells"]
    all_models, sizes = models_of(cells, study.order), batch_sizes_of(cells, study.order)
    models = all_models[:MOST_MODELS]
    lines = {model: list(_lines(study, subject, model, sizes)) for model in models}
    rooms = {model: _room(of_model, subject) for model, of_model in lines.items()}
    everywhere = [(rooms[model], line) for model, of_model in lines.items() for line in of_model]
    arrows = goes_on_note((room, line.cells[ENDS]) for room, line in everywhere)
    statuses = sorted({status for _, line in everywhere for status in line.failures.values()})
    cross = Line2D([], [], color=MUTED, marker="x", linestyle="none", markeredgewidth=1.6)
    guide_inches = max(map(len, subject.guides), default=0) * 0.07
    panel_width = max(PANEL_INCHES, 0.9 + len(sizes) * max(0.45, 0.06 * len(subject.executors))) + guide_inches
    figure, made = panels(
        [models],
        columns=min(3, len(models), int(MOST_WIDTH_INCHES // panel_width)) or 1,
        panel_size=(panel_width, 2.7),
        header=(subject.title, subject.note + arrows + shown_note(("models", models, all_models))),
        legend=[
            *(device_entry(executor, study.looks[executor.key]) for executor in subject.executors),
            *([(cross, ", ".join(statuses))] if statuses else []),
        ],
        labels=("Batch size", subject.y_label),
    )
    names_inches = max(len(executor.label) for executor in subject.executors) * NAME_INCHES_PER_CHARACTER
    # In units of the x axis; half a unit stands free beside the last batch size anyway.
    name_room = max(0.0, names_inches * len(sizes) / 2.0 - 0.3) if subject.named else 0.0
    points: list[list[Point]] = []
    guides: list[list[Annotation]] = []
    for axes, (model, of_model) in zip(made, lines.items(), strict=True):
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlim(-0.6, len(sizes) - 0.4 + name_room)
        axes.grid(visible=False, axis="x")
        points.append(_draw_lines(axes, of_model, subject, rooms[model]))
        if not points[-1]:
            failed = any(line.failures for line in of_model)
            say_empty(axes, "no completed run" if failed else "not measured", keep_x=True)
        _mark_failures(axes, of_model)
        if points[-1]:
            for line in of_model:
                draw_bars(axes, line.cells[ENDS], rooms[model], line.look.color)
            guides.append(_draw_guides(axes, subject.guides))
    settle_layout(figure)
    for guides_of_panel in guides:
        _spread_names(guides_of_panel, figure.dpi)
    if subject.labelled:
        for axes, points_of_panel in zip(made, points, strict=True):
            write_values(axes, points_of_panel, all_or_none=True)
    return figure


def _lines(study: DrawnStudy, subject: Subject, model: str, sizes: Sequence[int]) -> Iterator[_Line]:
    """A line for each device. They stand side by side at each batch size: their bars do not cover each other."""
    count = len(subject.executors)
    step = min(0.1, 0.7 / count)
    for index, executor in enumerate(subject.executors):
        xs = {size: position + (index - (count - 1) / 2) * step for position, size in enumerate(sizes)}
        cells, runs = (
            of_all[(of_all[["model", "device", "host"]] == [model, *executor.key]).all(axis="columns")]
            for of_all in (subject.values, subject.runs)
        )
        by_x = cells.set_index(cells["batch_size"].map(xs))[["value", *ENDS, "hollow"]].reindex(list(xs.values()))
        runs = runs.set_index(runs["batch_size"].map(xs))[["value", "flagged"]].sort_index(kind="stable")
        of_cells = runs["value"].groupby(level=0)
        endings = {x: study.failure((model, size, *executor.key)) for size, x in xs.items()}
        yield _Line(
            name=executor.label,
            look=study.looks[executor.key],
            cells=by_x.assign(
                least=np.fmin(by_x["value"], of_cells.min().reindex(by_x.index)),
                most=np.fmax(by_x["value"], of_cells.max().reindex(by_x.index)),
            ),
            runs=runs,
            failures={x: ended for x, ended in endings.items() if ended},
        )


def _room(lines: Sequence[_Line], subject: Subject) -> Room:
    places = np.concatenate([line.cells[["least", "most"]].dropna().to_numpy().ravel() for line in lines])
    guides = list(subject.guides.values()) if places.size else []
    return Room.around(np.array([*places, *guides]), logarithmic=subject.logarithmic)


def _draw_lines(axes: Axes, lines: Sequence[_Line], subject: Subject, room: Room) -> list[Point]:
    """The lines of a panel and the y axis over them; the values and the names of several devices to be written."""
    points: list[Point] = []
    names: list[Point] = []
    for line in lines:
        _draw_line(axes, line)
        ends = line.cells[ENDS].mask(room.cuts(line.cells[ENDS]))
        lows, highs = np.fmin(line.cells["least"], ends["low"]), np.fmax(line.cells["most"], ends["high"])
        own = [
            Point(x, value, subject.label(value), line.look.color, (low, high))
            for x, value, low, high in zip(line.cells.index, line.cells["value"], lows, highs, strict=True)
            if not np.isnan(value)
        ]
        points += own
        if own and subject.named:
            names.append(replace(own[-1], text=line.name, is_name=True))
    if points:
        extremes = [end for point in points for end in point.reach]
        subject.scale_y(axes, [*subject.guides.values(), *extremes])
    return [*points, *names]


def _draw_line(axes: Axes, line: _Line) -> None:
    """A line through the values; what is unknown leaves a gap, what is flagged is hollow.

    A faint dot for each run of the cells that have several, and not so many that dots are a bar themselves.
    """
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.0, "markersize": 5.0}
    cells, bare = line.cells, replace(line.look, line_style="none")
    axes.plot(cells["value"], markeredgecolor="white", markeredgewidth=0.4, zorder=3, **line.look.of_line)
    axes.plot(cells["hollow"], zorder=3.5, **hollow, **bare.of_line)
    runs_of_cell = line.runs["value"].groupby(level=0).transform("size")
    dots = line.runs[runs_of_cell.between(2, MOST_DOTS)]
    for flagged, face, edge_points in ((False, line.look.color, 1.0), (True, "white", 0.7)):
        here = dots.loc[dots["flagged"] == flagged, "value"]
        if len(here):
            look: dict[str, Any] = {"color": line.look.color, "markerfacecolor": face, "markeredgewidth": edge_points}
            axes.plot(here, ".", alpha=0.4, markersize=5, **look)


def _mark_failures(axes: Axes, lines: Sequence[_Line]) -> None:
    """A cross at the foot of the panel for each cell without a completed run."""
    failures = [(x, line.look.color) for line in lines for x in line.failures]
    if failures and axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.12, high)  # room for the crosses, below all values
    for x, color in failures:
        axes.plot([x], [0.05], "x", color=color, markeredgewidth=1.6, transform=axes.get_xaxis_transform(), zorder=4)


def _draw_guides(axes: Axes, guides: Mapping[str, float]) -> list[Annotation]:
    """Dashed lines, each named at its right end outside of the panel, where no data is."""
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    names = []
    for text, y in sorted(guides.items(), key=lambda guide: guide[1]):
        axes.axhline(y, **GUIDE_LINE)
        names.append(axes.annotate(text, (1, y), (3, 0), fontsize=7.5, color=MUTED, **beside))
    return names


def _spread_names(names: Sequence[Annotation], pixels_per_inch: float) -> None:
    """Move names that stand over the one below them up."""
    for below, name in pairwise(names):
        overlap_pixels = below.get_window_extent().y1 - name.get_window_extent().y0
        if overlap_pixels > 0:
            x, y = name.xyann
            name.xyann = (x, y + overlap_pixels * POINTS_PER_INCH / pixels_per_inch)
