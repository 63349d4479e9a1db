"""Draws accuracy on the test images over what an epoch's end is known by: a panel for each model and batch size."""

import textwrap
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainbench.figures.axes import ROUND_STEPS, log_axis, say_empty
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import device_entry
from trainbench.figures.looks import MUTED, Look
from trainbench.figures.panels import Shown, panels_of_cells
from trainbench.results.columns import CELL_KEY, CellKey

MOST_RUNS_OF_PANEL: Final = 12
MOST_POINTS_OF_LINE: Final = 120
NOTE_CHARACTERS_OF_PANEL: Final = 40
EACH_RUN_NOTE: Final = "Each line is one run: accuracy on the test images after each epoch."
EACH_CELL_NOTE: Final = (
    "Accuracy on the test images after each epoch: mean of a cell's runs, and a band from the lowest to the highest of "
    "them."
)


def accuracy_over(study: DrawnStudy, x_column: str, title: str, x_label: str, *, log_x: bool = False) -> Figure:
    """A line a run, or where these are many a cell, over a column of the table of epochs."""
    shown = Shown.of(study.tables["cells"], study.order)
    epochs = study.tables["epochs"]
    epochs = epochs[epochs["model"].isin(shown.models) & epochs["batch_size"].isin(shown.batch_sizes)]
    runs_of_panel = epochs.groupby(["model", "batch_size"], sort=False)["run_id"].nunique()
    each_run = bool((runs_of_panel <= MOST_RUNS_OF_PANEL).all())
    lines = _lines(epochs, x_column, each_run=each_run)
    figure, panels = panels_of_cells(
        shown,
        panel_inches=2.1,
        header=(title, EACH_RUN_NOTE if each_run else EACH_CELL_NOTE),
        legend=[device_entry(executor, study.looks[executor.key]) for executor in study.executors],
        labels=(x_label, "Accuracy (%)"),
    )
    notes = {key: _failure_note(study, *key) for key in panels}
    for (model, size), axes in panels.items():
        of_model = [line for key, of_cell in lines.items() if key[0] == model for line in of_cell]
        here = [line for key, of_cell in lines.items() if key[:2] == (model, size) for line in of_cell]
        if not here:
            say_empty(axes, notes[model, size] or "not measured")
            continue
        for index, executor in enumerate(study.executors):
            for line in lines.get((model, size, *executor.key), ()):
                _draw_line(axes, line, study.looks[executor.key], index)
        note_lines = max(len(notes[model, other].splitlines()) for other in shown.batch_sizes)
        _scale_y(axes, pd.concat(of_model)["mean"].to_numpy(), note_lines)
        corner: dict[str, Any] = {"ha": "right", "va": "bottom", "transform": axes.transAxes}
        axes.text(0.98, 0.03, notes[model, size], color=MUTED, fontsize=7, **corner)
        _scale_x(axes, pd.concat(here)["x"].to_numpy(), whole=x_column == "epoch", logarithmic=log_x)
    return figure


def _lines(epochs: pd.DataFrame, x_column: str, *, each_run: bool) -> dict[CellKey, list[pd.DataFrame]]:
    """Mean, lowest and highest accuracy in percent over `x`, of each run by itself or of each cell's runs together."""
    of_line = [*CELL_KEY, *(("repeat", "run_id") if each_run else ())]
    ends = epochs.assign(x=epochs[x_column].astype(float), percent=100 * epochs["accuracy"])
    points = ends.groupby([*of_line, "epoch"]).agg(
        x=("x", "mean"), mean=("percent", "mean"), low=("percent", "min"), high=("percent", "max")
    )
    lines: dict[CellKey, list[pd.DataFrame]] = {}
    for key, line in points.groupby(of_line):
        places = np.unique(np.linspace(0, len(line) - 1, min(len(line), MOST_POINTS_OF_LINE)).round().astype(int))
        lines.setdefault(cast("CellKey", key[: len(CELL_KEY)]), []).append(line.iloc[places])
    return lines


def _draw_line(axes: Axes, line: pd.DataFrame, look: Look, marked_from: int) -> None:
    """One run or cell; markers start at another point than those of other devices, so as not to coincide."""
    xs, lows, highs = (line[column].to_numpy() for column in ("x", "low", "high"))
    every = max(1, len(xs) // 6)
    if (highs > lows).any():
        axes.fill_between(xs, lows, highs, color=look.color, alpha=0.2, linewidth=0)
    markers: dict[str, Any] = {"markersize": 3.5, "markeredgewidth": 0, "markevery": (marked_from % every, every)}
    axes.plot(xs, line["mean"].to_numpy(), linewidth=1.0, alpha=0.85, **markers, **look.of_line)


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


def _scale_y(axes: Axes, percents: np.ndarray, note_lines: int) -> None:
    """The same limits for all panels of a model, with room for so many lines of text below the curves."""
    margin = max(0.05 * np.ptp(percents), 0.5)
    axes.set_ylim(percents.min() - margin * (1 + 2.2 * note_lines), percents.max() + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=ROUND_STEPS))


def _failure_note(study: DrawnStudy, model: str, batch_size: int) -> str:
    """Which devices have no completed run of a model and batch size and why, or "" if there are none."""
    failed: dict[str, list[str]] = {}
    for executor in study.executors:
        failed.setdefault(study.failure((model, batch_size, *executor.key)), []).append(executor.label)
    lines = [f"{status}: {', '.join(names)}" for status, names in failed.items() if status]
    return "\n".join(textwrap.fill(line, NOTE_CHARACTERS_OF_PANEL) for line in lines)
