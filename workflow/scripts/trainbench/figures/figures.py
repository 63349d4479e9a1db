"""Draws the tables as figures, in one style and with one colour a device."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from trainbench.conclusions import all_tables
from trainbench.conclusions.scaling import Usl
from trainbench.conclusions.scaling_series import GPUS, THREADS, Axis
from trainbench.conclusions.tables.roofline import OVERHEAD_BELOW
from trainbench.figures.drawing import (
    MARKERS,
    MUTED,
    ROUND_STEPS,
    Header,
    LineStyle,
    Look,
    Room,
    device_looks,
    draw_bars,
    fitting,
    fitting_columns,
    legend_text,
    linear_y,
    log_axis,
    looks_of_hosts,
    plain,
    say_empty,
    styled,
    wrapped,
)
from trainbench.results.columns import CELL_KEY, CellKey, Row
from trainbench.results.executors import Executor, executors_of
from trainbench.results.tables import TableOrder, batch_sizes_of, cells_by_key, models_of, rows_of
from trainbench.words.wording import TIMES, format_number, format_ratio, status_words

LOG_SCALE_FROM_RATIO: Final = 5.0
LOG_TIME_FROM_RATIO: Final = 20.0
MOST_LABELLED_DEVICES: Final = 3
MOST_RUNS_OF_PANEL: Final = 12
MOST_POINTS_OF_LINE: Final = 120
MOST_PANELS: Final = 24
MOST_DOTS: Final = 20
MOST_MODELS: Final = 12
MOST_COLUMNS: Final = 4
MOST_LABELLED_POINTS: Final = 60
BEYOND_THREADS: Final = 2.0
GOES_ON_NOTE: Final = " Arrow: the bar goes on."
IDEAL_LINE: Final = (0, (5, 3))
ROOFLINE_INCHES: Final = (8.4, 4.8)
FLOP_PER_GFLOP: Final = 1e9
BYTES_PER_GIGABYTE: Final = 1e9

PANEL_INCHES: Final = 2.9
PANEL_MARGIN_INCHES: Final = 0.6
PANEL_TITLE_POINTS: Final = 10
NOTE_CHARACTERS_OF_PANEL: Final = 40
GUIDE_CHARACTERS: Final = 12
NAME_CHARACTERS: Final = 12
NAME_INCHES_PER_CHARACTER: Final = 0.085
CLEARANCE_PIXELS: Final = 4
TEXTS_APART_PIXELS: Final = 2
VALUE_POINTS: Final = 7.5
LINE_POINTS: Final = 10.0
MOST_LINES_BEYOND: Final = 2
LEAST_WIDTH_INCHES: Final = 5.4
MOST_WIDTH_INCHES: Final = 12.0

POINTS_PER_INCH: Final = 72

# Where a value may stand beside its marker: points to the right and up, and which of its sides is put there.
Place = tuple[float, float, Literal["left", "center", "right"], Literal["bottom", "center", "top"]]
VALUE_PLACES: Final[Sequence[Place]] = (
    (0, 5, "center", "bottom"),
    (0, -5, "center", "top"),
    (4, 3, "left", "bottom"),
    (-4, -3, "right", "top"),
    (4, -3, "left", "top"),
    (-4, 3, "right", "bottom"),
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
)
NAME_PLACES: Final[Sequence[Place]] = ((7, 0, "left", "center"), (7, 5, "left", "center"), (7, -5, "left", "center"))


@dataclass(frozen=True)
class Tables:
    """The tables that figures are drawn from."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    cells: pd.DataFrame
    speedups: pd.DataFrame
    scaling: pd.DataFrame
    scaling_fits: pd.DataFrame
    gpu_scaling: pd.DataFrame
    roofline: pd.DataFrame


def read_tables(folder: Path) -> Tables:
    """The tables in a folder."""
    return Tables(**all_tables.read_tables(folder, [each.name for each in fields(Tables)]))


@dataclass(frozen=True)
class _Guide:
    """A horizontal line that the values are read against."""

    y: float
    text: str


