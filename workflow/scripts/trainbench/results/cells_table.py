"""Turns the table of runs into that of cells: figures over runs, with their intervals."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from trainbench.results.columns import (
    CELL,
    CELL_KEY,
    ESTIMATE,
    SUMMARY,
    Row,
    chosen,
    ended,
    grouped,
    spread_out,
    text,
    whole,
    yes_or_no,
)
from trainbench.results.runs_table import COMPLETED
from trainbench.results.statistics import estimate, summarize
from trainbench.results.tables import TableOrder, frame, rows_of

NEVER_AVERAGED: Final[Mapping[str, str]] = {
    "device_name": "different_hardware",
    "framework": "different_frameworks",
    "precision": "different_precisions",
    "gpus": "different_numbers_of_gpus",
}
"""What runs of a cell must have in common for it to have figures, and its status where they have not.

A mean over two kinds of card is the speed of none, and neither is one over two frameworks: the same name can mean
different things in the folders of two studies.
"""

CELL_FIGURES: Final = (
    "train_seconds_per_epoch",
    "eval_seconds_per_epoch",
    "epoch_seconds",
    "samples_per_second",
    "startup_seconds",
    "energy_joules_per_epoch",
    "cpu_energy_joules_per_epoch",
)
"""The figures of runs.csv that vary by factors: cells.csv has their geometric mean, its 95 % interval, the typical
deviation of a run (_spread_percent) and the extremes."""

CELL_SHARES: Final = (
    "final_accuracy",
    "cpu_percent",
    "peak_memory_mib",
    "gpu_utilization_percent",
    "gpu_memory_mib",
    "power_watts",
    "other_cpu_percent",
)
"""The shares, percentages and sizes of runs.csv that cells.csv summarises."""

_IN_COMMON: Final = text("device_kind", "device_name", "framework", "precision", "environment") | whole(
    "gpus", "threads", "usable_threads"
)

CELL_COLUMNS: Final = (
    CELL
    | text("hostname")
    | _IN_COMMON
    | whole("runs", "n")
    | text("status")
    | yes_or_no("first_epoch_only")
    | whole("flagged_runs")
    | text("flags")
    | ended(CELL_FIGURES, (*ESTIMATE, "_min", "_max"))
    | ended(CELL_SHARES, SUMMARY)
)
"""The columns of cells.csv."""

BESIDE: Final = ("n", "train_seconds_per_epoch_spread_percent", "flagged_runs", "flags")
"""What stands beside every conclusion about a cell."""


def cells_table(runs: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell of each host, with the columns `CELL_COLUMNS`.

    A figure is the geometric mean over the completed runs, with its 95 % interval; no run is dropped. `runs` counts
    all runs of the cell and `n` the completed ones, on which the figures rest. `status` is "completed" where all were,
    otherwise it names how the others ended; those of `NEVER_AVERAGED` say that they were measured on different models
    of card, say, over which there are no figures. `flagged_runs` counts the completed runs that have flags, and `flags`
    says in how many of them each was found, as in "other_load:2 epochs_scatter:1".
    """
    return frame(map(_row, grouped(rows_of(runs)).values()), CELL_COLUMNS, order or TableOrder())


def beside_cells(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """A table with a row a cell, with those columns of `BESIDE` that it lacks at its end."""
    missing = [column for column in BESIDE if column not in table]
    return table.merge(cells[[*CELL_KEY, *missing]], on=list(CELL_KEY), how="left", validate="many_to_one")


def counted(flags: Sequence[str]) -> str:
    """How many times each flag was found, the most frequent first: "other_load:2 epochs_scatter:1"."""
    return " ".join(f"{name}:{count}" for name, count in Counter(flags).most_common())


def in_common(values: Iterable[Any]) -> Any:  # noqa: ANN401 - a text or a number
    """The value that all have which know one, None where they differ."""
    known = set(values) - {None}
    return known.pop() if len(known) == 1 else None


def _row(runs: Sequence[Row]) -> dict[str, Any]:
    completed = [run for run in runs if run["status"] == COMPLETED]
    others = sorted({run["status"] for run in runs} - {COMPLETED})
    mixed = [
        status for column, status in NEVER_AVERAGED.items() if len({run[column] for run in completed} - {None}) > 1
    ]
    if mixed:
        completed, others = [], [*others, *mixed]
    row = {
        **chosen(runs[0], CELL_KEY),
        "hostname": ", ".join(dict.fromkeys(run["hostname"] for run in runs if run["hostname"])) or None,
        **{column: in_common(run[column] for run in runs) for column in _IN_COMMON},
        "runs": len(runs),
        "n": len(completed),
        "status": ", ".join(others) or COMPLETED,
        "first_epoch_only": any(run["first_epoch_only"] for run in completed) if completed else None,
        "flagged_runs": sum(1 for run in completed if run["flags"]),
        "flags": counted([flag for run in completed for flag in run["flags"].split()]),
    }
    for figure in CELL_FIGURES:
        # No time, rate or energy is 0: a counter or clock that says so knows nothing.
        known = [run[figure] for run in completed if run[figure]]
        row |= spread_out(figure, estimate(known))
        row |= {f"{figure}_min": min(known, default=None), f"{figure}_max": max(known, default=None)}
    for share in CELL_SHARES:
        row |= spread_out(share, summarize(run[share] for run in completed), SUMMARY)
    return row
