"""Sets frameworks and precisions side by side where nothing else differs: the same hardware, model and batch size."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.speedups import speedup
from trainbench.results.statistics import Ratio
from trainbench.results.tables import CELL_KEY, Row, TableOrder, cell_key, cells_by_key, executors_of, frame, rows_of

USUAL_FRAMEWORK: Final = "tensorflow"
USUAL_PRECISION: Final = "float32"

_FIGURES: Final = ("train_seconds_per_epoch", "energy_joules_per_epoch", "cpu_energy_joules_per_epoch")
_RATIOS: Final = ("speedup", "speedup_over_float32")
_ENDS: Final = ("", "_low", "_high")
_SHARES: Final = ("fraction_of_flop_ceiling", "fraction_of_attainable")

FRAMEWORK_COLUMNS: Final[Mapping[str, str]] = (
    {
        "model": "str",
        "batch_size": "int64",
        "device": "str",
        "host": "str",
        "device_kind": "str",
        "device_name": "str",
        "gpus": "Int64",
        "threads": "Int64",
        "framework": "str",
        "precision": "str",
        "status": "str",
        "n": "int64",
    }
    | {f"train_seconds_per_epoch{end}": "float64" for end in _ENDS}
    | {
        "reference_device": "str",
        "reference_framework": "str",
        "reference_precision": "str",
        "reference_flagged_runs": "Int64",
    }
    | {f"speedup{end}": "float64" for end in _ENDS}
    | {"float32_device": "str", "float32_flagged_runs": "Int64"}
    | {f"speedup_over_float32{end}": "float64" for end in _ENDS}
    | {"final_accuracy_mean": "float64", "final_accuracy_sd": "float64"}
    | dict.fromkeys(_SHARES, "float64")
    | {f"{figure}{end}": "float64" for figure in _FIGURES[1:] for end in _ENDS}
)

# What devices side by side have in common besides the model and the batch size; of CPUs their threads too.
_PLACE: Final = ("host", "device_kind", "device_name", "gpus", "environment")
_FACTS: Final = ("device_kind", "device_name", "gpus", "threads", "framework", "precision")


def frameworks_table(cells: pd.DataFrame, roofline: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell that has another framework or precision beside it, with the columns `FRAMEWORK_COLUMNS`.

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
        reference = _reference(members)
        for cell in members:
            single = _first_known(one for one in members if _computes(one, cell["framework"], USUAL_PRECISION))
            placed = of_roofline.get(cell_key(cell), {})
            rows.append(
                {column: cell[column] for column in (*CELL_KEY, *_FACTS, "status", "n")}
                | {f"{figure}{end}": cell[f"{figure}{end}"] for figure in _FIGURES for end in _ENDS}
                | {column: cell[column] for column in ("final_accuracy_mean", "final_accuracy_sd")}
                | {share: placed.get(share) for share in _SHARES}
                | _compared("speedup", "reference", reference, cell)
                | _compared("speedup_over_float32", "float32", single, cell)
            )
    return frame(rows, FRAMEWORK_COLUMNS, order)


def _side_by_side(cells: pd.DataFrame, order: TableOrder) -> list[list[Row]]:
    """The cells of the same hardware, model and batch size, in order, where they compute with different things."""
    facts = _facts(cells)
    ranks = {(one.device, one.host): rank for rank, one in enumerate(executors_of(cells, order))}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for cell in sorted(rows_of(cells), key=lambda row: ranks[row["device"], row["host"]]):
        of_device = facts[cell["device"], cell["host"]]
        known = {**cell, **{name: fact for name, fact in of_device.items() if cell[name] is None}}
        if None in {known["device_name"], known["framework"], known["precision"]}:
            continue
        place = tuple(known[column] for column in _PLACE)
        threads = known["threads"] if known["device_kind"] == "cpu" else None
        groups.setdefault((known["model"], known["batch_size"], place, threads), []).append(known)
    return [members for members in groups.values() if len(_kinds(members)) > 1]


def _facts(cells: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """On what and with what each device of a host computes, by all of its cells: one out of memory does not say."""
    found: dict[tuple[str, str], dict[str, set[Any]]] = {}
    for cell in rows_of(cells):
        of_device = found.setdefault((cell["device"], cell["host"]), {column: set() for column in _FACTS})
        for column, values in of_device.items():
            values.update({cell[column]} - {None})
    return {
        key: {column: next(iter(values)) if len(values) == 1 else None for column, values in of_device.items()}
        for key, of_device in found.items()
    }


def _kinds(members: Iterable[Row]) -> set[tuple[str, str]]:
    return {(cell["framework"], cell["precision"]) for cell in members}


def _reference(members: Sequence[Row]) -> Row | None:
    """The cell with TensorFlow in float32, or the first one with a figure."""
    usual = [cell for cell in members if _computes(cell, USUAL_FRAMEWORK, USUAL_PRECISION)]
    return _first_known((*usual, *members))


def _first_known(cells: Iterable[Row]) -> Row | None:
    return next((cell for cell in cells if cell["train_seconds_per_epoch"] is not None), None)


def _computes(cell: Row, framework: str, precision: str) -> bool:
    return (cell["framework"], cell["precision"]) == (framework, precision)


def _compared(name: str, other: str, reference: Row | None, cell: Row) -> dict[str, Any]:
    """A ratio to another cell, and which that is; nothing where there is none or one of the two has no figure."""
    found: Ratio | None = None if reference is None else speedup(reference, cell)
    if reference is None or found is None:
        return {}
    columns: dict[str, Any] = {
        f"{other}_device": reference["device"],
        f"{other}_flagged_runs": reference["flagged_runs"],
        name: found.value,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
    }
    if other == "reference":
        columns |= {f"reference_{column}": reference[column] for column in ("framework", "precision")}
    return columns