@dataclass(frozen=True)
class _Value:
    """What a figure over batch sizes shows of one cell, None where unknown; what checks flagged is drawn hollow.

    `low` and `high` are the ends of its bar; `runs` are those without flags and `flagged_runs` those with; `flagged`
    tells whether the value rests on such runs.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    runs: Sequence[float] = ()
    flagged_runs: Sequence[float] = ()
    flagged: bool = False

    @property
    def ends(self) -> tuple[float, float] | tuple[()]:
        """The ends of its bar, if it has one."""
        return () if self.value is None or self.low is None or self.high is None else (self.low, self.high)

    @property
    def places(self) -> list[float]:
        """Where something of it stands, its bar apart."""
        return [] if self.value is None else [self.value, *self.runs, *self.flagged_runs]


@dataclass(frozen=True)
class _PanelValues:
    """What a panel over batch sizes shows: the values of each device, and how far their bars are drawn."""

    by_executor: Sequence[Sequence[_Value]]
    room: Room

    @property
    def ends(self) -> list[float]:
        """The ends of all bars."""
        return [end for of_executor in self.by_executor for value in of_executor for end in value.ends]


@dataclass(frozen=True)
class _Subject:
    """What a figure over batch sizes is about: its words, devices, the value of a cell and the y axis."""

    title: str
    note: str
    y_label: str
    executors: Sequence[Executor]
    value: Callable[[CellKey], _Value]
    label: Callable[[float], str]
    scale_y: Callable[[Axes, Sequence[float]], None]
    logarithmic: bool
    guides: Sequence[_Guide] = ()

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
    """The accuracies of one run, or of a cell from its lowest run to its highest, in percent, over the x axis."""

    xs: np.ndarray
    percents: np.ndarray
    lows: np.ndarray
    highs: np.ndarray


@dataclass(frozen=True)
class _Point:
    """The value of a cell as drawn, and the text that goes beside it where there is room: its value, or a name."""

    x: float
    y: float
    text: str
    color: str
    reach: tuple[float, float]
    """From the lowest to the highest of what is drawn there."""
    is_name: bool = False


@dataclass(frozen=True)
class _Roof:
    """The most that a device of a host was seen to do."""

    flop_per_second: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """FLOP a byte from which on arithmetic is the lower roof."""
        return self.flop_per_second / self.bytes_per_second

    def at(self, flop_per_byte: np.ndarray) -> np.ndarray:
        """FLOP a second that can be attained at these intensities."""
        return np.minimum(self.flop_per_second, flop_per_byte * self.bytes_per_second)


@styled
def seconds_per_epoch(tables: Tables, order: TableOrder) -> Figure:
    """Training seconds of a steady epoch over batch sizes, a panel a model."""
    value = _measured(tables, "train_seconds_per_epoch")
    logarithmic = _ratio(tables.cells["train_seconds_per_epoch"]) > LOG_SCALE_FROM_RATIO
    first_only = bool(tables.cells["first_epoch_only"].fillna(value=False).any())
    epoch_note = "Runs of one epoch show that first epoch." if first_only else "The first epoch is left out."
    return _over_batch_sizes(
        tables,
        order,
        _Subject(
            title="Seconds to train one epoch: lower is faster",
            note=f"{_interval_note(tables)} {epoch_note}",
            y_label=_axis_label("Seconds an epoch", logarithmic=logarithmic),
            executors=executors_of(tables.cells, order),
            value=value,
            label=lambda seconds: format_number(seconds, significant=3),
            scale_y=_log_y if logarithmic else linear_y,
            logarithmic=logarithmic,
        ),
    )


@styled
def cpu_percent(tables: Tables, order: TableOrder) -> Figure:
    """CPU use while training over batch sizes, a panel a model, against one core and all threads."""
    threads = sorted({int(count) for count in tables.cells["usable_threads"].dropna()})
    guides = [_Guide(100.0 * count, f"all {count} threads") for count in threads if count > 1]
    guides.insert(0, _Guide(100.0, "one core"))
    means = [*tables.cells["cpu_percent_mean"], *(guide.y for guide in guides)]
    # A run that used no CPU, as far as anybody saw, has no place on a logarithmic axis.
    logarithmic = _ratio(means) > LOG_SCALE_FROM_RATIO and not (tables.runs["cpu_percent"] <= 0).any()
    return _over_batch_sizes(
        tables,
        order,
        _Subject(
            title="CPU use while training: 100 % is one core busy",
            note=_spread_note(tables),
            y_label=_axis_label("CPU (% of one core)", logarithmic=logarithmic),
            executors=executors_of(tables.cells, order),
            value=_measured(tables, "cpu_percent"),
            label=lambda percent: format_number(percent, significant=3),
            scale_y=_log_y if logarithmic else linear_y,
            logarithmic=logarithmic,
            guides=guides,
        ),
    )


@styled
def speedup(tables: Tables, order: TableOrder) -> Figure:
    """How many times faster each device trains than the reference device, a panel a model."""
    by_key = cells_by_key(tables.speedups)
    references = {(row["reference_device"], row["reference_host"]) for row in by_key.values()}
    executors = executors_of(tables.cells, order)
    # With nothing but references there is nothing else to show than these.
    others = [executor for executor in executors if (executor.device, executor.host) not in references] or executors
    names = [executor.label for executor in executors if (executor.device, executor.host) in references]
    devices = {device for device, _ in references}
    reference = names[0] if len(names) == 1 else devices.pop() if len(devices) == 1 else "the reference device"

    def ratio(key: CellKey) -> _Value:
        row = by_key.get(key)
        if row is None:
            return _Value(None)
        flagged = bool(row["flagged_runs"] or row["reference_flagged_runs"])
        return _Value(row["speedup"], row["speedup_low"], row["speedup_high"], flagged=flagged)

    return _over_batch_sizes(
        tables,
        order,
        _Subject(
            title=f"How many times faster than {reference} each device trains",
            note=f"Ratio of the seconds an epoch{_bars_note(tables)}" + _flagged_note(tables, "a run of either cell"),
            y_label="Speedup (times, log scale)",
            executors=others,
            value=ratio,
            label=format_ratio,
            scale_y=_log2_y,
            logarithmic=True,
            guides=[_Guide(1.0, reference if len(reference) <= GUIDE_CHARACTERS else "as fast")],
        ),
    )


@styled
def accuracy_over_epochs(tables: Tables, order: TableOrder) -> Figure:
    """Accuracy on the test images after each epoch, a panel for each model and batch size, a line a run."""
    return _accuracy(tables, order, "Accuracy after each epoch", x_column="epoch", x_label="Epoch")


@styled
def accuracy_over_time(tables: Tables, order: TableOrder) -> Figure:
    """Accuracy on the test images over training time, a panel for each model and batch size, a line a run."""
    longest = tables.epochs.groupby(list(CELL_KEY), sort=False)["elapsed_seconds"].max()
    in_panel = longest.groupby(["model", "batch_size"], sort=False)
    log_x = bool((in_panel.max() > in_panel.min() * LOG_TIME_FROM_RATIO).any())
    return _accuracy(
        tables,
        order,
        "Accuracy over training time: further left is sooner",
        x_column="elapsed_seconds",
        x_label=_axis_label("Training time (s)", logarithmic=log_x),
        log_x=log_x,
    )


@styled
def scaling(tables: Tables, order: TableOrder) -> Figure:
    """Throughput of a CPU over its threads with the fitted law, against GPUs; a panel for each model and batch size."""
    fits, looks = tables.scaling_fits, _looks(tables, order)
    shown = _shown(fits, order)
    models, batch_sizes = shown.models or [""], shown.batch_sizes or [0]
    executors = executors_of(tables.cells, order)
    gpus = [executor for executor in executors if _is_gpu(tables, executor)]
    points, levels = rows_of(tables.scaling), cells_by_key(tables.cells)
    labels = {(executor.device, executor.host): executor.label for executor in executors}
    rooms = _rooms_of_scaled(points)
    cpus = [executor for executor in executors if executor not in gpus] if points else []
    # A law has the colour of the device with the most threads.
    law_looks = {
        _law_of(row): looks[labels[row["device"], row["host"]]]
        for row in sorted(points, key=lambda row: row["threads"])
    }
    figure, groups = _panels(
        groups=len(models),
        panels_of_group=len(batch_sizes),
        columns=_balanced_columns(len(batch_sizes)),
        panel_size=(PANEL_INCHES, 2.3),
        header=(
            "Samples a second over threads: does the CPU get faster with more?",
            "Geometric mean of the runs with its 95 % interval."
            + (
                " Curve: the Universal Scalability Law fitted to them, dotted beyond the measured threads."
                if fits["gamma"].notna().any()
                else " Three numbers of threads or more are fitted by the Universal Scalability Law."
            )
            + (" Level lines are GPUs." if gpus else "")
            + _goes_on_note(points, rooms)
            + shown.note,
        ),
        legend=_scaling_entries(cpus, gpus, looks) or _legend_entries(looks, executors),
        labels=("Threads (log scale)", "Samples a second, log scale"),
    )
    for model, panels in zip(models, groups, strict=True):
        for axes, size in zip(panels, batch_sizes, strict=True):
            if fits.empty:
                say_empty(axes, "no CPU was measured with several numbers of threads")
                continue
            axes.set_title(_panel_title(f"{model}, batch size {size}"))
            here = [row for row in points if (row["model"], row["batch_size"]) == (model, size)]
            laws = [row for row in rows_of(fits) if (row["model"], row["batch_size"]) == (model, size)]
            of_gpus = {
                gpu.label: levels[model, size, gpu.device, gpu.host]["samples_per_second"]
                for gpu in gpus
                if (model, size, gpu.device, gpu.host) in levels
            }
            known = {label: level for label, level in of_gpus.items() if level is not None}
            if not here:
                say_empty(axes, "not measured")
                continue
            room = rooms[model, size]
            _scale_scaling(axes, THREADS, here, list(known.values()), room)
            for label, level in known.items():
                axes.axhline(level, color=looks[label].color, linewidth=1.2, zorder=1.5)
            for row in laws:
                _draw_law(axes, row, law_looks[_law_of(row)])
            for executor in cpus:
                of_executor = [row for row in here if (row["device"], row["host"]) == (executor.device, executor.host)]
                _draw_scaled(axes, THREADS, of_executor, looks[executor.label], room)
    return figure


@styled
def gpu_scaling(tables: Tables, order: TableOrder) -> Figure:
    """Throughput over the GPUs of a run against twice as fast with twice as many; a panel for each cell's place.

    Devices that differ in their number of GPUs alone are one curve, in the colour of the one with the fewest as long as
    that tells it from the others.
    """
    points = rows_of(tables.gpu_scaling)
    shown = _shown(tables.gpu_scaling, order)
    models, batch_sizes = shown.models or [""], shown.batch_sizes or [0]
    curves = _gpu_curves(points, executors_of(tables.cells, order))
    looks = _curve_looks(curves, _looks(tables, order))
    rooms = _rooms_of_scaled(points)
    figure, groups = _panels(
        groups=len(models),
        panels_of_group=len(batch_sizes),
        columns=_balanced_columns(len(batch_sizes)),
        panel_size=(PANEL_INCHES, 2.3),
        header=(
            "Samples a second over the GPUs of a run: what do more of them gain?",
            "Geometric mean of the runs with its 95 % interval. Dashed: twice as fast with twice the GPUs, from the "
            "fewest measured on. The batch size is that of all GPUs together."
            + _goes_on_note(points, rooms)
            + shown.note,
        ),
        legend=_gpu_entries(curves, looks),
        labels=("GPUs (log scale)", "Samples a second, log scale"),
    )
    for model, panels in zip(models, groups, strict=True):
        for axes, size in zip(panels, batch_sizes, strict=True):
            if not points:
                say_empty(axes, "no GPU was measured in several numbers")
                continue
            axes.set_title(_panel_title(f"{model}, batch size {size}"))
            here = [row for row in points if (row["model"], row["batch_size"]) == (model, size)]
            if not here:
                say_empty(axes, "not measured")
                continue
            members = {key: [row for row in here if _curve_of(row) == key] for key in curves}
            ideals = [_ideal(rows) for rows in members.values() if rows]
            room = rooms[model, size]
            _scale_scaling(axes, GPUS, here, [speed for _, speeds in ideals for speed in speeds], room)
            for counts, speeds in ideals:
                axes.plot(counts, speeds, color=MUTED, linestyle=IDEAL_LINE, linewidth=1.0, zorder=1.5)
            for key, devices in curves.items():
                _draw_scaled(axes, GPUS, members[key], looks[devices[0].label], room, line_style="-")
    return figure


def _gpu_curves(points: Sequence[Row], executors: Sequence[Executor]) -> dict[tuple[object, ...], list[Executor]]:
    """The devices of each curve, from the fewest GPUs to the most, by what they have in common."""
    by_place = {(executor.device, executor.host): executor for executor in executors}
    curves: dict[tuple[object, ...], list[Executor]] = {}
    for row in sorted(points, key=lambda row: row["gpus"]):
        devices = curves.setdefault(_curve_of(row), [])
        if by_place[row["device"], row["host"]] not in devices:
            devices.append(by_place[row["device"], row["host"]])
    return curves


def _curve_looks(curves: Mapping[tuple[object, ...], Sequence[Executor]], looks: Mapping[str, Look]) -> dict[str, Look]:
    """How each curve is drawn, by its first device: as that one where these differ, else in colours of its own."""
    firsts = [devices[0].label for devices in curves.values()]
    distinct = len({looks[first].color for first in firsts}) == len(firsts)
    return {first: looks[first] for first in firsts} if distinct else device_looks(firsts)


def _curve_of(row: Row) -> tuple[object, ...]:
    return tuple(row[column] for column in GPUS.key if column not in {"model", "batch_size"})


def _gpu_entries(
    curves: Mapping[tuple[object, ...], Sequence[Executor]], looks: Mapping[str, Look]
) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = []
    for first, *_, last in curves.values():
        look = looks[first.label]
        name = f"{first.label} to {last.label}" + (f": {first.detail}" if first.detail else "")
        handle = Line2D([], [], color=look.color, marker=look.marker, markeredgecolor="white")
        entries.append((handle, legend_text(name)))
    ideal = Line2D([], [], color=MUTED, linestyle=IDEAL_LINE, linewidth=1.0)
    return [*entries, (ideal, "twice as fast with twice the GPUs")]


def _ideal(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """The fewest and the most GPUs of a curve, and throughputs in proportion to the fewest's."""
    reference = next(row for row in rows if row["device"] == row["reference_device"])
    counts = [reference["gpus"], max(row["gpus"] for row in rows)]
    return counts, [reference["samples_per_second"] * count / reference["gpus"] for count in counts]


