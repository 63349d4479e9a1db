"""Puts devices side by side, in the shape of the 2017 tables: comparison.csv, and rows of text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pandas as pd

from trainbench.conclusions.cell_texts import absent_text, figure_text, mean_text, ratio_text
from trainbench.results.cells_table import CELL_FIGURES
from trainbench.results.columns import CellKey, Row
from trainbench.results.executors import executors_of
from trainbench.results.tables import TableOrder, cells_by_key, groups_of
from trainbench.words.wording import FLAGGED, UNKNOWN, framework_words, status_words

COMPUTED_WITH: Final[Mapping[str, Callable[[str], str]]] = {"framework": framework_words, "precision": str}
"""With what devices compute, and what a reader calls it."""


@dataclass(frozen=True)
class Measure:
    """A row of the comparison: a metric of the table of cells, its unit, and how the table that is read shows it.

    `row` is None for a measure of comparison.csv alone; `scale` converts the metric to the unit in `row`;
    `only_if_known` leaves the row out of a table in which no device knows it.
    """

    metric: str
    unit: str
    row: str | None = None
    scale: float = 1.0
    only_if_known: bool = False

    @property
    def column(self) -> str:
        """The column of the table of cells that has the metric: a figure, or the mean of a share."""
        return self.metric if self.metric in CELL_FIGURES else f"{self.metric}_mean"

    def text(self, cell: Row) -> str:
        """What a field of the table that is read says of a cell, and what marks it."""
        if self.metric not in CELL_FIGURES:
            return mean_text(cell, self.metric, self.scale)
        shown = figure_text(cell, self.metric)
        if cell["first_epoch_only"] and "_per_" in self.metric:
            shown += " *"
        if cell["flagged_runs"] and self.metric == "train_seconds_per_epoch":
            shown += f" {FLAGGED}"
        return shown


MEASURES: Final = (
    Measure("cpu_percent", "%", "CPU (% of one core)"),
    Measure("gpu_utilization_percent", "%", "GPU utilisation (%)", only_if_known=True),
    Measure("gpu_memory_mib", "MiB", "GPU memory (MiB)", only_if_known=True),
    Measure("power_watts", "W", "GPU power (W)", only_if_known=True),
    Measure("energy_joules_per_epoch", "J", "GPU energy an epoch (J)", only_if_known=True),
    Measure("cpu_energy_joules_per_epoch", "J", "CPU energy an epoch (J)", only_if_known=True),
    Measure("train_seconds_per_epoch", "s", "Seconds an epoch"),
    Measure("samples_per_second", "1/s", "Samples a second"),
    Measure("final_accuracy", "fraction", "Final accuracy (%)", scale=100.0),
    Measure("eval_seconds_per_epoch", "s"),
    Measure("epoch_seconds", "s"),
    Measure("startup_seconds", "s"),
    Measure("peak_memory_mib", "MiB"),
    Measure("other_cpu_percent", "%"),
)

_PRICES: Final = {"price_per_epoch": "Price of an epoch", "price_to_accuracy": "Price to that accuracy"}


_OR_STATUS: Final = (
    *((measure.metric, measure.unit, "cells", measure.column) for measure in MEASURES),
    ("speedup", "ratio", "speedups", "speedup"),
)
"""Rows of comparison.csv: measure, unit, table and column; a cell without a completed run has its status instead."""

_OR_UNKNOWN: Final = (
    ("time_to_accuracy_seconds", "s", "accuracy_times", "time_to_accuracy_seconds"),
    *((price, "currency", "costs", price) for price in _PRICES),
    ("completed_runs", "runs", "cells", "n"),
    ("flagged_runs", "runs", "cells", "flagged_runs"),
)

Shown = Mapping[str, Mapping[CellKey, Row]]


def shown_of(tables: Mapping[str, pd.DataFrame]) -> Shown:
    """The rows, by cell, that the tables of models and batch sizes are made of."""
    return {name: cells_by_key(tables[name]) for name in ("cells", "speedups", "accuracy_times", "costs")}


def comparison_table(tables: Mapping[str, pd.DataFrame], order: TableOrder) -> pd.DataFrame:
    """The comparison as data: a row for each model, batch size and measure, a column a device.

    The columns are `model, batch_size, measure, unit` and then one a device, named `device` where all results
    come from one host and `host/device` otherwise. Values are those of the table of cells, over runs; a cell without a
    completed run holds its status in words ("out of memory"), and what is unknown is None.
    """
    executors = executors_of(tables["cells"], order)
    several_hosts = len({executor.host for executor in executors}) > 1
    shown = shown_of(tables)
    rows: list[tuple[object, ...]] = []

    for group in groups_of(tables["cells"], order):
        keys = [(*group, *executor.key) for executor in executors]
        cells = [shown["cells"].get(key) for key in keys]
        ended = [status_words(cell["status"]) if cell is not None and not cell["n"] else None for cell in cells]
        for line in (*_OR_STATUS, *_OR_UNKNOWN):
            measure, unit, name, column = line
            if measure == "speedup" and len(executors) == 1:
                continue
            found = (shown[name].get(key) for key in keys)
            values = [None if row is None else row[column] for row in found]
            if line in _OR_STATUS:
                values = [status or value for status, value in zip(ended, values, strict=True)]
            rows.append((*group, measure, unit, *values))
    names = [f"{executor.host}/{executor.device}" if several_hosts else executor.device for executor in executors]
    # Values stay Python objects: numbers, words and unknowns share a column.
    return pd.DataFrame(rows, columns=["model", "batch_size", "measure", "unit", *names], dtype=object)


def group_rows(shown: Shown, keys: Sequence[CellKey]) -> list[list[str]]:
    """The rows of one model and batch size in the shape of 2017: a name, then a field for each key, a device."""
    column, speedups, times, costs = ([by_key.get(key) for key in keys] for by_key in shown.values())
    completed = [cell if cell is not None and cell["n"] else None for cell in column]
    rows: list[list[str]] = []

    def add(name: str, found: Iterable[Row | None], words: Callable[[Row], str]) -> None:
        texts = (absent_text(cell) if row is None else words(row) for cell, row in zip(column, found, strict=True))
        rows.append([name, *texts])

    for name, words in COMPUTED_WITH.items():
        known = [None if cell is None else cell[name] for cell in column]
        if len(set(known) - {None}) > 1:
            rows.append([name.capitalize(), *(UNKNOWN if value is None else words(value) for value in known)])
    for measure in MEASURES:
        unknown = all(cell is None or cell[measure.column] is None for cell in column)
        if measure.row is not None and not (measure.only_if_known and unknown):
            add(measure.row, completed, measure.text)
    compared = [row for row in speedups if row is not None]
    if len(keys) > 1 and compared:
        add(f"Speedup over {compared[0]['reference_device']}", speedups, ratio_text)
        # Nobody asks how much faster than itself a CPU is.
        if any(row["best_cpu_device"] not in {row["reference_device"], row["device"]} for row in compared):
            texts = [UNKNOWN if row is None else ratio_text(row, "speedup_over_best_cpu") for row in speedups]
            rows.append(["Speedup over the CPU with the least mean", *texts])
    targets = [row["target_accuracy"] for row in times if row is not None]
    if targets:
        add(f"Seconds to {100 * targets[0]:g} % accuracy", times, _time_text)
    for price, name in _PRICES.items():
        priced = [row for row in costs if row is not None and row[price] is not None]
        if priced:
            add(f"{name} ({priced[0]['currency']})", costs, partial(figure_text, name=price))
    add("Runs", column, _runs_text)
    return rows


def _time_text(row: Row) -> str:
    return figure_text(row, "time_to_accuracy_seconds") if row["verdict"] == "reached" else str(row["verdict"])


def _runs_text(cell: Row) -> str:
    others = "" if cell["n"] == cell["runs"] else f" of {cell['runs']} ({status_words(cell['status'])})"
    return f"{cell['n']}{others}"
