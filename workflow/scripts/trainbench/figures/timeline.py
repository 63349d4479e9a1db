"""Draws what one run did over time: CPU, memory and GPU as they were sampled, with its phases and epochs marked."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from trainbench.figures.axes import ROUND_STEPS, linear_y, say_empty
from trainbench.figures.frame import Entry, framed
from trainbench.figures.looks import COLORS
from trainbench.figures.style import GUIDE_LINE, MUTED, styled
from trainbench.records.steady import positions_of_last_part

Window = tuple[float, float]

SAMPLES_NAME: Final = "samples.csv"
_TIME: Final = "monotonic_seconds"

WIDTH_INCHES: Final = 9.0
PANEL_INCHES: Final = 1.35
MOST_POINTS: Final = 800
"""Samples beyond so many are drawn as the mean of their stretch, and from its lowest to its highest."""
EPOCH_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LEAST_FRACTION_TO_NUMBER: Final = 0.025
MIB_PER_GIB: Final = 1024

# Pale, so that lines on them stay legible; told apart by lightness too.
PHASE_COLORS: Final[Mapping[str, str]] = {
    "start-up": "#e4e4e4",
    "data": "#cccccc",
    "compiling": "#b0b0b0",
    "training": "#d3e6f3",
    "evaluation": "#f7d9b5",
}


@dataclass(frozen=True)
class _Curve:
    """One column of the samples as it is drawn."""

    column: str
    label: str
    color: str


@dataclass(frozen=True)
class _Panel:
    y_label: str
    curves: Sequence[_Curve]
    scale: float = 1.0
    guide: tuple[float, str] | None = None


@styled
def timeline(metrics: Mapping[str, Any], samples: pd.DataFrame) -> Figure:
    """One run over time, a panel for each kind of quantity that was sampled; what is not known has no panel."""
    panels = _panels(metrics, samples)
    phases = _phases(metrics)
    begin = next((windows[0][0] for windows in phases.values()), samples[_TIME].iloc[0] if len(samples) else 0.0)
    end = max([*(windows[-1][1] for windows in phases.values()), *samples[_TIME].tail(1)], default=1.0)
    curves = {curve.label: curve.color for panel in panels for curve in panel.curves}
    legend: list[Entry] = [(Patch(facecolor=PHASE_COLORS[name]), name) for name in phases]
    legend += [(Line2D([], [], color=color), label) for label, color in curves.items()]
    # In the legend rather than beside the line, where the curves and the numbers of epochs are.
    legend += [(Line2D([], [], **GUIDE_LINE), panel.guide[1]) for panel in panels if panel.guide]
    rows = max(1, len(panels))
    header = (_title(metrics), _note(metrics, samples, phases))
    figure = framed(WIDTH_INCHES, PANEL_INCHES * rows + 0.2, header, legend, padding=0.05, between=0.03)
    all_axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    if not panels:
        say_empty(all_axes[0], "nothing was sampled: samples.csv is missing or empty", keep_x=True)
    for axes, panel in zip(all_axes, panels, strict=False):
        _draw_panel(axes, panel, samples, begin)
    for axes in all_axes:
        _shade(axes, phases, begin)
    all_axes[-1].set_xlim(0, (end - begin) or 1.0)
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, steps=ROUND_STEPS))
    all_axes[-1].set_xlabel("Seconds since the start of the run")
    _number_epochs(all_axes[0], metrics, begin, end)
    return figure


def read(metrics_path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """A run's metrics file, and the samples beside it: none where there is no file."""
    metrics: dict[str, Any] = json.loads(metrics_path.read_bytes())
    samples = metrics_path.with_name(SAMPLES_NAME)
    text = samples.read_text(encoding="utf-8") if samples.exists() else ""
    whole_lines = text[: text.rfind("\n") + 1]  # the last one may be cut short
    read = pd.read_csv(io.StringIO(whole_lines or f"{_TIME}\n"), on_bad_lines="skip")
    # Where a reading was no number, its whole column is text.
    return metrics, read.apply(pd.to_numeric, errors="coerce").dropna(subset=_TIME)


def _panels(metrics: Mapping[str, Any], samples: pd.DataFrame) -> list[_Panel]:
    """The panels of what is known."""
    used = metrics["device_used"] or {}
    cores = used.get("cores")
    gpus = range(max(1, len(used.get("gpu_uuids", ()))))

    def curves_of_gpus(column: str) -> list[_Curve]:
        names = ["GPU" if len(gpus) == 1 else f"GPU {gpu}" for gpu in gpus]
        return [_Curve(f"gpu{gpu}_{column}", names[gpu], COLORS[(2 + gpu) % len(COLORS)]) for gpu in gpus]

    own = _Curve("cpu_percent", "this run", COLORS[0])
    other = _Curve("other_cpu_percent", "everything else on the host", COLORS[1])
    all_cores = (100.0 * len(cores), f"all {len(cores)} cores of the run") if cores else None
    panels = [
        _Panel("CPU\n(% of one core)", [own, other], guide=all_cores),
        _Panel("Memory\n(GiB)", [replace(own, column="resident_memory_mib")], 1 / MIB_PER_GIB),
        _Panel("GPU in use\n(% of time)", curves_of_gpus("utilization_percent")),
        _Panel("GPU memory\n(GiB)", curves_of_gpus("memory_used_mib"), 1 / MIB_PER_GIB),
        _Panel("GPU power\n(W)", curves_of_gpus("power_watts")),
        _Panel("GPU clock\n(MHz)", curves_of_gpus("sm_clock_mhz")),
    ]
    sampled = {str(column) for column in samples if samples[column].notna().any()}
    known = [replace(panel, curves=[one for one in panel.curves if one.column in sampled]) for panel in panels]
    return [panel for panel in known if panel.curves]


