"""Turns metrics records into the tables of runs, epochs and cells and into the comparison of devices."""

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from trainbench.record import write_atomically
from trainbench.statistics import first_epoch_only, steady_count, steady_median, summarize

COMPLETED: Final = "completed"
UNKNOWN: Final = "\N{EN DASH}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"

# The columns of runs.csv in order, with their types; "Int64" and "boolean" are those that can be unknown.
RUN_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "repeat": "int64",
    "host": "str",
    "hostname": "str",
    "status": "str",
    "run_id": "str",
    "started_at": "str",
    "seed": "UInt64",
    "framework": "str",
    "framework_version": "str",
    "precision": "str",
    "device_kind": "str",
    "device_name": "str",
    "threads": "Int64",
    "cores_given": "Int64",
    "epochs": "Int64",
    "train_seconds_per_epoch": "float64",
    "eval_seconds_per_epoch": "float64",
    "first_epoch_train_seconds": "float64",
    "steady_epochs": "Int64",
    "samples_per_second": "float64",
    "startup_seconds": "float64",
    "data_seconds": "float64",
    "compile_seconds": "float64",
    "train_seconds": "float64",
    "eval_seconds": "float64",
    "total_seconds": "float64",
    "final_loss": "float64",
    "final_accuracy": "float64",
    "best_accuracy": "float64",
    "samples_trained": "Int64",
    "cpu_percent": "float64",
    "peak_memory_mib": "float64",
    "gpu_utilization_percent": "float64",
    "gpu_memory_mib": "float64",
    "usable_threads": "Int64",
    "first_epoch_only": "boolean",
}

EPOCH_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "repeat": "int64",
    "host": "str",
    "epoch": "int64",
    "train_seconds": "float64",
    "eval_seconds": "float64",
    "loss": "float64",
    "accuracy": "float64",
    "elapsed_seconds": "float64",
}

# The columns of runs.csv that cells.csv summarises, each as _mean, _sd, _min and _max.
CELL_METRICS: Final = (
    "train_seconds_per_epoch",
    "eval_seconds_per_epoch",
    "samples_per_second",
    "final_accuracy",
    "cpu_percent",
    "peak_memory_mib",
    "gpu_utilization_percent",
    "gpu_memory_mib",
    "startup_seconds",
)

CELL_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "host": "str",
    "hostname": "str",
    "device_kind": "str",
    "device_name": "str",
    "threads": "Int64",
    "usable_threads": "Int64",
    "runs": "int64",
    "n": "int64",
    "status": "str",
    "first_epoch_only": "boolean",
} | {f"{metric}_{statistic}": "float64" for metric in CELL_METRICS for statistic in ("mean", "sd", "min", "max")}

CELL_KEY: Final = ("model", "batch_size", "device", "host")

Row = Mapping[str, Any]
CellKey = tuple[str, int, str, str]


@dataclass(frozen=True)
class TableOrder:
    """In which order things are shown; what is not named goes last, sorted."""

    models: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tables:
    """The three tables that belong together: a row a run, a row an epoch, a row a cell of a host."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    cells: pd.DataFrame


@dataclass(frozen=True)
class Executor:
    """A device of a host: what one column of the comparison and one colour of the figures stand for.

    `label` names the host too where the results come from several hosts.
    """

    device: str
    host: str
    label: str


@dataclass(frozen=True)
class Measure:
    """A row of the comparison: a metric of the cells, its unit, and how the Markdown table shows it.

    `row` is None for a measure of comparison.csv alone; `scale` converts the metric to the unit in `row`.
    """

    metric: str
    unit: str
    row: str | None = None
    scale: float = 1.0


MEASURES: Final = (
    Measure("cpu_percent", "%", "CPU (% of one core)"),
    Measure("gpu_utilization_percent", "%", "GPU utilisation (%)"),
    Measure("train_seconds_per_epoch", "s", "Seconds an epoch"),
    Measure("samples_per_second", "1/s", "Samples a second"),
    Measure("final_accuracy", "fraction", "Final accuracy (%)", scale=100.0),
    Measure("eval_seconds_per_epoch", "s"),
    Measure("startup_seconds", "s"),
    Measure("peak_memory_mib", "MiB"),
    Measure("gpu_memory_mib", "MiB"),
)


def runs_table(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> pd.DataFrame:
    """A row a run, with the columns `RUN_COLUMNS`.

    A run's seconds per epoch are the median over its steady epochs. Of a run that was not completed, all that
    is measured is unknown.
    """
    rows = [_run_row(record) for record in records]
    return _frame(rows, RUN_COLUMNS, order, last=("repeat", "run_id"))


def epochs_table(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> pd.DataFrame:
    """A row an epoch, with the columns `EPOCH_COLUMNS`.

    `elapsed_seconds` is the training time from the first epoch's start to this epoch's end, evaluation left
    out. The epochs that a run finished before it ran out of memory are there too: they were measured.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        run = {
            "model": record["model"],
            "batch_size": record["batch_size"],
            "device": record["device"],
            "repeat": record["repeat"],
            "host": record["host"]["id"],
        }
        elapsed_seconds = 0.0
        for epoch in record["epochs"]:
            elapsed_seconds += epoch["train_seconds"]
            measured = {key: epoch[key] for key in ("epoch", "train_seconds", "eval_seconds", "loss", "accuracy")}
            rows.append(run | measured | {"elapsed_seconds": elapsed_seconds})
    return _frame(rows, EPOCH_COLUMNS, order, last=("repeat", "epoch"))


