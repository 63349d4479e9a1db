"""Sets frameworks and precisions side by side where nothing else differs: the same hardware, model and batch size."""

from collections.abc import Iterable
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.tables.speedups import speedup
from trainbench.results.cells_table import in_common
from trainbench.results.columns import (
    CELL,
    CELL_KEY,
    Row,
    cell_key,
    chosen,
    grouped,
    interval,
    real,
    spread_out,
    text,
    whole,
)
from trainbench.results.executors import executors_of
from trainbench.results.tables import TableOrder, cells_by_key, frame, rows_of

USUAL_FRAMEWORK: Final = "tensorflow"
USUAL_PRECISION: Final = "float32"

_ENERGIES: Final = ("energy_joules_per_epoch", "cpu_energy_joules_per_epoch")
_ACCURACY: Final = ("final_accuracy_mean", "final_accuracy_sd")
_SHARES: Final = ("fraction_of_flop_ceiling", "fraction_of_attainable")
_FACTS: Final = text("device_kind", "device_name") | whole("gpus", "threads") | text("framework", "precision")

COLUMNS: Final = (
    CELL
    | _FACTS
    | text("status")
    | whole("n")
    | interval("train_seconds_per_epoch")
    | text("reference_device", "reference_framework", "reference_precision")
    | whole("reference_flagged_runs")
    | interval("speedup")
    | text("float32_device")
    | whole("float32_flagged_runs")
    | interval("speedup_over_float32")
    | real(*_ACCURACY, *_SHARES)
    | interval(*_ENERGIES)
)

# What devices side by side have in common besides the model and the batch size; of CPUs their threads too.
_PLACE: Final = ("host", "device_kind", "device_name", "gpus", "environment")


def frameworks_table(cells: pd.DataFrame, roofline: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell that has another framework or precision beside it, with the columns `COLUMNS`.

    Cells are side by side whose model, batch size and hardware are the same: on a CPU as many threads in use, on GPUs
    as many of the same model; and so are the variables of the environment that their devices set. Where all of these
    computed with one framework in one precision there is no row of them.
    A cell without a completed run has a row where its device has run elsewhere: that says on what it computes.

    `speedup` is how many times faster a cell trains than the one with TensorFlow in float32, `reference_device`, or
    where that has no figure than the first that has one; `speedup_over_float32` than that with its own framework in
    float32, `float32_device`. Both have Welch's 95 % interval and are 1 of a cell itself. Shares of the ceilings are
    those of the table `roofline`, each of what framework and precision of the cell were seen to do.
    """
    order = order or TableOrder()
    of_roofline = cells_by_key(roofline)
    rows = []
    for members in _side_by_side(cells, order):
        reference = _first_with(members, USUAL_FRAMEWORK) or _first_known(members)
        for cell in members:
            single = _first_with(members, cell["framework"])
            placed = of_roofline.get(cell_key(cell), {})
            rows.append(
                chosen(cell, (*CELL_KEY, *_FACTS, "status", "n", *_ACCURACY))
                | chosen(cell, interval("train_seconds_per_epoch", *_ENERGIES))
                | {share: placed.get(share) for share in _SHARES}
                | _compared("speedup", "reference", reference, cell)
                | _compared("speedup_over_float32", "float32", single, cell)
            )
    return frame(rows, COLUMNS, order)


def _side_by_side(cells: pd.DataFrame, order: TableOrder) -> list[list[Row]]:
    """The cells of the same hardware, model and batch size, in order, where they compute with different things."""
    rows = grouped(rows_of(cells), ("device", "host"))
    known = []
    for executor in executors_of(cells, order):
        own = rows[executor.key]
        # All cells of a device say on what and with what it computes: one out of memory does not.
        facts = {column: in_common(cell[column] for cell in own) for column in _FACTS}
        known += [{**cell, **{name: fact for name, fact in facts.items() if cell[name] is None}} for cell in own]
    complete = [
        cell | {"threads_beside": cell["threads"] if cell["device_kind"] == "cpu" else None}
        for cell in known
        if None not in {cell["device_name"], cell["framework"], cell["precision"]}
    ]
    groups = grouped(complete, ("model", "batch_size", *_PLACE, "threads_beside"))
    return [
        members for members in groups.values() if len({(cell["framework"], cell["precision"]) for cell in members}) > 1
    ]


def _first_with(members: Iterable[Row], framework: str) -> Row | None:
    """The first cell with a framework in float32 that has a figure."""
    usual = (framework, USUAL_PRECISION)
    return _first_known(cell for cell in members if (cell["framework"], cell["precision"]) == usual)


def _first_known(cells: Iterable[Row]) -> Row | None:
    return next((cell for cell in cells if cell["train_seconds_per_epoch"] is not None), None)


def _compared(name: str, other: str, reference: Row | None, cell: Row) -> dict[str, Any]:
    """A ratio to another cell, and which that is; nothing where there is none or one of the two has no figure."""
    found = None if reference is None else speedup(reference, cell)
    if reference is None or found is None:
        return {}
    facts = chosen(reference, ("device", "flagged_runs", "framework", "precision"), f"{other}_")
    return facts | spread_out(name, found)