def _law_of(row: Row) -> tuple[object, ...]:
    """Whose law of scaling a row of measurements or fits belongs to."""
    return row["host"], row["framework"], row["precision"], row["environment"]


def _is_gpu(tables: Tables, executor: Executor) -> bool:
    of_executor = (tables.cells["device"] == executor.device) & (tables.cells["host"] == executor.host)
    return bool((tables.cells.loc[of_executor, "device_kind"] == "gpu").any())


def _scaling_entries(
    cpus: Sequence[Executor], gpus: Sequence[Executor], looks: Mapping[str, Look]
) -> list[tuple[Artist, str]]:
    """Markers of CPUs, lines of GPUs."""
    entries: list[tuple[Artist, str]] = []
    for executor in (*cpus, *gpus):
        look = looks[executor.label]
        is_cpu = executor in cpus
        handle = Line2D(
            [],
            [],
            color=look.color,
            marker=look.marker if is_cpu else "none",
            linestyle="none" if is_cpu else "-",
            markeredgecolor="white",
        )
        entries.append((handle, legend_text(_full_name(executor))))
    return entries


def _rooms_of_scaled(points: Sequence[Row]) -> dict[tuple[str, int], Room]:
    """How far bars are drawn in the panel of each model and batch size."""
    speeds: dict[tuple[str, int], list[float]] = {}
    for row in points:
        speeds.setdefault((row["model"], row["batch_size"]), []).append(row["samples_per_second"])
    return {panel: Room.around(of_panel, logarithmic=True) for panel, of_panel in speeds.items()}


def _goes_on_note(points: Sequence[Row], rooms: Mapping[tuple[str, int], Room]) -> str:
    """What arrows are, if there are any."""
    goes_on = any(not rooms[row["model"], row["batch_size"]].holds(end) for row in points for end in _bar_of(row))
    return GOES_ON_NOTE if goes_on else ""


def _bar_of(row: Row) -> tuple[float, float] | tuple[()]:
    low, high = row["samples_per_second_low"], row["samples_per_second_high"]
    return () if low is None or high is None else (low, high)


def _scale_scaling(axes: Axes, axis: Axis, points: Sequence[Row], levels: Sequence[float], room: Room) -> None:
    """Axes over threads or GPUs, named where they were measured, and over samples a second."""
    counts = sorted({row[axis.column] for row in points})
    axes.set_xscale("log", base=2)
    axes.set_xlim(counts[0] / BEYOND_THREADS**0.25, counts[-1] * (BEYOND_THREADS if axis is THREADS else 1.25))
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: plain(count)))
    speeds = [row["samples_per_second"] for row in points]
    ends = [end for row in points for end in _bar_of(row) if room.holds(end)]
    log_axis(axes, "y", np.array([*speeds, *ends, *levels]), margin=1.3)