def cells_table(runs: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell of each host, with the columns `CELL_COLUMNS`.

    `runs` counts all runs of the cell and `n` the completed ones, on which the figures rest. `status` is
    "completed" where all were, otherwise it names how the others ended.
    """
    cells: dict[CellKey, list[Row]] = {}
    for run in _rows(runs):
        cells.setdefault(_key(run), []).append(run)
    return _frame([_cell_row(members) for members in cells.values()], CELL_COLUMNS, order)


def comparison_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """The comparison as data: a row for each model, batch size and measure, a column a device.

    The columns are `model, batch_size, measure, unit` and then one a device, named `device` where all results
    come from one host and `host/device` otherwise. Values are means over runs; a cell without a completed run
    holds its status in words ("out of memory"), and what is unknown is None.
    """
    order = order or TableOrder()
    executors = executors_of(cells, order)
    hosts = {executor.host for executor in executors}
    by_key = cells_by_key(cells)
    rows: list[tuple[object, ...]] = []
    for model, batch_size in _groups(cells, order):
        column = [by_key.get((model, batch_size, executor.device, executor.host)) for executor in executors]
        for measure in MEASURES:
            values = [_mean_or_status(cell, measure) for cell in column]
            rows.append((model, batch_size, measure.metric, measure.unit, *values))
        if len(executors) > 1:
            values = [_speedup_or_status(column[0], cell) for cell in column]
            rows.append((model, batch_size, "speedup", "ratio", *values))
        counts = [None if cell is None else cell["n"] for cell in column]
        rows.append((model, batch_size, "completed_runs", "runs", *counts))
    names = [executor.device if len(hosts) == 1 else f"{executor.host}/{executor.device}" for executor in executors]
    # Values stay Python objects: numbers, words and unknowns share a column.
    return pd.DataFrame(rows, columns=["model", "batch_size", "measure", "unit", *names], dtype=object)


def comparison_markdown(cells: pd.DataFrame, order: TableOrder | None = None) -> str:
    """The comparison to be read, in the shape of the 2017 tables: one for each model and batch size.

    Numbers are means over runs, followed by ± and the standard deviation where there are several.
    """
    order = order or TableOrder()
    executors = executors_of(cells, order)
    by_key = cells_by_key(cells)
    parts = ["# Comparison of devices", *_legend(cells, executors)]
    for model, batch_size in _groups(cells, order):
        column = [by_key.get((model, batch_size, executor.device, executor.host)) for executor in executors]
        rows = [
            [measure.row, *(_mean_and_sd_text(cell, measure) for cell in column)]
            for measure in MEASURES
            if measure.row is not None
        ]
        if len(executors) > 1:
            rows.append(
                [
                    f"Speedup over {_markdown_text(executors[0].label)}",
                    *(_speedup_text(column[0], cell) for cell in column),
                ]
            )
        rows.append(["Runs", *(_runs_text(cell) for cell in column)])
        table = pd.DataFrame(rows, columns=["", *(_markdown_text(executor.label) for executor in executors)])
        # Text as it is: tabulate would read a device called 1e5 as a number.
        shown = table.to_markdown(index=False, disable_numparse=True, colalign=("left", *("right" for _ in executors)))
        parts += [f"## {_markdown_text(model)}, batch size {batch_size}", shown]
    return "\n\n".join(parts) + "\n"


def executors_of(cells: pd.DataFrame, order: TableOrder) -> tuple[Executor, ...]:
    """The devices of each host that have at least one run, in order: by device, then by host."""
    pairs = set(zip(cells["device"].tolist(), cells["host"].tolist(), strict=True))
    several_hosts = len({host for _, host in pairs}) > 1
    device_rank = _ranks((device for device, _ in pairs), order.devices)
    host_rank = _ranks((host for _, host in pairs), order.hosts)
    return tuple(
        Executor(device, host, f"{device} @ {host}" if several_hosts else device)
        for device, host in sorted(pairs, key=lambda pair: (device_rank[pair[0]], host_rank[pair[1]]))
    )


def cells_by_key(cells: pd.DataFrame) -> dict[CellKey, Row]:
    """The rows of the table of cells by model, batch size, device and host; what is unknown is None."""
    return {_key(cell): cell for cell in _rows(cells)}


def models_of(table: pd.DataFrame, order: TableOrder) -> list[str]:
    """The models of a table in order."""
    return ranked(table["model"].tolist(), order.models)


def batch_sizes_of(table: pd.DataFrame, order: TableOrder) -> list[int]:
    """The batch sizes of a table in order."""
    return ranked(table["batch_size"].tolist(), order.batch_sizes)


def status_words(status: str) -> str:
    """How a status is shown to a reader: "out_of_memory" as "out of memory"."""
    return status.replace("_", " ")


def speedup(reference: Row | None, cell: Row | None) -> float | None:
    """How many times faster a cell trains than the reference: the ratio of their mean seconds per epoch."""
    if reference is None or cell is None:
        return None
    reference_seconds = reference["train_seconds_per_epoch_mean"]
    seconds = cell["train_seconds_per_epoch_mean"]
    return reference_seconds / seconds if reference_seconds is not None and seconds else None


def format_number(value: float, significant: int = 4) -> str:
    """A number with so many significant digits, never in scientific notation: 12.15, 0.0412, 55210."""
    return _format_fixed(value, _decimals(value, significant))


def format_ratio(ratio: float) -> str:
    """How many times, with three significant digits: 15.3 followed by the multiplication sign."""
    return f"{format_number(ratio, significant=3)}{TIMES}"


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV in one atomic step: UTF-8, unknown left empty, floats exact when read back."""
    write_atomically(frame.to_csv(index=False, lineterminator="\n"), path)


def read_runs(path: Path) -> pd.DataFrame:
    """Read runs.csv with the types that `runs_table` gives."""
    return _read_csv(path, RUN_COLUMNS)


def read_epochs(path: Path) -> pd.DataFrame:
    """Read epochs.csv with the types that `epochs_table` gives."""
    return _read_csv(path, EPOCH_COLUMNS)


def read_cells(path: Path) -> pd.DataFrame:
    """Read cells.csv with the types that `cells_table` gives."""
    return _read_csv(path, CELL_COLUMNS)


def _read_csv(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    # Only an empty field is unknown: a device may be called NA or null.
    return pd.read_csv(path, dtype=dict(columns), keep_default_na=False, na_values=[""])


def _run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    used, settings, software = record["device_used"], record["settings"], record["software"]
    row = {
        "model": record["model"],
        "batch_size": record["batch_size"],
        "device": record["device"],
        "repeat": record["repeat"],
        "host": record["host"]["id"],
        "hostname": record["host"]["hostname"],
        "status": record["status"],
        "run_id": record["run_id"],
        "started_at": record["started_at"],
        "seed": record["seed"],
        "framework": software["framework"],
        "framework_version": software["versions"].get(software["framework"]),
        "precision": settings["device"]["precision"],
        "device_kind": used["kind"],
        "device_name": used["name"],
        "threads": used["threads"]["intra_op"],
        "cores_given": used["cores_given"],
        "epochs": len(record["epochs"]),
        "usable_threads": record["host"]["usable_threads"],
    }
    return row | _run_figures(record) if record["status"] == COMPLETED else row


def _run_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    epochs, clock, usage = record["epochs"], record["clock"], record["usage"]
    train_seconds = [epoch["train_seconds"] for epoch in epochs]
    seconds_per_epoch = steady_median(train_seconds)
    samples = steady_median([epoch["samples"] for epoch in epochs])
    return {
        "train_seconds_per_epoch": seconds_per_epoch,
        "eval_seconds_per_epoch": steady_median([epoch["eval_seconds"] for epoch in epochs]),
        "first_epoch_train_seconds": train_seconds[0] if train_seconds else None,
        "steady_epochs": steady_count(train_seconds),
        "first_epoch_only": first_epoch_only(train_seconds),
        "samples_per_second": samples / seconds_per_epoch if samples and seconds_per_epoch else None,
        "final_loss": epochs[-1]["loss"] if epochs else None,
        "final_accuracy": epochs[-1]["accuracy"] if epochs else None,
        "best_accuracy": max((epoch["accuracy"] for epoch in epochs), default=None),
        "samples_trained": record["samples_trained"],
        **clock,
        **usage,
    }


def _cell_row(runs: Sequence[Row]) -> dict[str, Any]:
    completed = [run for run in runs if run["status"] == COMPLETED]
    others = sorted({run["status"] for run in runs} - {COMPLETED})
    row: dict[str, Any] = {column: runs[0][column] for column in CELL_KEY}
    for column in ("hostname", "device_kind", "device_name", "threads", "usable_threads"):
        values = {run[column] for run in runs}
        row[column] = values.pop() if len(values) == 1 else None
    row["runs"] = len(runs)
    row["n"] = len(completed)
    row["status"] = ", ".join(others) or COMPLETED
    row["first_epoch_only"] = any(run["first_epoch_only"] for run in completed) if completed else None
    for metric in CELL_METRICS:
        summary = summarize(run[metric] for run in completed)
        row[f"{metric}_mean"] = summary.mean
        row[f"{metric}_sd"] = summary.sd
        row[f"{metric}_min"] = summary.minimum
        row[f"{metric}_max"] = summary.maximum
    return row


def _frame(
    rows: Sequence[Row], columns: Mapping[str, str], order: TableOrder | None, last: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A frame of `columns`, its rows sorted by model, batch size, device, host and the columns `last`."""
    order = order or TableOrder()
    ranks: list[Mapping[Any, int]] = [
        _ranks((row["model"] for row in rows), order.models),
        _ranks((row["batch_size"] for row in rows), order.batch_sizes),
        _ranks((row["device"] for row in rows), order.devices),
        _ranks((row["host"] for row in rows), order.hosts),
    ]

    def position(row: Row) -> tuple[Any, ...]:
        key = (rank[row[column]] for rank, column in zip(ranks, CELL_KEY, strict=True))
        return (*key, *(row[column] for column in last))

    values: dict[str, list[Any]] = {column: [] for column in columns}
    for row in sorted(rows, key=position):
        for column in columns:
            values[column].append(row.get(column))
    return pd.DataFrame({column: pd.Series(values[column], dtype=dtype) for column, dtype in columns.items()})


def _rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as mappings of Python values, unknown as None."""
    columns = {
        str(name): [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
        for name, column in frame.items()
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _key(row: Row) -> CellKey:
    return row["model"], row["batch_size"], row["device"], row["host"]


def _groups(cells: pd.DataFrame, order: TableOrder) -> list[tuple[str, int]]:
    """The pairs of model and batch size that have cells, in order."""
    present = set(zip(cells["model"].tolist(), cells["batch_size"].tolist(), strict=True))
    return [
        (model, batch_size)
        for model in models_of(cells, order)
        for batch_size in batch_sizes_of(cells, order)
        if (model, batch_size) in present
    ]


_Name = TypeVar("_Name", str, int)


def ranked(present: Iterable[_Name], named: Sequence[_Name]) -> list[_Name]:
    """The distinct values of `present`: first those of `named`, in its order, then the others, sorted."""
    found = set(present)
    first = [name for name in dict.fromkeys(named) if name in found]
    return first + sorted(found.difference(named))


def _ranks(present: Iterable[_Name], named: Sequence[_Name]) -> dict[_Name, int]:
    return {name: rank for rank, name in enumerate(ranked(present, named))}


def _mean_or_status(cell: Row | None, measure: Measure) -> float | str | None:
    if cell is None:
        return None
    return cell[f"{measure.metric}_mean"] if cell["n"] else status_words(cell["status"])


def _speedup_or_status(reference: Row | None, cell: Row | None) -> float | str | None:
    if cell is not None and not cell["n"]:
        return status_words(cell["status"])
    return speedup(reference, cell)


def _mean_and_sd_text(cell: Row | None, measure: Measure) -> str:
    if cell is None:
        return UNKNOWN
    mean = _mean_or_status(cell, measure)
    if mean is None or isinstance(mean, str):
        return mean or UNKNOWN
    mean *= measure.scale
    decimals = _decimals(mean)
    shown = _format_fixed(mean, decimals)
    sd = cell[f"{measure.metric}_sd"]
    if sd is not None:
        shown += f" ± {_format_fixed(sd * measure.scale, decimals)}"
    if cell["first_epoch_only"] and "_per_" in measure.metric:
        shown += " *"
    return shown


def _speedup_text(reference: Row | None, cell: Row | None) -> str:
    ratio = _speedup_or_status(reference, cell)
    if isinstance(ratio, str):
        return ratio
    return UNKNOWN if ratio is None else format_ratio(ratio)


def _runs_text(cell: Row | None) -> str:
    if cell is None:
        return UNKNOWN
    if cell["n"] == cell["runs"]:
        return str(cell["n"])
    return f"{cell['n']} of {cell['runs']} ({status_words(cell['status'])})"


def _decimals(value: float, significant: int = 4) -> int:
    """Decimal places that show `value` with so many significant digits; negative before the point."""
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])
    return significant - 1 - exponent


def _format_fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def _legend(cells: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    """What a reader must know: what the numbers are and which hardware they come from."""
    paragraphs = [
        "Each column is a device. Numbers are means over the runs of a cell, ± their standard deviation "
        "where there are several. The speed of a run is that of training alone, evaluation left out: the "
        "median over its steady epochs, which are all but the first. CPU and GPU use are means over the "
        f"training time; 100 % is one core busy. {UNKNOWN} is unknown or not measured."
    ]
    if cells["first_epoch_only"].any():
        paragraphs.append(
            "\\* Runs of a single epoch have no steady one: their speed is that of the first epoch, "
            "which can be slower."
        )
    return [*paragraphs, *_host_lines(cells, executors)]


def _host_lines(cells: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    rows = _rows(cells)
    lines = []
    for host in dict.fromkeys(executor.host for executor in executors):
        on_host = [row for row in rows if row["host"] == host]
        devices = []
        for executor in executors:
            if executor.host == host:
                hardware = _distinct(_hardware(row) for row in on_host if row["device"] == executor.device)
                devices.append(f"{executor.device} = {' / '.join(hardware) or 'unknown'}")
        hostnames = ", ".join(_distinct(row["hostname"] for row in on_host))
        lines.append(_markdown_text(f"{host} ({hostnames}): {'; '.join(devices)}"))
    if len(lines) == 1:
        return [f"Host {lines[0]}"]
    return ["Hosts:", "\n".join(f"- {line}" for line in lines)]


def _hardware(cell: Row) -> str | None:
    if cell["device_kind"] != "cpu" or cell["device_name"] is None or cell["threads"] is None:
        name: str | None = cell["device_name"]
        return name
    return f"{cell['device_name']}, {cell['threads']} {'thread' if cell['threads'] == 1 else 'threads'}"


def _distinct(texts: Iterable[str | None]) -> list[str]:
    """The different texts in order of appearance, unknown ones left out."""
    return list(dict.fromkeys(text for text in texts if text is not None))


def _markdown_text(text: str) -> str:
    """`text` so that Markdown, in a table too, shows it literally."""
    escaped = re.sub(r"([\\`*\[\]|#~$])", r"\\\1", html.escape(text.replace("\n", " "), quote=False))
    # Between letters or digits an underscore is literal already, and reads better bare.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)
