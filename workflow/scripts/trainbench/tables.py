"""Turns metrics records into the tables of runs, epochs and cells and into the comparison of devices."""

import html
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final, TypeVar

import pandas as pd

from trainbench import whole_file
from trainbench.cross_checks import across_runs
from trainbench.statistics import first_epoch_only, steady_count, steady_median, summarize

COMPLETED: Final = "completed"
UNKNOWN: Final = "\N{EN DASH}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
FLAGGED: Final = "\N{DAGGER}"

# Findings of these levels flag a run; infos only inform.
FLAG_LEVELS: Final = ("warning", "error")

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
    "cpu_samples": "Int64",
    "other_cpu_percent": "float64",
    "gpu_samples": "Int64",
    "gpu_process_memory_mib": "float64",
    "power_watts": "float64",
    "energy_joules_per_epoch": "float64",
    "energy_source": "str",
    "temperature_celsius": "float64",
    "sm_clock_mhz": "float64",
    "canary_seconds": "float64",
    "achieved_flop_per_second": "float64",
    "flop_ceiling_per_second": "float64",
    "bytes_ceiling_per_second": "float64",
    "flop_per_byte": "float64",
    "flags": "str",
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

CHECK_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "repeat": "int64",
    "host": "str",
    "name": "str",
    "level": "str",
    "finding": "str",
    "advice": "str",
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
    "power_watts",
    "energy_joules_per_epoch",
    "other_cpu_percent",
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
    "flagged_runs": "int64",
    "flags": "str",
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
    """The tables that belong together: a row a run, a row an epoch, and two with a row a cell of a host."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    cells: pd.DataFrame
    roofline: pd.DataFrame


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

    `row` is None for a measure of comparison.csv alone; `scale` converts the metric to the unit in `row`;
    `only_if_known` leaves the row out of a table in which no device knows it.
    """

    metric: str
    unit: str
    row: str | None = None
    scale: float = 1.0
    only_if_known: bool = False


MEASURES: Final = (
    Measure("cpu_percent", "%", "CPU (% of one core)"),
    Measure("gpu_utilization_percent", "%", "GPU utilisation (%)"),
    Measure("gpu_memory_mib", "MiB", "GPU memory (MiB)", only_if_known=True),
    Measure("power_watts", "W", "GPU power (W)", only_if_known=True),
    Measure("energy_joules_per_epoch", "J", "GPU energy an epoch (J)", only_if_known=True),
    Measure("train_seconds_per_epoch", "s", "Seconds an epoch"),
    Measure("samples_per_second", "1/s", "Samples a second"),
    Measure("final_accuracy", "fraction", "Final accuracy (%)", scale=100.0),
    Measure("eval_seconds_per_epoch", "s"),
    Measure("startup_seconds", "s"),
    Measure("peak_memory_mib", "MiB"),
    Measure("other_cpu_percent", "%"),
)