def _draw_law(axes: Axes, fit: Row, look: Look) -> None:
    """The fitted law, whole over the measured threads and dashed beyond them; nothing where there is no fit."""
    if fit["gamma"] is None:
        return
    law = Usl(fit["gamma"], fit["contention"], fit["coherency"], fit["fewest_threads"], fit["most_threads"])
    most = fit["most_threads"]
    spans: Sequence[tuple[float, float, LineStyle]] = (
        (fit["fewest_threads"], most, "-"),
        (most, most * BEYOND_THREADS, ":"),
    )
    for begin, end, line_style in spans:
        threads = np.geomspace(begin, end, 60)
        speeds = [law.throughput(count) for count in threads]
        axes.plot(threads, speeds, color=look.color, linestyle=line_style, linewidth=1.0, zorder=2)


def _draw_scaled(
    axes: Axes,
    axis: Axis,
    points: Sequence[Row],
    look: Look,
    room: Room,
    *,
    line_style: LineStyle | Literal["none"] = "none",
) -> None:
    """A marker for each number of threads or GPUs, with its interval."""
    axes.plot(
        [row[axis.column] for row in points],
        [row["samples_per_second"] for row in points],
        color=look.color,
        marker=look.marker,
        linestyle=line_style,
        linewidth=1.0,
        markeredgecolor="white",
        markeredgewidth=0.4,
        zorder=3,
    )
    draw_bars(axes, [(row[axis.column], *_bar_of(row)) for row in points if _bar_of(row)], room, look.color)


@styled
def roofline(tables: Tables, order: TableOrder) -> Figure:
    """FLOP a second that each cell achieves over its arithmetic intensity, below the roofs of its device."""
    cells, by_key, looks = tables.roofline, cells_by_key(tables.cells), _looks(tables, order)
    executors, models = executors_of(cells, order), models_of(cells, order)
    roofs = {executor.label: _roof(cells, executor) for executor in executors}
    markers = {model: MARKERS[index % len(MARKERS)] for index, model in enumerate(models)}
    figure, [[axes]] = _panels(
        groups=1,
        panels_of_group=1,
        columns=1,
        panel_size=ROOFLINE_INCHES,
        header=(
            "How well each device is used: a marker on its line uses it fully",
            "Line: the most that the device was seen to do, limited by memory where it rises and by arithmetic where "
            "it is flat. Marker: mean of a cell's runs, the batch size beside it where there is room. Below "
            f"{100 * OVERHEAD_BELOW:g} % of its line neither explains the time: starting many small operations "
            "does, or other programs do." + _flagged_note(tables, "a run"),
        ),
        legend=_roof_entries(looks, roofs),
        labels=("Arithmetic intensity (FLOP a byte, log scale)", "Achieved (GFLOP/s, log scale)"),
    )
    known = cells.dropna(subset=["achieved_flop_per_second", "flop_per_byte"])
    known_roofs = [roof for roof in roofs.values() if roof is not None]
    if known.empty or not known_roofs:
        say_empty(axes, "no completed run" if known.empty else "no run knows what its device can do at most")
        return figure
    intensities = np.array([*known["flop_per_byte"], *(roof.ridge for roof in known_roofs)])
    speeds = np.array([*known["achieved_flop_per_second"], *(roof.flop_per_second for roof in known_roofs)])
    log_axis(axes, "x", intensities, margin=2.0)
    log_axis(axes, "y", speeds / FLOP_PER_GFLOP, margin=1.8)
    _name_models(axes, markers)
    points: list[_Point] = []
    for executor in executors:
        look = looks[executor.label]
        _draw_roof(axes, roofs[executor.label], look)
        of_executor = known[(known["device"] == executor.device) & (known["host"] == executor.host)]
        # Joined from the smallest batch to the largest, in whatever order the config names them.
        of_executor = of_executor.sort_values("batch_size")
        for model, of_model in of_executor.groupby("model", sort=False):
            flagged = [
                bool(by_key[str(model), size, executor.device, executor.host]["flagged_runs"])
                for size in of_model["batch_size"].tolist()
            ]
            points += _draw_cells(axes, of_model, flagged, look.color, markers[str(model)])
    _settle_layout(figure)
    if len(points) <= MOST_LABELLED_POINTS:
        _write_values(axes, points)
    return figure


# Every figure by the name of its file.
FIGURES: Final[Mapping[str, Callable[[Tables, TableOrder], Figure]]] = {
    "seconds_per_epoch": seconds_per_epoch,
    "speedup": speedup,
    "scaling": scaling,
    "gpu_scaling": gpu_scaling,
    "accuracy_over_epochs": accuracy_over_epochs,
    "accuracy_over_time": accuracy_over_time,
    "cpu_percent": cpu_percent,
    "roofline": roofline,
}


