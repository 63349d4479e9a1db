"""Draws what one run did over time: CPU, memory and GPU as they were sampled, with its phases and epochs marked."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
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
from trainbench.figures.looks import COLORS, GUIDE_LINE, MUTED, styled
from trainbench.records.steady import positions_of_last_part
from trainbench.words.wording import status_words

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
class _Panel:
    """A kind of quantity: the columns of samples that it draws, each with its label and colour, and their scale."""

    y_label: str
    curves: Mapping[str, tuple[str, str]]
    scale: float = 1.0
    guide: tuple[float, str] | None = None


@styled
def timeline(metrics: Mapping[str, Any], samples: pd.DataFrame) -> Figure:
    """One run over time, a panel for each kind of quantity that was sampled; what is not known has no panel."""
    panels = _panels(metrics, samples)
    phases = _phases(metrics)
    begin = next((windows[0][0] for windows in phases.values()), samples[_TIME].iloc[0] if len(samples) else 0.0)
    end = max([*(windows[-1][1] for windows in phases.values()), *samples[_TIME].tail(1)], default=1.0)
    curves = dict(curve for panel in panels for curve in panel.curves.values())
    legend: list[Entry] = [(Patch(facecolor=PHASE_COLORS[name]), name) for name in phases]
    legend += [(Line2D([], [], color=color), label) for label, color in curves.items()]
    # In the legend rather than beside the line, where the curves and the numbers of epochs are.
    legend += [(Line2D([], [], **GUIDE_LINE), panel.guide[1]) for panel in panels if panel.guide]
    rows = max(1, len(panels))
    run = f"{metrics['model']}, batch size {metrics['batch_size']} on {metrics['device']}, repeat {metrics['repeat']}"
    header = (f"What the machine did while it trained {run}", _note(metrics, samples, phases))
    figure = framed(WIDTH_INCHES, PANEL_INCHES * rows + 0.2, header, legend, padding=0.05, between=0.03)
    all_axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    if not panels:
        say_empty(all_axes[0], "nothing was sampled: samples.csv is missing or empty", keep_x=True)
    for axes, panel in zip(all_axes, panels, strict=False):
        _draw_panel(axes, panel, samples, begin)
    for axes in all_axes:
        for name, windows in phases.items():
            spans = [(start - begin, stop - start) for start, stop in windows]
            of_phase: dict[str, Any] = {"facecolor": PHASE_COLORS[name], "linewidth": 0, "zorder": 0.5}
            axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), **of_phase)
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

    def of_gpus(y_label: str, column: str, scale: float = 1.0) -> _Panel:
        names = ["GPU" if len(gpus) == 1 else f"GPU {gpu}" for gpu in gpus]
        curves = {f"gpu{gpu}_{column}": (names[gpu], COLORS[(2 + gpu) % len(COLORS)]) for gpu in gpus}
        return _Panel(y_label, curves, scale)

    own, other = ("this run", COLORS[0]), ("everything else on the host", COLORS[1])
    all_cores = (100.0 * len(cores), f"all {len(cores)} cores of the run") if cores else None
    panels = [
        _Panel("CPU\n(% of one core)", {"cpu_percent": own, "other_cpu_percent": other}, guide=all_cores),
        _Panel("Memory\n(GiB)", {"resident_memory_mib": own}, 1 / MIB_PER_GIB),
        of_gpus("GPU in use\n(% of time)", "utilization_percent"),
        of_gpus("GPU memory\n(GiB)", "memory_used_mib", 1 / MIB_PER_GIB),
        of_gpus("GPU power\n(W)", "power_watts"),
        of_gpus("GPU clock\n(MHz)", "sm_clock_mhz"),
    ]
    sampled = set(samples.columns[samples.notna().any()])
    known = [{column: curve for column, curve in panel.curves.items() if column in sampled} for panel in panels]
    return [replace(panel, curves=curves) for panel, curves in zip(panels, known, strict=True) if curves]


def _last_epochs(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The epochs of the run's last process."""
    part = positions_of_last_part(len(metrics["epochs"]), metrics["resumed_after_epochs"])
    return [metrics["epochs"][position] for position in part]


