"""Draws a quantity of cells over batch sizes: a panel a model, a line a device."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from trainbench.figures.axes import axis_label, is_wide, linear_y, log_axis, say_empty
from trainbench.figures.bars import Bar, Room, bar_of, draw_bars, goes_on_note
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import Entry
from trainbench.figures.legends import device_entry
from trainbench.figures.looks import Look
from trainbench.figures.notes import MOST_DOTS
from trainbench.figures.panels import MOST_MODELS, PANEL_INCHES, panel_title, panels, settle_layout, shown_note
from trainbench.figures.style import GUIDE_LINE, MUTED
from trainbench.figures.text_fitting import POINTS_PER_INCH
from trainbench.figures.value_labels import Point, write_values
from trainbench.results.columns import CELL_KEY, CellKey
from trainbench.results.executors import Executor
from trainbench.results.tables import batch_sizes_of, models_of
from trainbench.words.wording import format_number, status_words

MOST_LABELLED_DEVICES: Final = 3
NAME_CHARACTERS: Final = 12
NAME_INCHES_PER_CHARACTER: Final = 0.085
MOST_WIDTH_INCHES: Final = 12.0


@dataclass(frozen=True)
class Guide:
    """A horizontal line that the values are read against."""

    y: float
    text: str


@dataclass(frozen=True)
class Value:
    """What is shown of one cell, None where unknown; what checks flagged is drawn hollow.

    `bar` has the ends of its bar; `runs` are those without flags and `flagged_runs` those with; `flagged` tells whether
    the value rests on such runs.
    """

    value: float | None
    bar: Bar = ()
    runs: Sequence[float] = ()
    flagged_runs: Sequence[float] = ()
    flagged: bool = False

    @property
    def places(self) -> list[float]:
        """Where something of it stands, its bar apart."""
        return [] if self.value is None else [self.value, *self.runs, *self.flagged_runs]


UNKNOWN: Final = Value(None)


@dataclass(frozen=True)
class Subject:
    """What such a figure is about: its words, the value of a cell, its devices and the y axis."""

    title: str
    note: str
    y_label: str
    value: Callable[[CellKey], Value]
    executors: Sequence[Executor]
    scale_y: Callable[[Axes, Sequence[float]], None]
    logarithmic: bool
    label: Callable[[float], str] = lambda value: format_number(value, significant=3)
    guides: Sequence[Guide] = ()

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
    """The values of a device in one panel: where they stand, and how they are drawn."""

    xs: Sequence[float]
    values: Sequence[Value]
    look: Look
    name: str


def over_measured(
    study: DrawnStudy, metric: str, *, title: str, note: str, y_label: str, guides: Sequence[Guide] = ()
) -> Figure:
    """The figure of a metric of cells and runs.

    Its axis is logarithmic where ratios matter, and can be: a run of which nothing was seen has no place on such a one.
    """
    cells, runs = study.tables["cells"], study.tables["runs"]
    means = cells[metric if metric in cells else f"{metric}_mean"]
    logarithmic = is_wide([*means, *(guide.y for guide in guides)]) and not (runs[metric] <= 0).any()
    return over_batch_sizes(
        study,
        Subject(
            title=title,
            note=note,
            y_label=axis_label(y_label, logarithmic=logarithmic),
            value=_measured(study, metric),
            executors=study.executors,
            scale_y=_log_y if logarithmic else linear_y,
            logarithmic=logarithmic,
            guides=guides,
        ),
    )


def _measured(study: DrawnStudy, metric: str) -> Callable[[CellKey], Value]:
    """What cells and runs hold of one metric, by cell."""
    known = study.tables["runs"].dropna(subset=[metric])
    runs, flagged_runs = (
        {key: values.tolist() for key, values in shown.groupby(list(CELL_KEY), sort=False)[metric]}
        for shown in (known[known["flags"] == ""], known[known["flags"] != ""])
    )

    def value(key: CellKey) -> Value:
        cell = study.cells.get(key)
        if cell is None:
            return UNKNOWN
        if metric in cell:
            mean, bar = cell[metric], bar_of(cell, metric)
        else:
            # A share: one standard deviation to both sides of its mean.
            mean, sd = cell[f"{metric}_mean"], cell[f"{metric}_sd"]
            bar = () if sd is None else (mean - sd, mean + sd)
        return Value(mean, bar, runs.get(key, ()), flagged_runs.get(key, ()), flagged=bool(cell["flagged_runs"]))

    return value


def _log_y(axes: Axes, values: Sequence[float]) -> None:
    log_axis(axes, "y", np.asarray(values), margin=1.4)


def over_batch_sizes(study: DrawnStudy, subject: Subject) -> Figure:
    """The figure of a subject."""
    cells = study.tables["cells"]
    all_models, sizes = models_of(cells, study.order), batch_sizes_of(cells, study.order)
    models = all_models[:MOST_MODELS]
    lines = {model: list(_lines(study, subject, model, sizes)) for model in models}
    rooms = {model: _room(of_model, subject) for model, of_model in lines.items()}
    ends = [
        (rooms[model], end)
        for model, of_model in lines.items()
        for line in of_model
        for value in line.values
        for end in value.bar
    ]
    guide_inches = max((len(guide.text) for guide in subject.guides), default=0) * 0.07
    panel_width = max(PANEL_INCHES, 0.9 + len(sizes) * max(0.45, 0.06 * len(subject.executors))) + guide_inches
    figure, made = panels(
        of_group=len(models),
        columns=min(3, len(models), int(MOST_WIDTH_INCHES // panel_width)) or 1,
        panel_size=(panel_width, 2.7),
        header=(subject.title, subject.note + goes_on_note(ends) + shown_note(("models", models, all_models))),
        legend=[
            *(device_entry(executor, study.look(executor)) for executor in subject.executors),
            *_failure_entries(study, subject),
        ],
        labels=("Batch size", subject.y_label),
    )
    names_inches = max(len(executor.label) for executor in subject.executors) * NAME_INCHES_PER_CHARACTER
    # In units of the x axis; half a unit stands free beside the last batch size anyway.
    name_room = max(0.0, names_inches * len(sizes) / 2.0 - 0.3) if subject.named else 0.0
    points: list[list[Point]] = []
    guides: list[list[Annotation]] = []
    for axes, model in zip(made, models, strict=True):
        axes.set_title(panel_title(model, panel_width))
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlim(-0.6, len(sizes) - 0.4 + name_room)
        axes.grid(visible=False, axis="x")
        points.append(_draw_lines(axes, lines[model], subject, rooms[model]))
        failures = [
            (x, line.look)
            for line, executor in zip(lines[model], subject.executors, strict=True)
            for x, size in zip(line.xs, sizes, strict=True)
            if study.has_failed((model, size, executor.device, executor.host))
        ]
        if not points[-1]:
            say_empty(axes, "no completed run" if failures else "not measured", keep_x=True)
        _mark_failures(axes, failures)
        if points[-1]:
            for line in lines[model]:
                bars = [(x, value.bar) for x, value in zip(line.xs, line.values, strict=True)]
                draw_bars(axes, bars, rooms[model], line.look.color)
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
        yield _Line(
            xs=[position + (index - (count - 1) / 2) * step for position in range(len(sizes))],
            values=[subject.value((model, size, executor.device, executor.host)) for size in sizes],
            look=study.look(executor),
            name=executor.label,
        )


def _room(lines: Sequence[_Line], subject: Subject) -> Room:
    places = [place for line in lines for value in line.values for place in value.places]
    guides = [guide.y for guide in subject.guides] if places else []
    return Room.around([*places, *guides], logarithmic=subject.logarithmic)


def _draw_lines(axes: Axes, lines: Sequence[_Line], subject: Subject, room: Room) -> list[Point]:
    """The lines of a panel and the y axis over them; the values and the names of several devices to be written."""
    points: list[Point] = []
    names: list[Point] = []
    for line in lines:
        _draw_values(axes, line)
        _draw_runs(axes, line)
        own: list[Point] = []
        for x, value in zip(line.xs, line.values, strict=True):
            if value.value is not None:
                here = [*value.places, *(end for end in value.bar if room.holds(end))]
                reach = (min(here), max(here))
                own.append(Point(x, value.value, subject.label(value.value), line.look.color, reach))
        points += own
        if own and subject.named:
            names.append(replace(own[-1], text=line.name, is_name=True))
    if points:
        extremes = [end for point in points for end in point.reach]
        subject.scale_y(axes, [*(guide.y for guide in subject.guides), *extremes])
    return [*points, *names]


def _draw_values(axes: Axes, line: _Line) -> None:
    """A line through the values; what is unknown leaves a gap, what is flagged is hollow."""
    ys = [math.nan if value.value is None else value.value for value in line.values]
    flagged = [y if value.flagged else math.nan for y, value in zip(ys, line.values, strict=True)]
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.0, "markersize": 5.0}
    axes.plot(line.xs, ys, markeredgecolor="white", markeredgewidth=0.4, zorder=3, **line.look.of_line)
    axes.plot(line.xs, flagged, zorder=3.5, **hollow, **replace(line.look, line_style="none").of_line)


def _draw_runs(axes: Axes, line: _Line) -> None:
    """A faint dot for each run of the cells that have several, and not so many that dots are a bar themselves."""
    for flagged, face, edge_points in ((False, line.look.color, 1.0), (True, "white", 0.7)):
        dots = [
            (x, run)
            for x, value in zip(line.xs, line.values, strict=True)
            if 1 < len(value.runs) + len(value.flagged_runs) <= MOST_DOTS
            for run in (value.flagged_runs if flagged else value.runs)
        ]
        if dots:
            look: dict[str, Any] = {"color": line.look.color, "markerfacecolor": face, "markeredgewidth": edge_points}
            axes.plot(*zip(*dots, strict=True), ".", alpha=0.4, markersize=5, **look)


def _mark_failures(axes: Axes, failures: Sequence[tuple[float, Look]]) -> None:
    """A cross at the foot of the panel for each cell without a completed run."""
    if failures and axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.12, high)  # room for the crosses, below all values
    for x, look in failures:
        foot = axes.get_xaxis_transform()
        axes.plot([x], [0.05], "x", color=look.color, markeredgewidth=1.6, transform=foot, zorder=4)


def _failure_entries(study: DrawnStudy, subject: Subject) -> list[Entry]:
    """What a cross means, if there is one."""
    shown = {(executor.device, executor.host) for executor in subject.executors}
    statuses = {
        status_words(cell["status"])
        for key, cell in study.cells.items()
        if study.has_failed(key) and (cell["device"], cell["host"]) in shown
    }
    cross = Line2D([], [], color=MUTED, marker="x", linestyle="none", markeredgewidth=1.6)
    return [(cross, ", ".join(sorted(statuses)))] if statuses else []


def _draw_guides(axes: Axes, guides: Sequence[Guide]) -> list[Annotation]:
    """Dashed lines, each named at its right end outside of the panel, where no data is."""
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    names = []
    for guide in sorted(guides, key=lambda guide: guide.y):
        axes.axhline(guide.y, **GUIDE_LINE)
        names.append(axes.annotate(guide.text, (1, guide.y), (3, 0), fontsize=7.5, color=MUTED, **beside))
    return names


def _spread_names(names: Sequence[Annotation], pixels_per_inch: float) -> None:
    """Move names that stand over the one below them up."""
    for below, name in pairwise(names):
        overlap_pixels = below.get_window_extent().y1 - name.get_window_extent().y0
        if overlap_pixels > 0:
            x, y = name.xyann
            name.xyann = (x, y + overlap_pixels * POINTS_PER_INCH / pixels_per_inch)