def _over_batch_sizes(tables: Tables, order: TableOrder, subject: _Subject) -> Figure:
    """A panel a model, batch sizes on the x axis, a line a device."""
    by_key = cells_by_key(tables.cells)
    looks = _looks(tables, order)
    all_models, batch_sizes = models_of(tables.cells, order), batch_sizes_of(tables.cells, order)
    models = all_models[:MOST_MODELS]
    left_out = f" Shown: {len(models)} of {len(all_models)} models." if len(models) < len(all_models) else ""
    values = {model: _panel_values(model, batch_sizes, subject) for model in models}
    goes_on = any(not of_model.room.holds(end) for of_model in values.values() for end in of_model.ends)
    count = len(subject.executors)
    # Devices stand side by side at each batch size, so that their error bars do not cover each other.
    step = min(0.1, 0.7 / count)
    guide_inches = max((len(guide.text) for guide in subject.guides), default=0) * 0.07
    panel_width = max(PANEL_INCHES, 0.9 + len(batch_sizes) * max(0.45, 0.06 * count)) + guide_inches
    figure, [panels] = _panels(
        groups=1,
        panels_of_group=len(models),
        columns=min(3, len(models), int(MOST_WIDTH_INCHES // panel_width)) or 1,
        panel_size=(panel_width, 2.7),
        header=(subject.title, subject.note + (GOES_ON_NOTE if goes_on else "") + left_out),
        legend=_legend_entries(looks, subject.executors) + _failure_entries(by_key, subject.executors),
        labels=("Batch size", subject.y_label),
    )
    names_inches = max(len(executor.label) for executor in subject.executors) * NAME_INCHES_PER_CHARACTER
    # In units of the x axis; half a unit stands free beside the last batch size anyway.
    name_room = max(0.0, names_inches * len(batch_sizes) / 2.0 - 0.3) if subject.named else 0.0
    drawn: list[tuple[Axes, list[_Point]]] = []
    names: list[list[Annotation]] = []
    for axes, model in zip(panels, models, strict=True):
        axes.set_title(_panel_title(model, panel_width))
        axes.set_xticks(range(len(batch_sizes)), [str(size) for size in batch_sizes])
        axes.set_xlim(-0.6, len(batch_sizes) - 0.4 + name_room)
        axes.grid(visible=False, axis="x")
        xs = [
            [position + (index - (count - 1) / 2) * step for position in range(len(batch_sizes))]
            for index in range(count)
        ]
        failures = [
            (x, looks[executor.label])
            for executor, of_executor in zip(subject.executors, xs, strict=True)
            for x, size in zip(of_executor, batch_sizes, strict=True)
            if _failed(by_key.get((model, size, executor.device, executor.host)))
        ]
        points = _draw_panel(
            axes, xs, values[model], subject, [looks[executor.label] for executor in subject.executors]
        )
        if not points:
            say_empty(axes, "no completed run" if failures else "not measured", keep_x=True)
        _mark_failures(axes, failures)
        if points:
            for of_executor, at, executor in zip(values[model].by_executor, xs, subject.executors, strict=True):
                bars = [(x, *value.ends) for x, value in zip(at, of_executor, strict=True) if value.ends]
                draw_bars(axes, bars, values[model].room, looks[executor.label].color)
            names.append(_draw_guides(axes, subject.guides))
        drawn.append((axes, points))
    _settle_layout(figure)
    for names_of_panel in names:
        _spread_names(names_of_panel, figure.dpi)
    for axes, points in drawn if subject.labelled else ():
        if not _write_values(axes, points):
            # Some values without the others would look like all that are known.
            for text in [text for text in axes.texts if not text.get_in_layout()]:
                text.remove()
    return figure


def _panel_values(model: str, batch_sizes: Sequence[int], subject: _Subject) -> _PanelValues:
    by_executor = [
        [subject.value((model, size, executor.device, executor.host)) for size in batch_sizes]
        for executor in subject.executors
    ]
    places = [place for of_executor in by_executor for value in of_executor for place in value.places]
    guides = [guide.y for guide in subject.guides] if places else []
    return _PanelValues(by_executor, Room.around([*places, *guides], logarithmic=subject.logarithmic))


def _failed(cell: Row | None) -> bool:
    return cell is not None and not cell["n"]


def _draw_panel(
    axes: Axes, xs: Sequence[Sequence[float]], values: _PanelValues, subject: _Subject, looks: Sequence[Look]
) -> list[_Point]:
    """The values of a model and the y axis over them; the values and the names of several devices to be written."""
    points: list[_Point] = []
    ends: list[_Point] = []
    for executor, at, of_executor, look in zip(subject.executors, xs, values.by_executor, looks, strict=True):
        _draw_values(axes, at, of_executor, look)
        _draw_runs(axes, at, of_executor, look.color)
        own: list[_Point] = []
        for x, value in zip(at, of_executor, strict=True):
            if value.value is not None:
                here = [*value.places, *(end for end in value.ends if values.room.holds(end))]
                own.append(_Point(x, value.value, subject.label(value.value), look.color, (min(here), max(here))))
        points += own
        if own and subject.named:
            ends.append(replace(own[-1], text=executor.label, is_name=True))
    if points:
        extremes = [end for point in points for end in point.reach]
        subject.scale_y(axes, [*(guide.y for guide in subject.guides), *extremes])
    return [*points, *ends]


def _draw_values(axes: Axes, xs: Sequence[float], values: Sequence[_Value], look: Look) -> None:
    """A line through the values; what is unknown leaves a gap."""
    axes.plot(
        xs,
        [math.nan if value.value is None else value.value for value in values],
        color=look.color,
        marker=look.marker,
        linestyle=look.line_style,
        markeredgecolor="white",
        markeredgewidth=0.4,
        zorder=3,
    )
    axes.plot(
        xs,
        [value.value if value.flagged and value.value is not None else math.nan for value in values],
        color=look.color,
        marker=look.marker,
        linestyle="none",
        markerfacecolor="white",
        markeredgewidth=1.0,
        markersize=5.0,
        zorder=3.5,
    )


def _draw_runs(axes: Axes, xs: Sequence[float], values: Sequence[_Value], color: str) -> None:
    """A faint dot for each run of the cells that have several, and not so many that dots are a bar themselves."""
    for flagged, face, edge_points in ((False, color, 1.0), (True, "white", 0.7)):
        dots = [
            (x, run)
            for x, value in zip(xs, values, strict=True)
            if 1 < len(value.runs) + len(value.flagged_runs) <= MOST_DOTS
            for run in (value.flagged_runs if flagged else value.runs)
        ]
        if dots:
            axes.plot(
                *zip(*dots, strict=True),
                ".",
                color=color,
                alpha=0.4,
                markersize=5,
                markerfacecolor=face,
                markeredgewidth=edge_points,
            )


def _mark_failures(axes: Axes, failures: Sequence[tuple[float, Look]]) -> None:
    """A cross at the foot of the panel for each cell without a completed run."""
    if failures and axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.12, high)  # room for the crosses, below all values
    for x, look in failures:
        axes.plot(
            [x],
            [0.05],
            "x",
            color=look.color,
            markeredgewidth=1.6,
            transform=axes.get_xaxis_transform(),
            zorder=4,
        )


def _accuracy(
    tables: Tables, order: TableOrder, title: str, *, x_column: str, x_label: str, log_x: bool = False
) -> Figure:
    """A panel for each model and batch size, a line a run or a cell, accuracy in percent on the y axis."""
    by_key, looks = cells_by_key(tables.cells), _looks(tables, order)
    executors = executors_of(tables.cells, order)
    shown = _shown(tables.cells, order)
    epochs = tables.epochs[
        tables.epochs["model"].isin(shown.models) & tables.epochs["batch_size"].isin(shown.batch_sizes)
    ]
    runs_of_panel = epochs.groupby(["model", "batch_size"], sort=False)["run_id"].nunique()
    each_run = bool((runs_of_panel <= MOST_RUNS_OF_PANEL).all())
    lines = _lines_of_runs(epochs, x_column) if each_run else _lines_of_cells(epochs, x_column)
    figure, groups = _panels(
        groups=len(shown.models),
        panels_of_group=len(shown.batch_sizes),
        columns=_balanced_columns(len(shown.batch_sizes)),
        panel_size=(PANEL_INCHES, 2.1),
        header=(
            title,
            (
                "Each line is one run: accuracy on the test images after each epoch."
                if each_run
                else "Accuracy on the test images after each epoch: mean of a cell's runs, and a band from the lowest "
                "to the highest of them."
            )
            + shown.note,
        ),
        legend=_legend_entries(looks, executors),
        labels=(x_label, "Accuracy (%)"),
    )
    for model, panels in zip(shown.models, groups, strict=True):
        percents = [line.percents for key, of_cell in lines.items() if key[0] == model for line in of_cell]
        notes = {size: _failure_note(model, size, executors, by_key) for size in shown.batch_sizes}
        note_lines = max(len(note.splitlines()) for note in notes.values())
        for axes, size in zip(panels, shown.batch_sizes, strict=True):
            axes.set_title(_panel_title(f"{model}, batch size {size}"))
            keys = [(model, size, executor.device, executor.host) for executor in executors]
            xs = [line.xs for key in keys for line in lines.get(key, ())]
            for index, (executor, key) in enumerate(zip(executors, keys, strict=True)):
                for line in lines.get(key, ()):
                    _draw_line(axes, line, looks[executor.label], index)
            if not xs:
                say_empty(axes, notes[size] or "not measured")
                continue
            _linear_accuracy(axes, np.concatenate(percents), note_lines)
            _write_failures(axes, notes[size])
            _scale_x(axes, np.concatenate(xs), whole=x_column == "epoch", logarithmic=log_x)
    return figure


def _roof(cells: pd.DataFrame, executor: Executor) -> _Roof | None:
    """The ceilings of a device of a host, None where no run knows them."""
    of_executor = cells[(cells["device"] == executor.device) & (cells["host"] == executor.host)]
    known = of_executor[["flop_ceiling_per_second", "bytes_ceiling_per_second"]].dropna()
    return _Roof(*known.iloc[0].tolist()) if len(known) else None


def _draw_roof(axes: Axes, roof: _Roof | None, look: Look) -> None:
    if roof is not None:
        low, high = axes.get_xlim()
        intensities = np.array([low, roof.ridge, high])
        axes.plot(
            intensities,
            roof.at(intensities) / FLOP_PER_GFLOP,
            color=look.color,
            linestyle=look.line_style,
            scalex=False,
            scaley=False,
        )


def _draw_cells(axes: Axes, cells: pd.DataFrame, flagged: Sequence[bool], color: str, marker: str) -> list[_Point]:
    """The cells of one model on one device, joined in order of batch sizes; flagged ones are hollow."""
    xs = cells["flop_per_byte"].tolist()
    ys = (cells["achieved_flop_per_second"] / FLOP_PER_GFLOP).tolist()
    axes.plot(xs, ys, color=color, linewidth=0.8, alpha=0.5, zorder=2.5)
    for x, y, hollow in zip(xs, ys, flagged, strict=True):
        axes.plot(
            [x],
            [y],
            color=color,
            marker=marker,
            markerfacecolor="white" if hollow else color,
            markeredgecolor=color if hollow else "white",
            markeredgewidth=1.0 if hollow else 0.4,
            zorder=3,
        )
    sizes = cells["batch_size"].tolist()
    return [_Point(x, y, str(size), color, (y, y)) for x, y, size in zip(xs, ys, sizes, strict=True)]


def _roof_entries(looks: Mapping[str, Look], roofs: Mapping[str, _Roof | None]) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = []
    for name, roof in roofs.items():
        most = "unknown" if roof is None else _most(roof)
        line = Line2D([], [], color=looks[name].color, linestyle=looks[name].line_style)
        entries.append((line, legend_text(f"{name}: {most}")))
    return entries


def _most(roof: _Roof) -> str:
    gflop, gigabytes = roof.flop_per_second / FLOP_PER_GFLOP, roof.bytes_per_second / BYTES_PER_GIGABYTE
    return f"{format_number(gflop, significant=3)} GFLOP/s, {format_number(gigabytes, significant=3)} GB/s"


def _name_models(axes: Axes, markers: Mapping[str, str]) -> None:
    """What each marker is, above the panel: the legend below it is the devices'."""
    handles = [Line2D([], [], color=MUTED, marker=marker, linestyle="none") for marker in markers.values()]
    names = [legend_text(model) for model in markers]
    axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        handlelength=1.0,
        ncols=fitting_columns(names, ROOFLINE_INCHES[0]),
    )


