"""Puts devices side by side, in the shape of the 2017 tables: comparison.csv, and rows of text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
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
class Compared:
    """The tables that the comparison puts together."""

    cells: pd.DataFrame
    checks: pd.DataFrame
    speedups: pd.DataFrame
    crossovers: pd.DataFrame
    accuracy_times: pd.DataFrame
    costs: pd.DataFrame
    scaling_fits: pd.DataFrame
    core_equivalents: pd.DataFrame

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame]) -> "Compared":
        """Those of all tables that it takes."""
        return cls(**{each.name: tables[each.name] for each in fields(cls)})


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


@dataclass(frozen=True)
class Shown:
    """Rows of the tables by cell."""

    cells: Mapping[CellKey, Row]
    speedups: Mapping[CellKey, Row]
    times: Mapping[CellKey, Row]
    costs: Mapping[CellKey, Row]


def shown_of(compared: Compared) -> Shown:
    """The rows that the tables of models and batch sizes are made of."""
    tables = (compared.cells, compared.speedups, compared.accuracy_times, compared.costs)
    return Shown(*map(cells_by_key, tables))


def comparison_table(compared: Compared, order: TableOrder) -> pd.DataFrame:
    """The comparison as data: a row for each model, batch size and measure, a column a device.

    The columns are `model, batch_size, measure, unit` and then one a device, named `device` where all results
    come from one host and `host/device` otherwise. Values are those of the table of cells, over runs; a cell without a
    completed run holds its status in words ("out of memory"), and what is unknown is None.
    """
    executors = executors_of(compared.cells, order)
    several_hosts = len({executor.host for executor in executors}) > 1
    shown = shown_of(compared)
    rows: list[tuple[object, ...]] = []

    for group in groups_of(compared.cells, order):
        keys = [(*group, executor.device, executor.host) for executor in executors]
        cells, speedups, times, costs = (
            [table.get(key) for key in keys] for table in (shown.cells, shown.speedups, shown.times, shown.costs)
        )
        lines = [
            (measure.metric, measure.unit, _or_status(cells, _values(cells, measure.column))) for measure in MEASURES
        ]
        if len(executors) > 1:
            lines.append(("speedup", "ratio", _or_status(cells, _values(speedups, "speedup"))))
        lines.append(("time_to_accuracy_seconds", "s", _values(times, "time_to_accuracy_seconds")))
        lines += [(price, "currency", _values(costs, price)) for price in _PRICES]
        lines.append(("completed_runs", "runs", _values(cells, "n")))
        lines.append(("flagged_runs", "runs", _values(cells, "flagged_runs")))
        rows += [(*group, measure, unit, *values) for measure, unit, values in lines]
    names = [f"{executor.host}/{executor.device}" if several_hosts else executor.device for executor in executors]
    # Values stay Python objects: numbers, words and unknowns share a column.
    return pd.DataFrame(rows, columns=["model", "batch_size", "measure", "unit", *names], dtype=object)


def _values(found: Iterable[Row | None], column: str) -> list[object]:
    return [None if row is None else row[column] for row in found]


def _or_status(cells: Iterable[Row | None], values: Iterable[object]) -> list[object]:
    """The values, or how the runs ended of cells without a completed one."""
    return [
        status_words(cell["status"]) if cell is not None and not cell["n"] else value
        for cell, value in zip(cells, values, strict=True)
    ]


def group_rows(shown: Shown, keys: Sequence[CellKey]) -> list[list[str]]:
    """The rows of one model and batch size in the shape of 2017: a name, then a field for each key, a device."""
    column = [shown.cells.get(key) for key in keys]
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
    speedups = [shown.speedups.get(key) for key in keys]
    compared = [row for row in speedups if row is not None]
    if len(keys) > 1 and compared:
        add(f"Speedup over {compared[0]['reference_device']}", speedups, ratio_text)
        # Nobody asks how much faster than itself a CPU is.
        if any(row["best_cpu_device"] not in {row["reference_device"], row["device"]} for row in compared):
            texts = [UNKNOWN if row is None else ratio_text(row, "speedup_over_best_cpu") for row in speedups]
            rows.append(["Speedup over the CPU with the least mean", *texts])
    times = [shown.times.get(key) for key in keys]
    targets = [row["target_accuracy"] for row in times if row is not None]
    if targets:
        add(f"Seconds to {100 * targets[0]:g} % accuracy", times, _time_text)
    costs = [shown.costs.get(key) for key in keys]
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