def _phases(metrics: Mapping[str, Any]) -> dict[str, list[Window]]:
    """Windows of the phases in monotonic seconds, as far as the run's last process knows them."""
    epochs = _last_epochs(metrics)
    phases: dict[str, list[Window]] = {}
    if epochs and metrics["clock"]:
        seconds = [metrics["clock"][f"{phase}_seconds"] for phase in ("startup", "data", "compile")]
        # These phases follow each other up to the first epoch, but for milliseconds.
        begin = epochs[0]["train_window_monotonic_seconds"][0] - sum(seconds)
        windows = pairwise((begin + np.cumsum([0.0, *seconds])).tolist())
        phases = {name: [window] for name, window in zip(("start-up", "data", "compiling"), windows, strict=True)}
    if epochs:
        for name, kind in (("training", "train"), ("evaluation", "eval")):
            phases[name] = [tuple(epoch[f"{kind}_window_monotonic_seconds"]) for epoch in epochs]
    return phases


def _draw_panel(axes: Axes, panel: _Panel, samples: pd.DataFrame, begin: float) -> None:
    axes.set_ylabel(panel.y_label)
    axes.grid(visible=False, axis="x")
    shown = []
    for column, (_, color) in panel.curves.items():
        known = samples[np.isfinite(samples[column])]
        values = (known[column] * panel.scale).clip(lower=0.0).to_numpy(float)
        _draw_curve(axes, known[_TIME].to_numpy(float) - begin, values, color)
        shown.append(values.max())
    linear_y(axes, [*shown, *([panel.guide[0]] if panel.guide else [])])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=ROUND_STEPS))
    if panel.guide:
        axes.axhline(panel.guide[0], **GUIDE_LINE)


def _draw_curve(axes: Axes, times: np.ndarray, values: np.ndarray, color: str) -> None:
    if len(times) > MOST_POINTS:
        stretches = [(times[part], values[part]) for part in np.array_split(np.arange(len(times)), MOST_POINTS)]
        middles, means, lows, highs = zip(
            *((time.mean(), value.mean(), value.min(), value.max()) for time, value in stretches), strict=True
        )
        axes.fill_between(middles, lows, highs, color=color, alpha=0.25, linewidth=0)
        axes.plot(middles, means, color=color, linewidth=1.0)
    else:
        few = len(times) < MOST_POINTS / 10
        axes.plot(times, values, color=color, linewidth=1.1, marker="." if few else "none", markersize=3)


def _number_epochs(axes: Axes, metrics: Mapping[str, Any], begin: float, end: float) -> None:
    """Numbers of epochs above the first panel: all, or round ones, or without room for these the first to the last."""
    epochs = _last_epochs(metrics)
    if not epochs:
        return
    numbers = [epoch["epoch"] for epoch in epochs]
    middles = [sum(epoch["train_window_monotonic_seconds"]) / 2 - begin for epoch in epochs]
    room = LEAST_FRACTION_TO_NUMBER * (end - begin)
    apart = (middles[-1] - middles[0]) / (len(middles) - 1) if len(middles) > 1 else room
    step = next((step for step in EPOCH_STEPS if step * apart >= room), EPOCH_STEPS[-1])
    texts = {
        middle: str(number)
        for number, middle in zip(numbers, middles, strict=True)
        if middle == middles[0] or (number % step == 0 and middle - middles[0] >= room)
    }
    if len(texts) == 1 < len(numbers):
        texts = {(middles[0] + middles[-1]) / 2: f"{numbers[0]}\N{EN DASH}{numbers[-1]}"}
    above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "bottom"}
    for middle, text in texts.items():
        axes.annotate(text, (middle, 1), (0, 2), ha="center", fontsize=7.5, color=MUTED, **above)


def _note(metrics: Mapping[str, Any], samples: pd.DataFrame, phases: Mapping[str, object]) -> str:
    used, resumed = metrics["device_used"], max(metrics["resumed_after_epochs"], default=None)
    sentences = {
        f"On {used['name']}, host {metrics['host']['id']}." if used else f"On host {metrics['host']['id']}.": True,
        f"The run ended: {status_words(metrics['status'])}.": metrics["status"] != "completed",
        f"Resumed after epoch {resumed}: what came before was not kept.": resumed is not None,
        "Small numbers are epochs.": phases,
        "After the last epoch what the device can do at most is measured.": metrics["ceilings"],
        "Lines are means over a stretch of samples, bands reach from their lowest to their highest.": (
            len(samples) > MOST_POINTS
        ),
    }
    return " ".join(sentence for sentence, holds in sentences.items() if holds)