def _lines_of_runs(epochs: pd.DataFrame, x_column: str) -> dict[CellKey, list[_Line]]:
    """The runs' accuracies by cell, in order of the repeats."""
    lines: dict[CellKey, list[_Line]] = {}
    for _, run in epochs.sort_values("epoch").groupby([*CELL_KEY, "repeat", "run_id"]):
        points = _thinned(run)
        percents = 100 * points["accuracy"].to_numpy()
        line = _Line(points[x_column].to_numpy(float), percents, percents, percents)
        lines.setdefault(_key_of(points), []).append(line)
    return lines


def _lines_of_cells(epochs: pd.DataFrame, x_column: str) -> dict[CellKey, list[_Line]]:
    """The mean accuracy of each cell's runs after each epoch, with the lowest and the highest."""
    by_epoch = epochs.groupby([*CELL_KEY, "epoch"])
    summed_up = by_epoch["accuracy"].agg(["mean", "min", "max"]) * 100
    summed_up["x"] = by_epoch[x_column].mean() if x_column != "epoch" else summed_up.index.get_level_values("epoch")
    lines: dict[CellKey, list[_Line]] = {}
    for _, of_cell in summed_up.reset_index().groupby(list(CELL_KEY)):
        points = _thinned(of_cell)
        xs, means, lows, highs = (points[column].to_numpy(float) for column in ("x", "mean", "min", "max"))
        lines[_key_of(points)] = [_Line(xs, means, lows, highs)]
    return lines


def _key_of(rows_of_cell: pd.DataFrame) -> CellKey:
    first = rows_of_cell.iloc[0]
    return str(first["model"]), int(first["batch_size"]), str(first["device"]), str(first["host"])


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    """At most so many of the rows as a line can show, the first and the last among them."""
    if len(points) <= MOST_POINTS_OF_LINE:
        return points
    return points.iloc[np.unique(np.linspace(0, len(points) - 1, MOST_POINTS_OF_LINE).round().astype(int))]


def _draw_line(axes: Axes, line: _Line, look: Look, marked_from: int) -> None:
    """One run or cell; markers start at another point than those of other devices, so as not to coincide."""
    every = max(1, len(line.xs) // 6)
    if (line.highs > line.lows).any():
        axes.fill_between(line.xs, line.lows, line.highs, color=look.color, alpha=0.2, linewidth=0)
    axes.plot(
        line.xs,
        line.percents,
        color=look.color,
        linestyle=look.line_style,
        linewidth=1.0,
        marker=look.marker,
        markersize=3.5,
        markeredgewidth=0,
        markevery=(marked_from % every, every),
        alpha=0.85,
    )


def _scale_x(axes: Axes, xs: np.ndarray, *, whole: bool, logarithmic: bool) -> None:
    if logarithmic:
        log_axis(axes, "x", xs, margin=1.15)
    elif whole:
        margin = 0.05 * np.ptp(xs) or 0.5
        axes.set_xlim(xs.min() - margin, xs.max() + margin)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    else:
        axes.set_xlim(0, xs.max() * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=ROUND_STEPS))


@dataclass(frozen=True)
class _Shown:
    """Models and batch sizes that have panels, and a sentence about those that have none."""

    models: Sequence[str]
    batch_sizes: Sequence[int]
    note: str