def _phases(metrics: Mapping[str, Any]) -> dict[str, list[Window]]:
    """Windows of the phases in monotonic seconds, as far as the run's last process knows them."""
    epochs = metrics["epochs"]
    part = positions_of_last_part(len(epochs), metrics["resumed_after_epochs"])
    train, evaluation = (
        [tuple(epochs[position][f"{kind}_window_monotonic_seconds"]) for position in part] for kind in ("train", "eval")
    )
    phases: dict[str, list[Window]] = {}
    if train and metrics["clock"]:
        names = {"start-up": "startup_seconds", "data": "data_seconds", "compiling": "compile_seconds"}
        seconds = [metrics["clock"][field] for field in names.values()]
        # These phases follow each other up to the first epoch, but for milliseconds.
        edges = train[0][0] - sum(seconds) + np.cumsum([0.0, *seconds])
        phases = {name: [(float(edges[at]), float(edges[at + 1]))] for at, name in enumerate(names)}
    if train:
        phases |= {"training": train, "evaluation": evaluation}
    return phases


def _shade(axes: Axes, phases: Mapping[str, Sequence[Window]], begin: float) -> None:
    for name, windows in phases.items():
        spans = [(start - begin, end - start) for start, end in windows]
        axes.broken_barh(
            spans, (0, 1), transform=axes.get_xaxis_transform(), facecolor=PHASE_COLORS[name], linewidth=0, zorder=0.5
        )


def _draw_panel(axes: Axes, panel: _Panel, samples: pd.DataFrame, begin: float) -> None:
    axes.set_ylabel(panel.y_label)
    axes.grid(visible=False, axis="x")
    times = samples[_TIME].to_numpy(float) - begin
    shown = [
        _draw_curve(axes, times, samples[curve.column].to_numpy(float) * panel.scale, curve.color)
        for curve in panel.curves
    ]
    linear_y(axes, [*shown, *([panel.guide[0]] if panel.guide else [])])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=ROUND_STEPS))
    if panel.guide:
        axes.axhline(panel.guide[0], **GUIDE_LINE)


def _draw_curve(axes: Axes, times: np.ndarray, values: np.ndarray, color: str) -> float:
    """Draw the known values and return the highest that is shown."""
    known = np.isfinite(values)
    times, values = times[known], np.maximum(values[known], 0.0)
    if len(times) > MOST_POINTS:
        stretches = np.array_split(np.arange(len(times)), MOST_POINTS)
        middles = np.array([times[stretch].mean() for stretch in stretches])
        lows, means, highs = (
            np.array([of(values[stretch]) for stretch in stretches]) for of in (np.min, np.mean, np.max)
        )
        axes.fill_between(middles, lows, highs, color=color, alpha=0.25, linewidth=0)
        axes.plot(middles, means, color=color, linewidth=1.0)
    else:
        few = len(times) < MOST_POINTS / 10
        axes.plot(times, values, color=color, linewidth=1.1, marker="." if few else "none", markersize=3)
    return float(values.max())


def _number_epochs(axes: Axes, metrics: Mapping[str, Any], begin: float, end: float) -> None:
    """Numbers of epochs above the first panel: all, or round ones, or without room for these the first to the last."""
    part = positions_of_last_part(len(metrics["epochs"]), metrics["resumed_after_epochs"])
    epochs = [metrics["epochs"][position] for position in part]
    if not epochs:
        return
    numbers = [epoch["epoch"] for epoch in epochs]
    middles = [sum(epoch["train_window_monotonic_seconds"]) / 2 - begin for epoch in epochs]
    room = LEAST_FRACTION_TO_NUMBER * (end - begin)
    apart = (middles[-1] - middles[0]) / (len(middles) - 1) if len(middles) > 1 else room
    step = next((step for step in EPOCH_STEPS if step * apart >= room), EPOCH_STEPS[-1])
    later = [
        (str(number), middle)
        for number, middle in zip(numbers, middles, strict=True)
        if number % step == 0 and middle - middles[0] >= room
    ]
    if len(numbers) > 1 and not later:
        texts = [(f"{numbers[0]}\N{EN DASH}{numbers[-1]}", (middles[0] + middles[-1]) / 2)]
    else:
        texts = [(str(numbers[0]), middles[0]), *later]
    above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "bottom"}
    for text, middle in texts:
        axes.annotate(text, (middle, 1), (0, 2), ha="center", fontsize=7.5, color=MUTED, **above)


def _title(metrics: Mapping[str, Any]) -> str:
    run = f"{metrics['model']}, batch size {metrics['batch_size']} on {metrics['device']}, repeat {metrics['repeat']}"
    return f"What the machine did while it trained {run}"


def _note(metrics: Mapping[str, Any], samples: pd.DataFrame, phases: Mapping[str, object]) -> str:
    used = metrics["device_used"] or {}
    where = f"{used['name']}, host {metrics['host']['id']}" if used else f"host {metrics['host']['id']}"
    sentences = [f"On {where}."]
    if metrics["status"] != "completed":
        sentences.append(f"The run ended: {metrics['status'].replace('_', ' ')}.")
    if metrics["resumed_after_epochs"]:
        sentences.append(f"Resumed after epoch {max(metrics['resumed_after_epochs'])}: what came before was not kept.")
    if phases:
        sentences.append("Small numbers are epochs.")
    if metrics["ceilings"]:
        sentences.append("After the last epoch what the device can do at most is measured.")
    if len(samples) > MOST_POINTS:
        sentences.append("Lines are means over a stretch of samples, bands reach from their lowest to their highest.")
    return " ".join(sentences)