def runs_table(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> pd.DataFrame:
    """A row a run, with the columns `RUN_COLUMNS`.

    A run's seconds per epoch are the median over its steady epochs. CPU and GPU use are those of the steady epochs
    too, or of the first where there is no other; over several GPUs, utilisation and clock are means, memory, power and
    energy sums, the temperature is the highest. `energy_joules_per_epoch` is the GPUs'. `flags` names the checks, those
    across runs among them, that found something of the levels `FLAG_LEVELS`: "" if none did. Of a run that was not
    completed, all that is measured of its training is unknown.
    """
    records = list(records)
    findings = _findings(records)
    rows = [_run_row(record) | {"flags": _flags(findings[record["run_id"]])} for record in records]
    return _frame(rows, RUN_COLUMNS, order, last=("repeat", "run_id"))


def epochs_table(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> pd.DataFrame:
    """A row an epoch, with the columns `EPOCH_COLUMNS`.

    `elapsed_seconds` is the training time from the first epoch's start to this epoch's end, evaluation left out.
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


def checks_table(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each finding about a run, of every level, with the columns `CHECK_COLUMNS`."""
    records = list(records)
    findings = _findings(records)
    rows = [
        {
            "model": record["model"],
            "batch_size": record["batch_size"],
            "device": record["device"],
            "repeat": record["repeat"],
            "host": record["host"]["id"],
            **finding,
        }
        for record in records
        for finding in findings[record["run_id"]]
    ]
    return _frame(rows, CHECK_COLUMNS, order, last=("repeat",))


def cells_table(runs: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell of each host, with the columns `CELL_COLUMNS`.

    `runs` counts all runs of the cell and `n` the completed ones, on which the figures rest. `status` is
    "completed" where all were, otherwise it names how the others ended. `flagged_runs` counts the completed runs that
    have flags, and `flags` says in how many of them each was found, as in "other_load:2 epochs_scatter:1".
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
        flagged = [None if cell is None else cell["flagged_runs"] for cell in column]
        rows.append((model, batch_size, "flagged_runs", "runs", *flagged))
    names = [executor.device if len(hosts) == 1 else f"{executor.host}/{executor.device}" for executor in executors]
    # Values stay Python objects: numbers, words and unknowns share a column.
    return pd.DataFrame(rows, columns=["model", "batch_size", "measure", "unit", *names], dtype=object)


def comparison_markdown(
    cells: pd.DataFrame, order: TableOrder | None = None, *, checks: pd.DataFrame | None = None
) -> str:
    """The comparison to be read, in the shape of the 2017 tables: one for each model and batch size.

    Numbers are means over runs, followed by ± and the standard deviation where there are several. Speeds of cells with
    flagged runs are marked; the lines at the end say what was found and, from the table of `checks`, what to do.
    """
    order = order or TableOrder()
    executors = executors_of(cells, order)
    by_key = cells_by_key(cells)
    advice = {} if checks is None else _advice(checks)
    parts = ["# Comparison of devices", *_legend(cells, executors)]
    for model, batch_size in _groups(cells, order):
        column = [by_key.get((model, batch_size, executor.device, executor.host)) for executor in executors]
        rows = [
            [measure.row, *(_mean_and_sd_text(cell, measure) for cell in column)]
            for measure in MEASURES
            if measure.row is not None and not (measure.only_if_known and _unknown_in(column, measure))
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
    found = _flag_lines(cells, len(executors) > 1, advice)
    if found:
        parts += ["## What may have disturbed the runs", "\n".join(found)]
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
    whole_file.write(frame.to_csv(index=False, lineterminator="\n"), path)


def read_runs(path: Path) -> pd.DataFrame:
    """Read runs.csv with the types that `runs_table` gives."""
    return _read_csv(path, RUN_COLUMNS)


def read_epochs(path: Path) -> pd.DataFrame:
    """Read epochs.csv with the types that `epochs_table` gives."""
    return _read_csv(path, EPOCH_COLUMNS)


def read_cells(path: Path) -> pd.DataFrame:
    """Read cells.csv with the types that `cells_table` gives."""
    return _read_csv(path, CELL_COLUMNS)


def read_checks(path: Path) -> pd.DataFrame:
    """Read checks.csv with the types that `checks_table` gives."""
    return _read_csv(path, CHECK_COLUMNS)


def _read_csv(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    # Only an empty field is unknown: a device may be called NA or null.
    frame = pd.read_csv(path, dtype=dict(columns), keep_default_na=False, na_values=[""])
    # No flags is what the checks found, nothing unknown.
    return frame.fillna({"flags": ""})


def _run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    settings, software = record["settings"], record["software"]
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
        "device_kind": settings["device"]["kind"],
        "epochs": len(record["epochs"]),
        "usable_threads": record["host"]["usable_threads"],
        "canary_seconds": record["canary"]["before_seconds"],
    }
    return row | _run_figures(record) if record["status"] == COMPLETED else row


def _run_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    epochs, used = record["epochs"], record["device_used"]
    train_seconds = [epoch["train_seconds"] for epoch in epochs]
    seconds_per_epoch = steady_median(train_seconds)
    samples = steady_median([epoch["samples"] for epoch in epochs])
    samples_per_second = samples / seconds_per_epoch if samples and seconds_per_epoch else None
    return {
        "device_name": used["name"],
        "threads": used["threads"]["intra_op"],
        "cores_given": used["cores_given"],
        "train_seconds_per_epoch": seconds_per_epoch,
        "eval_seconds_per_epoch": steady_median([epoch["eval_seconds"] for epoch in epochs]),
        "first_epoch_train_seconds": train_seconds[0] if train_seconds else None,
        "steady_epochs": steady_count(train_seconds),
        "first_epoch_only": first_epoch_only(train_seconds),
        "samples_per_second": samples_per_second,
        "final_loss": epochs[-1]["loss"] if epochs else None,
        "final_accuracy": epochs[-1]["accuracy"] if epochs else None,
        "best_accuracy": max((epoch["accuracy"] for epoch in epochs), default=None),
        "samples_trained": record["samples_trained"],
        "peak_memory_mib": record["peak_memory_mib"],
        **record["clock"],
        **_usage_figures(record["usage"], steady_count(train_seconds)),
        **_arithmetic_figures(record, samples_per_second),
    }


def _arithmetic_figures(record: Mapping[str, Any], samples_per_second: float | None) -> dict[str, Any]:
    """The run's arithmetic, its intensity and what its device can do at most, as far as known."""
    arithmetic, ceilings = record["arithmetic"] or {}, record["ceilings"] or {}
    flop, bytes_moved = (arithmetic.get(f"train_{what}_per_example") for what in ("flop", "bytes"))
    return {
        "achieved_flop_per_second": flop * samples_per_second if flop and samples_per_second else None,
        "flop_per_byte": flop / bytes_moved if flop and bytes_moved else None,
        "flop_ceiling_per_second": ceilings.get("flop_per_second"),
        "bytes_ceiling_per_second": ceilings.get("bytes_per_second"),
    }


def _usage_figures(usage: Mapping[str, Any] | None, steady_epochs: int) -> dict[str, Any]:
    """CPU and GPU use over the steady epochs, or over the first where there is no other; nothing if nothing watched."""
    if usage is None:
        return {}
    window, epochs = (usage["steady"], steady_epochs) if usage["steady"] else (usage["first_epoch"], 1)
    other_cpu_percent = usage["span"]["other_cpu_percent"] if usage["span"] else None
    if window is None:
        return {"other_cpu_percent": other_cpu_percent}
    return {
        "cpu_percent": window["cpu_percent"],
        "cpu_samples": window["samples"],
        "other_cpu_percent": other_cpu_percent,
        **_gpu_figures(window["gpus"], epochs),
    }


def _gpu_figures(gpus: Sequence[Mapping[str, Any]], epochs: int) -> dict[str, Any]:
    """The use of all GPUs of a run together, of a window of so many epochs; what one does not know stays unknown."""

    def over_gpus(name: str, combine: Callable[[list[float]], float]) -> float | None:
        values = [gpu[name] for gpu in gpus]
        return combine(values) if values and None not in values else None

    energy_joules = over_gpus("energy_joules", sum)
    return {
        "gpu_utilization_percent": over_gpus("utilization_percent", fmean),
        # The fewest: a mean is worth what its weakest part is.
        "gpu_samples": over_gpus("samples", min),
        "gpu_memory_mib": over_gpus("memory_used_mib", sum),
        "gpu_process_memory_mib": over_gpus("process_memory_mib", sum),
        "power_watts": over_gpus("power_watts", sum),
        "energy_joules_per_epoch": None if energy_joules is None else energy_joules / epochs,
        "energy_source": None if energy_joules is None else " ".join(sorted({gpu["energy_source"] for gpu in gpus})),
        "temperature_celsius": over_gpus("temperature_celsius", max),
        "sm_clock_mhz": over_gpus("sm_clock_mhz", fmean),
    }


def _findings(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, str]]]:
    """All findings about each run by its `run_id`: its own, then those across runs."""
    across = across_runs(records)
    return {
        record["run_id"]: [*record["checks"], *(asdict(finding) for finding in across[record["run_id"]])]
        for record in records
    }


def _flags(findings: Iterable[Mapping[str, str]]) -> str:
    return " ".join(dict.fromkeys(finding["name"] for finding in findings if finding["level"] in FLAG_LEVELS))


def _cell_row(runs: Sequence[Row]) -> dict[str, Any]:
    completed = [run for run in runs if run["status"] == COMPLETED]
    others = sorted({run["status"] for run in runs} - {COMPLETED})
    row: dict[str, Any] = {column: runs[0][column] for column in CELL_KEY}
    for column in ("hostname", "device_kind", "device_name", "threads", "usable_threads"):
        values = {run[column] for run in runs} - {None}
        row[column] = values.pop() if len(values) == 1 else None
    row["runs"] = len(runs)
    row["n"] = len(completed)
    row["status"] = ", ".join(others) or COMPLETED
    flags = Counter(flag for run in completed for flag in run["flags"].split())
    row["flagged_runs"] = sum(1 for run in completed if run["flags"])
    row["flags"] = " ".join(f"{name}:{count}" for name, count in flags.most_common())
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
    if cell["flagged_runs"] and measure.metric == "train_seconds_per_epoch":
        shown += f" {FLAGGED}"
    return shown


def _unknown_in(column: Sequence[Row | None], measure: Measure) -> bool:
    return all(cell is None or cell[f"{measure.metric}_mean"] is None for cell in column)


def _advice(checks: pd.DataFrame) -> dict[str, str]:
    """What to do about each flag, by its name: a check gives one advice, whatever it found."""
    return {row["name"]: row["advice"] for row in _rows(checks) if row["level"] in FLAG_LEVELS}


def _flag_lines(cells: pd.DataFrame, several_executors: bool, advice: Mapping[str, str]) -> list[str]:
    """A line a flag: in how many runs, of which cells, and what to do."""
    rows = _rows(cells)
    places: dict[str, dict[str, int]] = {}
    for cell in rows:
        place = f"{cell['model']} {cell['batch_size']}" + (f" {cell['device']}" if several_executors else "")
        for flag in cell["flags"].split():
            name, _, count = flag.rpartition(":")
            of_flag = places.setdefault(name, {})
            of_flag[place] = of_flag.get(place, 0) + int(count)
    runs = sum(cell["n"] for cell in rows)
    lines = []
    for name, counts in places.items():
        listed = "all cells" if len(counts) == len(rows) else ", ".join(counts)
        line = f"{name}: {sum(counts.values())} of {runs} runs ({listed})"
        lines.append(f"- {FLAGGED} {_markdown_text(f'{line}: {advice[name]}' if name in advice else line)}")
    return lines


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
        f"training time of these epochs; 100 % is one core busy. {UNKNOWN} is unknown or not measured."
    ]
    if any(cells[f"{measure.metric}_mean"].notna().any() for measure in MEASURES if measure.only_if_known):
        paragraphs.append(
            "GPU memory is the most that all processes together used of the card. GPU power and energy are the card's "
            "alone, not the machine's; a run on several cards has their sum."
        )
    if cells["first_epoch_only"].any():
        paragraphs.append(
            "\\* Runs of a single epoch have no steady one: their speed is that of the first epoch, "
            "which can be slower."
        )
    if cells["flagged_runs"].any():
        paragraphs.append(
            f"{FLAGGED} Something may have disturbed runs of this cell: the last lines say what, and what to do. "
            "checks.csv has every finding."
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