def _shown(table: pd.DataFrame, order: TableOrder) -> _Shown:
    """All of a table, or as many panels as somebody can look at: the first models, batch sizes from end to end."""
    models, sizes = models_of(table, order), batch_sizes_of(table, order)
    if len(models) * len(sizes) <= MOST_PANELS:
        return _Shown(models, sizes, "")
    places = np.unique(np.linspace(0, len(sizes) - 1, MOST_COLUMNS).round().astype(int))
    kept_models, kept_sizes = models[:MOST_MODELS], [sizes[place] for place in places]
    left_out = [
        f"{len(kept)} of {len(all_of)} {what}"
        for what, kept, all_of in (("models", kept_models, models), ("batch sizes", kept_sizes, sizes))
        if len(kept) < len(all_of)
    ]
    return _Shown(kept_models, kept_sizes, f" Shown: {', '.join(left_out)}." if left_out else "")


def _panel_title(text: str, panel_inches: float = PANEL_INCHES) -> str:
    return fitting(text, panel_inches - PANEL_MARGIN_INCHES, PANEL_TITLE_POINTS, "bold")


def _balanced_columns(panels: int) -> int:
    """In how many columns panels stand so that no row is much shorter than the others."""
    return math.ceil(panels / math.ceil(panels / MOST_COLUMNS))


def _looks(tables: Tables, order: TableOrder) -> dict[str, Look]:
    """How each device is drawn, by the cells, which hold every device, whatever a figure shows of them."""
    executors = executors_of(tables.cells, order)
    looks = looks_of_hosts([(executor.device, executor.host) for executor in executors])
    return {executor.label: looks[executor.device, executor.host] for executor in executors}


def _measured(tables: Tables, metric: str) -> Callable[[CellKey], _Value]:
    """What cells and runs hold of one metric, by cell."""
    cells = cells_by_key(tables.cells)
    known = tables.runs.dropna(subset=[metric])
    runs, flagged_runs = (
        {key: values.tolist() for key, values in shown.groupby(list(CELL_KEY), sort=False)[metric]}
        for shown in (known[known["flags"] == ""], known[known["flags"] != ""])
    )

    def value(key: CellKey) -> _Value:
        cell = cells.get(key)
        if cell is None:
            return _Value(None)
        low, high = (cell[f"{metric}_low"], cell[f"{metric}_high"]) if metric in cell else _one_deviation(cell, metric)
        return _Value(
            cell[metric if metric in cell else f"{metric}_mean"],
            low,
            high,
            runs.get(key, ()),
            flagged_runs.get(key, ()),
            flagged=bool(cell["flagged_runs"]),
        )

    return value


def _one_deviation(cell: Row, share: str) -> tuple[float | None, float | None]:
    """One standard deviation to both sides of the mean of a share."""
    mean, sd = cell[f"{share}_mean"], cell[f"{share}_sd"]
    return (None, None) if sd is None else (mean - sd, mean + sd)


def _interval_note(tables: Tables) -> str:
    """What markers, bars and dots of a figure are that varies by factors."""
    if tables.cells["n"].max() > 1:
        return f"Geometric mean of the runs with its 95 % interval{_dots_note(tables)}" + _flagged_note(tables, "a run")
    return "One run a cell: no intervals." + _flagged_note(tables, "the run")


def _bars_note(tables: Tables) -> str:
    """From where on a speedup is shown, which takes its interval."""
    rows = tables.speedups
    compared = (rows["device"] != rows["reference_device"]) | (rows["host"] != rows["reference_host"])
    if rows.loc[compared, "speedup_low"].notna().any():
        return f" with its 95 % interval: shown to be faster where all of that lies above the line at 1{TIMES}."
    return f", without intervals because of single runs; above the line at 1{TIMES} was faster in these."


def _spread_note(tables: Tables) -> str:
    """What markers, bars and dots are; with one run a cell there are neither bars nor dots."""
    if tables.cells["n"].max() > 1:
        return f"Mean of the runs, with bars of ± one standard deviation{_dots_note(tables)}" + _flagged_note(
            tables, "a run"
        )
    return "One run a cell." + _flagged_note(tables, "the run")


def _dots_note(tables: Tables) -> str:
    return "." if tables.cells["n"].max() > MOST_DOTS else "; faint dots are single runs."


def _flagged_note(tables: Tables, flagged: str) -> str:
    """What hollow markers are, if there are any."""
    return f" Hollow: a check flagged {flagged} (checks.csv)." if tables.cells["flagged_runs"].any() else ""


def _axis_label(text: str, *, logarithmic: bool) -> str:
    return f"{text}, log scale" if logarithmic else text


def _ratio(values: Iterable[float]) -> float:
    """Largest over smallest of the known values; 1 where that says nothing, as with a zero among them."""
    known = [value for value in values if not math.isnan(value)]
    return max(known) / min(known) if known and min(known) > 0 else 1.0


def _linear_accuracy(axes: Axes, percents: np.ndarray, note_lines: int) -> None:
    """The same limits for all panels of a model, with room for so many lines of text below the curves."""
    margin = max(0.05 * np.ptp(percents), 0.5)
    foot = margin * (1 + 2.2 * note_lines)
    axes.set_ylim(percents.min() - foot, percents.max() + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=ROUND_STEPS))


def _log_y(axes: Axes, values: Sequence[float]) -> None:
    log_axis(axes, "y", np.asarray(values), margin=1.4)


