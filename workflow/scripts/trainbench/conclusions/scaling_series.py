"""Puts the cells together over which throughput scales: all that differs is the number of threads or of GPUs."""

from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.scaling import Fit, Point, fit_usl
from trainbench.results.columns import Row, chosen, estimate_in, grouped, interval, spread_out
from trainbench.results.statistics import Ratio, ratio
from trainbench.results.tables import TableOrder, rows_of, sorted_table


@dataclass(frozen=True)
class Axis:
    """Over what the throughput of devices of a `kind` scales: a `column` of the table of cells.

    Cells of one series have what is in the columns `key` in common.
    """

    kind: str
    column: str
    key: tuple[str, ...]


SPEED: Final = "samples_per_second"
SERIES_KEY: Final = ("model", "batch_size", "host", "framework", "precision", "environment")
THREADS: Final = Axis("cpu", "threads", SERIES_KEY)
# A machine can have two kinds of card, but not of processor.
GPUS: Final = Axis("gpu", "gpus", (*SERIES_KEY, "device_name"))


@dataclass(frozen=True)
class Series:
    """The cells over which throughput scales: all that differs is the device's place on the axis, ascending."""

    axis: Axis
    cells: tuple[Row, ...]

    @property
    def key(self) -> dict[str, Any]:
        """What its cells have in common."""
        return chosen(self.cells[0], self.axis.key)

    @property
    def counts(self) -> list[int]:
        """The distinct numbers of threads or GPUs, ascending."""
        return list(dict.fromkeys(cell[self.axis.column] for cell in self.cells))

    @property
    def fit(self) -> Fit:
        """The law of threads."""
        return fit_usl(tuple(Point(cell[self.axis.column], estimate_in(cell, SPEED)) for cell in self.cells))


def series_of(cells: pd.DataFrame, order: TableOrder | None, axis: Axis) -> list[Series]:
    """All series of an axis' cells with a known throughput, in order."""
    known = cells[(cells["device_kind"] == axis.kind) & cells[axis.column].notna() & cells[SPEED].notna()]
    ordered = sorted_table(known, order or TableOrder(), (*axis.key, axis.column, "device"))
    return [Series(axis, tuple(rows)) for rows in grouped(rows_of(ordered), axis.key).values()]


def throughput_ratio(cell: Row, reference: Row) -> Ratio:
    """How many times the throughput of `reference` a cell has."""
    if cell is reference:
        return Ratio(1.0, 1.0, 1.0)
    found = ratio(estimate_in(cell, SPEED), estimate_in(reference, SPEED))
    if found is None:
        raise ValueError("the ratio of unknown throughputs")
    return found


def scaled(series: Series) -> list[dict[str, Any]]:
    """What the tables of both axes say of each cell of a series."""
    reference, count = series.cells[0], series.axis.column
    rows = []
    for cell in series.cells:
        speedup = throughput_ratio(cell, reference)
        rows.append(
            series.key
            | chosen(cell, ("device", count, "n", *interval(SPEED)))
            | chosen(reference, ("device", count), "reference_")
            | spread_out("speedup", speedup)
            | spread_out("efficiency", speedup.times(reference[count] / cell[count]))
        )
    return rows
