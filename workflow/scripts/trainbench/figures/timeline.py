"""Draws what one run did over time: CPU, memory and GPU as they were sampled, with its phases and epochs marked."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from trainbench.figures.drawing import (
    COLORS,
    MUTED,
    ROUND_STEPS,
    Header,
    fitting_columns,
    legend_text,
    linear_y,
    say_empty,
    styled,
)
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
GUIDE_LINE: Final[Mapping[str, Any]] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (5, 3))}

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
    scale: float = 1.0


@dataclass(frozen=True)
class _Panel:
    y_label: str
    curves: Sequence[_Curve]
    guide: tuple[float, str] | None = None


@styled
def timeline(metrics: Mapping[str, Any], samples: pd.DataFrame) -> Figure:
    """One run over time, a panel for each kind of quantity that was sampled; what is not known has no panel."""
    panels = [panel for panel in _panels(metrics) if _known(panel, samples)]
    phases = _phases(metrics)
    begin = next((windows[0][0] for windows in phases.values()), samples[_TIME].iloc[0] if len(samples) else 0.0)
    height_panels = PANEL_INCHES * max(1, len(panels))
    header = Header.wrap(_title(metrics), _note(metrics, samples, phases), WIDTH_INCHES)
    shown = [curve for panel in panels for curve in panel.curves if _has(curve, samples)]
    curves = {curve.label: curve.color for curve in shown}
    entries: list[tuple[Artist, str]] = [(Patch(facecolor=PHASE_COLORS[name]), name) for name in phases]
    entries += [(Line2D([], [], color=color), legend_text(label)) for label, color in curves.items()]
    # In the legend rather than beside the line, where the curves and the numbers of epochs are.
    guides = [panel.guide[1] for panel in panels if panel.guide]
    entries += [(Line2D([], [], **GUIDE_LINE), legend_text(text)) for text in guides]
    columns = fitting_columns([label for _, label in entries], WIDTH_INCHES) if entries else 1
    legend_lines = -(-len(entries) // columns)
    height = header.inches + height_panels + 0.55 + 0.2 * legend_lines
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - header.inches / height), h_pad=0.05, w_pad=0.08, hspace=0.03)
    figure = Figure(figsize=(WIDTH_INCHES, height), layout=layout)
    header.write(figure)
    all_axes = figure.subplots(max(1, len(panels)), 1, sharex=True, squeeze=False)[:, 0]
    if not panels:
        say_empty(all_axes[0], "nothing was sampled: samples.csv is missing or empty", keep_x=True)
    for axes, panel in zip(all_axes, panels, strict=False):
        _draw_panel(axes, panel, samples, begin)
    for axes in all_axes:
        _shade(axes, phases, begin)
    end = max([*(windows[-1][1] for windows in phases.values()), *samples[_TIME].tail(1)], default=1.0)
    all_axes[-1].set_xlim(0, (end - begin) or 1.0)
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, steps=ROUND_STEPS))
    all_axes[-1].set_xlabel("Seconds since the start of the run")
    _number_epochs(all_axes[0], metrics, begin, end)
    if entries:
        handles, labels = zip(*entries, strict=True)
        figure.legend(list(handles), list(labels), loc="outside lower left", ncols=columns)
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


def _panels(metrics: Mapping[str, Any]) -> list[_Panel]:
    used = metrics["device_used"] or {}
    cores = used.get("cores")
    gpus = range(max(1, len(used.get("gpu_uuids", ()))))

    def of_gpus(y_label: str, column: str, what: str, scale: float = 1.0) -> _Panel:
        names = [what if len(gpus) == 1 else f"{what} {gpu}" for gpu in gpus]
        return _Panel(
            y_label,
            [_Curve(f"gpu{gpu}_{column}", name, _color(2 + gpu), scale) for gpu, name in zip(gpus, names, strict=True)],
        )

    return [
        _Panel(
            "CPU\n(% of one core)",
            [
                _Curve("cpu_percent", "this run", COLORS[0]),
                _Curve("other_cpu_percent", "everything else on the host", COLORS[1]),
            ],
            guide=(100.0 * len(cores), f"all {len(cores)} cores of the run") if cores else None,
        ),
        _Panel("Memory\n(GiB)", [_Curve("resident_memory_mib", "this run", COLORS[0], 1 / MIB_PER_GIB)]),
        of_gpus("GPU in use\n(% of time)", "utilization_percent", "GPU"),
        of_gpus("GPU memory\n(GiB)", "memory_used_mib", "GPU", 1 / MIB_PER_GIB),
        of_gpus("GPU power\n(W)", "power_watts", "GPU"),
        of_gpus("GPU clock\n(MHz)", "sm_clock_mhz", "GPU"),
    ]


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _has(curve: _Curve, samples: pd.DataFrame) -> bool:
    return curve.column in samples and bool(samples[curve.column].notna().any())


def _known(panel: _Panel, samples: pd.DataFrame) -> bool:
    return any(_has(curve, samples) for curve in panel.curves)


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
    highest = []
    for curve in panel.curves:
        if _has(curve, samples):
            times, values = (samples[column].to_numpy(float) for column in (_TIME, curve.column))
            highest.append(_draw_curve(axes, times - begin, values * curve.scale, curve.color))
    linear_y(axes, [*highest, *([panel.guide[0]] if panel.guide else [])])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=ROUND_STEPS))
    if panel.guide:
        axes.axhline(panel.guide[0], zorder=1.5, **GUIDE_LINE)


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
    for text, middle in texts:
        axes.annotate(
            text,
            (middle, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            horizontalalignment="center",
            verticalalignment="bottom",
            fontsize=7.5,
            color=MUTED,
        )


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