def _log2_y(axes: Axes, values: Sequence[float]) -> None:
    """Powers of two, at most about eight of them named."""
    low, high = math.log2(min(values)) - 0.6, math.log2(max(values)) + 0.6
    first, last = math.floor(min(low, -0.6)), math.ceil(max(high, 1.2))
    stride = max(1, math.ceil((last - first) / 8))
    # Counted from 1 on, so that the line at 1 is always named.
    exponents = [exponent for exponent in range(first, last + 1) if exponent % stride == 0]
    axes.set_yscale("log", base=2)
    axes.set_ylim(2 ** min(low, -0.6), 2 ** max(high, 1.2))
    axes.yaxis.set_major_locator(FixedLocator([2.0**exponent for exponent in exponents]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{plain(ratio)}{TIMES}"))


def _failure_note(model: str, batch_size: int, executors: Sequence[Executor], by_key: Mapping[CellKey, Row]) -> str:
    """Which devices have no completed run of a model and batch size and why, or "" if there are none."""
    failed: dict[str, list[str]] = {}
    for executor in executors:
        cell = by_key.get((model, batch_size, executor.device, executor.host))
        if cell is not None and not cell["n"]:
            failed.setdefault(status_words(cell["status"]), []).append(executor.label)
    return "\n".join(
        wrapped(f"{status}: {', '.join(names)}", NOTE_CHARACTERS_OF_PANEL) for status, names in failed.items()
    )


def _write_failures(axes: Axes, note: str) -> None:
    axes.text(
        0.98,
        0.03,
        note,
        transform=axes.transAxes,
        horizontalalignment="right",
        verticalalignment="bottom",
        color=MUTED,
        fontsize=7,
    )


def _legend_entries(looks: Mapping[str, Look], executors: Sequence[Executor]) -> list[tuple[Artist, str]]:
    return [
        (
            Line2D(
                [],
                [],
                color=look.color,
                marker=look.marker,
                linestyle=look.line_style,
                markeredgecolor="white",
            ),
            legend_text(_full_name(executor)),
        )
        for executor in executors
        for look in [looks[executor.label]]
    ]


def _full_name(executor: Executor) -> str:
    """A device's name for a legend, with what it computes with where that differs between devices."""
    return f"{executor.label}: {executor.detail}" if executor.detail else executor.label


def _failure_entries(by_key: Mapping[CellKey, Row], executors: Sequence[Executor]) -> list[tuple[Artist, str]]:
    """What a cross means, if there is one."""
    shown = {(executor.device, executor.host) for executor in executors}
    statuses = {
        status_words(cell["status"])
        for cell in by_key.values()
        if not cell["n"] and (cell["device"], cell["host"]) in shown
    }
    cross = Line2D([], [], color=MUTED, marker="x", linestyle="none", markeredgewidth=1.6)
    return [(cross, ", ".join(sorted(statuses)))] if statuses else []


def _panels(
    *,
    groups: int,
    panels_of_group: int,
    columns: int,
    panel_size: tuple[float, float],
    header: tuple[str, str],
    legend: Sequence[tuple[Artist, str]],
    labels: tuple[str, str],
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure: header on top, groups of panels that each begin a row, the legend below.

    Args:
        groups: Number of groups.
        panels_of_group: Number of panels of each group.
        columns: Panels in a row.
        panel_size: Width and height of a panel in inches, its tick labels and title counted.
        header: Title and note.
        legend: Handles and their labels.
        labels: Labels of the x and the y axis, written at the outer panels.

    Returns:
        The figure and the panels of each group, in reading order.
    """
    rows_of_group = math.ceil(panels_of_group / columns)
    width = max(LEAST_WIDTH_INCHES, columns * panel_size[0])
    written = Header.wrap(*header, width)
    legend_columns = fitting_columns([label for _, label in legend], width)
    legend_lines = math.ceil(sum(label.count("\n") + 1 for _, label in legend) / legend_columns)
    height = written.inches + groups * rows_of_group * panel_size[1] + 0.35 + 0.2 * legend_lines

    layout = ConstrainedLayoutEngine(
        rect=(0, 0, 1, 1 - written.inches / height), h_pad=0.06, w_pad=0.08, hspace=0.04, wspace=0.03
    )
    figure = Figure(figsize=(width, height), layout=layout)
    written.write(figure)
    grid = figure.add_gridspec(groups * rows_of_group, columns)
    panels: list[list[Axes]] = []
    for group in range(groups):
        panels.append([])
        for index in range(panels_of_group):
            row, column = divmod(index, columns)
            axes = figure.add_subplot(grid[group * rows_of_group + row, column])
            if column == 0:
                axes.set_ylabel(labels[1])
            if group == groups - 1 and index + columns >= panels_of_group:
                axes.set_xlabel(labels[0])
            panels[-1].append(axes)
    figure.legend(
        [handle for handle, _ in legend],
        [label for _, label in legend],
        loc="outside lower left",
        ncols=legend_columns,
    )
    return figure, panels


def _draw_guides(axes: Axes, guides: Sequence[_Guide]) -> list[Annotation]:
    """Dashed lines, each named at its right end outside of the panel, where no data is."""
    names = []
    for guide in sorted(guides, key=lambda guide: guide.y):
        axes.axhline(guide.y, color="black", linewidth=0.9, linestyle=(0, (5, 3)), zorder=1.5)
        names.append(
            axes.annotate(
                guide.text,
                (1, guide.y),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                verticalalignment="center",
                fontsize=7.5,
                color=MUTED,
            )
        )
    return names


def _settle_layout(figure: Figure) -> None:
    """Lay the panels out, so that texts can be measured against them."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()


def _spread_names(names: Sequence[Annotation], pixels_per_inch: float) -> None:
    """Move names that stand over the one below them up."""
    for below, name in pairwise(names):
        overlap_pixels = below.get_window_extent().y1 - name.get_window_extent().y0
        if overlap_pixels > 0:
            x, y = name.xyann
            name.xyann = (x, y + overlap_pixels * POINTS_PER_INCH / pixels_per_inch)


def _write_values(axes: Axes, points: Sequence[_Point]) -> bool:
    """Put each text beside its marker: where it covers nothing, or on a white ground where it covers least.

    A value that would cover another text is left out, and so is a name that would cover anything.

    Returns:
        Whether all values are written.
    """
    ink, panel = _ink(axes), axes.get_window_extent()
    taken: list[Bbox] = []
    complete = True
    # Names last: the legend has them too.
    for point in sorted(points, key=lambda point: point.is_name):
        covered: list[tuple[int, float, Place]] = []
        for y, place in _places(point):
            text = _annotate(axes, point, y, place)
            box = text.get_window_extent()
            text.remove()
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
            if inside and not any(box.padded(TEXTS_APART_PIXELS).overlaps(other) for other in taken):
                covered.append((_covered(box.padded(CLEARANCE_PIXELS), ink), y, place))
                if not covered[-1][0]:
                    break
        least, y, place = min(covered, key=lambda one: one[0], default=(None, point.y, VALUE_PLACES[0]))
        if least is None or (least and point.is_name):
            complete &= point.is_name
            continue
        text = _annotate(axes, point, y, place)
        if least:
            text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
        taken.append(text.get_window_extent())
    return complete


def _annotate(axes: Axes, point: _Point, y: float, place: Place) -> Annotation:
    across, up, horizontal, vertical = place
    return axes.annotate(
        point.text,
        (point.x, y),
        xytext=(across, up),
        textcoords="offset points",
        horizontalalignment=horizontal,
        verticalalignment=vertical,
        fontsize=VALUE_POINTS,
        fontweight="bold" if point.is_name else "normal",
        color=point.color,
        zorder=5,
        in_layout=False,
    )


def _places(point: _Point) -> list[tuple[float, Place]]:
    """Where a text may stand, the best first: beside the marker, else beyond all that is drawn above or below it."""
    if point.is_name:
        return [(point.y, place) for place in NAME_PLACES]
    (across, up, horizontal, bottom), (_, down, _, top) = VALUE_PLACES[:2]
    lowest, highest = point.reach
    beyond: list[tuple[float, Place]] = []
    for line in range(MOST_LINES_BEYOND):
        further = line * LINE_POINTS
        beyond += [
            (highest, (across, up + further, horizontal, bottom)),
            (lowest, (across, down - further, horizontal, top)),
        ]
    return [*((point.y, place) for place in VALUE_PLACES), *beyond]


def _covered(box: Bbox, pixels: np.ndarray) -> int:
    """How many of the pixels are in a box."""
    x, y = pixels.T
    return int(((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1)).sum())


def _ink(axes: Axes) -> np.ndarray:
    """Pixels on the lines, bars and markers of a panel, a few pixels apart."""
    strokes = [line.get_transform().transform(line.get_path().vertices) for line in axes.lines]
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            strokes += [bars.get_transform().transform(segment) for segment in bars.get_segments() if len(segment)]
    pixels = [np.empty((0, 2))]
    for stroke in strokes:
        pixels.append(stroke)
        for start, end in pairwise(stroke):
            if np.isfinite([*start, *end]).all():
                steps = int(np.hypot(*(end - start)) // 3) + 2
                pixels.append(np.linspace(start, end, steps))
    return np.concatenate(pixels)
