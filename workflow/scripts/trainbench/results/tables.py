"""Turns metrics records into the tables of runs, epochs, checks and cells."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final, TypeVar

import pandas as pd

from trainbench.files import whole_file
from trainbench.records.steady import positions_of_last_part
from trainbench.results import cross_checks
from trainbench.results.comparability import own_variables, threads_in_use, variables_text
from trainbench.results.statistics import Estimate, estimate, first_epoch_only, steady_count, steady_median, summarize
from trainbench.words.wording import framework_words

COMPLETED: Final = "completed"
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

_COUNTS: Final = ("gpus", "threads", "usable_threads")

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
    "environment": "str",
    "device_kind": "str",
    "device_name": "str",
    "gpus": "Int64",
    "threads": "Int64",
    "cores_given": "Int64",
    "epochs": "Int64",
    "train_seconds_per_epoch": "float64",
    "eval_seconds_per_epoch": "float64",
    "epoch_seconds": "float64",
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
    "cpu_energy_joules_per_epoch": "float64",
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
    "run_id": "str",
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
    "run_id": "str",
}

# The figures of runs.csv that vary by factors: cells.csv has their geometric mean, its 95 % interval (_low, _high), the
# typical deviation of a run (_spread_percent) and the extremes.
CELL_FIGURES: Final = (
    "train_seconds_per_epoch",
    "eval_seconds_per_epoch",
    "epoch_seconds",
    "samples_per_second",
    "startup_seconds",
    "energy_joules_per_epoch",
    "cpu_energy_joules_per_epoch",
)

# The shares, percentages and sizes of runs.csv that cells.csv summarises, each as _mean, _sd, _min and _max.
CELL_SHARES: Final = (
    "final_accuracy",
    "cpu_percent",
    "peak_memory_mib",
    "gpu_utilization_percent",
    "gpu_memory_mib",
    "power_watts",
    "other_cpu_percent",
)

CELL_COLUMNS: Final[Mapping[str, str]] = (
    {
        "model": "str",
        "batch_size": "int64",
        "device": "str",
        "host": "str",
        "hostname": "str",
        "device_kind": "str",
        "device_name": "str",
        "framework": "str",
        "precision": "str",
        "environment": "str",
        "gpus": "Int64",
        "threads": "Int64",
        "usable_threads": "Int64",
        "runs": "int64",
        "n": "int64",
        "status": "str",
        "first_epoch_only": "boolean",
        "flagged_runs": "int64",
        "flags": "str",
    }
    | {
        f"{figure}{part}": "float64"
        for figure in CELL_FIGURES
        for part in ("", "_low", "_high", "_spread_percent", "_min", "_max")
    }
    | {f"{share}_{statistic}": "float64" for share in CELL_SHARES for statistic in ("mean", "sd", "min", "max")}
)

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
class Executor:
    """A device of a host: what one column of the comparison and one colour of the figures stand for.

    `label` names the host too where the results come from several hosts. `detail` says with what it computes, as in
    "PyTorch, bfloat16": its framework and its precision, each where there are several among all devices, else "".
    """

    device: str
    host: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Measured:
    """What metrics records say: a row a run, a row an epoch, a row a finding."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    checks: pd.DataFrame


def measured(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> Measured:
    """The tables that come straight from metrics records, which are looked at one by one and not kept.

    `runs` has the columns `RUN_COLUMNS`. A run's seconds per epoch are the median over its steady epochs;
    `epoch_seconds` count training and evaluation. CPU and GPU use are those of the steady epochs too, or of the first
    where there is no other; over several GPUs, utilisation and clock are means, memory, power and energy sums, the
    temperature is the highest. `energy_joules_per_epoch` is the GPUs'. `flags` names the checks, those across runs
    among them, that found something of the levels `FLAG_LEVELS`: "" if none did. Of a run that was not completed, all
    that is measured of its training is unknown.

    `epochs` has the columns `EPOCH_COLUMNS`; `elapsed_seconds` is the training time from the first epoch's start to
    this epoch's end, evaluation left out. `checks` has the columns `CHECK_COLUMNS` and a row for each finding about a
    run, of every level.
    """
    rows: list[dict[str, Any]] = []
    epochs: dict[str, list[Any]] = {column: [] for column in EPOCH_COLUMNS}
    findings: list[list[Mapping[str, str]]] = []
    compared = []
    for record in records:
        rows.append(_run_row(record))
        for epoch in _epoch_rows(record):
            for column, value in epoch.items():
                epochs[column].append(value)
        findings.append(record["checks"])
        compared.append(cross_checks.compared_part(record))
    across = cross_checks.across_runs(compared)
    found = [
        [*own, *(asdict(finding) for finding in across[row["run_id"]])] for row, own in zip(rows, findings, strict=True)
    ]
    for row, own in zip(rows, found, strict=True):
        row["flags"] = _flags(own)
    run_key = [*CELL_KEY, "repeat", "run_id"]
    checks = [
        {column: row[column] for column in run_key} | dict(finding)
        for row, own in zip(rows, found, strict=True)
        for finding in own
    ]
    return Measured(
        runs=frame(rows, RUN_COLUMNS, order, last=("repeat", "run_id")),
        epochs=_sorted_frame(epochs, EPOCH_COLUMNS, order, last=("repeat", "epoch")),
        checks=frame(checks, CHECK_COLUMNS, order, last=("repeat",)),
    )


def cells_table(runs: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell of each host, with the columns `CELL_COLUMNS`.

    A figure is the geometric mean over the completed runs, with its 95 % interval; no run is dropped. `runs` counts
    all runs of the cell and `n` the completed ones, on which the figures rest. `status` is "completed" where all were,
    otherwise it names how the others ended; those of `NEVER_AVERAGED` say that they were measured on different models
    of card, say, over which there are no figures. `flagged_runs` counts the completed runs that have flags, and `flags`
    says in how many of them each was found, as in "other_load:2 epochs_scatter:1".
    """
    cells: dict[CellKey, list[Row]] = {}
    for run in rows_of(runs):
        cells.setdefault(cell_key(run), []).append(run)
    return frame([_cell_row(members) for members in cells.values()], CELL_COLUMNS, order)


# What stands beside every conclusion about a cell.
BESIDE: Final = ("n", "train_seconds_per_epoch_spread_percent", "flagged_runs", "flags")


def beside_cells(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """A table with a row a cell, with those columns of `BESIDE` that it lacks at its end."""
    missing = [column for column in BESIDE if column not in table]
    return table.merge(cells[[*CELL_KEY, *missing]], on=list(CELL_KEY), how="left", validate="many_to_one")


def figure_of(cell: Row, figure: str) -> Estimate:
    """One of `CELL_FIGURES` of a row of the table of cells, with its interval."""
    return Estimate(
        # A run that does not know the figure is not counted; with none that does there is no figure.
        n=cell["n"] if cell[figure] is not None else 0,
        value=cell[figure],
        low=cell[f"{figure}_low"],
        high=cell[f"{figure}_high"],
        spread_percent=cell[f"{figure}_spread_percent"],
    )


def executors_of(cells: pd.DataFrame, order: TableOrder) -> tuple[Executor, ...]:
    """The devices of each host that have at least one run, in order: by device, then by host."""
    pairs = set(zip(cells["device"].tolist(), cells["host"].tolist(), strict=True))
    several_hosts = len({host for _, host in pairs}) > 1
    details = _details(cells)
    device_rank = _ranks((device for device, _ in pairs), order.devices)
    host_rank = _ranks((host for _, host in pairs), order.hosts)
    return tuple(
        Executor(
            device, host, f"{device} @ {host}" if several_hosts else device, ", ".join(details.get((device, host), ()))
        )
        for device, host in sorted(pairs, key=lambda pair: (device_rank[pair[0]], host_rank[pair[1]]))
    )


def _details(cells: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Framework and precision of each device of a host, each where there are several among all."""
    details: dict[tuple[str, str], list[str]] = {}
    for column, words in (("framework", framework_words), ("precision", str)):
        known = cells[["device", "host", column]].dropna().drop_duplicates()
        if known[column].nunique() > 1:
            for device, host, name in known.itertuples(index=False):
                details.setdefault((device, host), []).append(words(name))
    return details


def cells_by_key(cells: pd.DataFrame) -> dict[CellKey, Row]:
    """The rows of the table of cells by model, batch size, device and host; what is unknown is None."""
    return {cell_key(cell): cell for cell in rows_of(cells)}


def models_of(table: pd.DataFrame, order: TableOrder) -> list[str]:
    """The models of a table in order."""
    return ranked(table["model"].tolist(), order.models)


def batch_sizes_of(table: pd.DataFrame, order: TableOrder) -> list[int]:
    """The batch sizes of a table in order."""
    return ranked(table["batch_size"].tolist(), order.batch_sizes)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV in one atomic step: UTF-8, unknown left empty, floats exact when read back."""
    whole_file.write(table.to_csv(index=False, lineterminator="\n"), path)


def read_csv(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a table with the types of its `columns`, as `write_csv` wrote it."""
    # Only an empty field is unknown: a device may be called NA or null.
    # Flags stand beside every conclusion, whatever columns it has of its own.
    table = pd.read_csv(path, dtype={"flags": "str", **columns}, keep_default_na=False, na_values=[""])
    # No flags is what the checks found, nothing unknown.
    return table.fillna({"flags": ""}) if "flags" in table else table


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
        "environment": variables_text(own_variables(record)) or None,
        "device_kind": settings["device"]["kind"],
        "gpus": settings["device"]["gpus"],
        "epochs": len(record["epochs"]),
        "usable_threads": record["host"]["usable_threads"],
        # Of older versions it means something else.
        "canary_seconds": (record["canary"].get("before") or {}).get("together_seconds"),
    }
    return row | _run_figures(record) if record["status"] == COMPLETED else row


def _run_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    epochs, resumed, used = record["epochs"], record["resumed_after_epochs"], record["device_used"]
    train_seconds = [epoch["train_seconds"] for epoch in epochs]
    seconds_per_epoch = steady_median(train_seconds, resumed)
    eval_seconds = [epoch["eval_seconds"] for epoch in epochs]
    samples = steady_median([epoch["samples"] for epoch in epochs], resumed)
    samples_per_second = samples / seconds_per_epoch if samples and seconds_per_epoch else None
    return {
        "device_name": used["name"],
        "threads": threads_in_use(used["threads"]),
        "cores_given": used["cores_given"],
        "train_seconds_per_epoch": seconds_per_epoch,
        "eval_seconds_per_epoch": steady_median(eval_seconds, resumed),
        "epoch_seconds": steady_median([sum(both) for both in zip(train_seconds, eval_seconds, strict=True)], resumed),
        "first_epoch_train_seconds": train_seconds[0] if train_seconds else None,
        "steady_epochs": steady_count(train_seconds, resumed),
        "first_epoch_only": first_epoch_only(train_seconds, resumed),
        "samples_per_second": samples_per_second,
        "final_loss": epochs[-1]["loss"] if epochs else None,
        "final_accuracy": epochs[-1]["accuracy"] if epochs else None,
        "best_accuracy": max((epoch["accuracy"] for epoch in epochs), default=None),
        "samples_trained": record["samples_trained"],
        "peak_memory_mib": record["peak_memory_mib"],
        **record["clock"],
        **_usage_figures(record["usage"], len(positions_of_last_part(len(epochs), resumed)) - 1),
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
    """CPU and GPU use over the steady epochs of the run's last process, or over its first where there is no other.

    Nothing if nothing watched.
    """
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
        "cpu_energy_joules_per_epoch": _shared_out(window["cpu_energy_joules"], epochs),
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
        "energy_joules_per_epoch": _shared_out(energy_joules, epochs),
        "energy_source": None if energy_joules is None else " ".join(sorted({gpu["energy_source"] for gpu in gpus})),
        "temperature_celsius": over_gpus("temperature_celsius", max),
        "sm_clock_mhz": over_gpus("sm_clock_mhz", fmean),
    }


def _shared_out(joules: float | None, epochs: int) -> float | None:
    """Energy an epoch; a counter that has not moved says nothing."""
    return joules / epochs if joules else None


def _epoch_rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    run = {**{column: record[column] for column in ("model", "batch_size", "device", "repeat")}}
    run |= {"host": record["host"]["id"], "run_id": record["run_id"]}
    elapsed_seconds = 0.0
    for epoch in record["epochs"]:
        elapsed_seconds += epoch["train_seconds"]
        of_epoch = {key: epoch[key] for key in ("epoch", "train_seconds", "eval_seconds", "loss", "accuracy")}
        yield run | of_epoch | {"elapsed_seconds": elapsed_seconds}


def _flags(findings: Iterable[Mapping[str, str]]) -> str:
    return " ".join(dict.fromkeys(finding["name"] for finding in findings if finding["level"] in FLAG_LEVELS))


def _cell_row(runs: Sequence[Row]) -> dict[str, Any]:
    completed = [run for run in runs if run["status"] == COMPLETED]
    others = sorted({run["status"] for run in runs} - {COMPLETED})
    mixed = [
        status for column, status in NEVER_AVERAGED.items() if len({run[column] for run in completed} - {None}) > 1
    ]
    if mixed:
        completed, others = [], [*others, *mixed]
    row: dict[str, Any] = {column: runs[0][column] for column in CELL_KEY}
    row["hostname"] = ", ".join(dict.fromkeys(run["hostname"] for run in runs if run["hostname"])) or None
    for column in ("device_kind", "device_name", "framework", "precision", "environment", *_COUNTS):
        values = {run[column] for run in runs} - {None}
        row[column] = values.pop() if len(values) == 1 else None
    row["runs"] = len(runs)
    row["n"] = len(completed)
    row["status"] = ", ".join(others) or COMPLETED
    flags = Counter(flag for run in completed for flag in run["flags"].split())
    row["flagged_runs"] = sum(1 for run in completed if run["flags"])
    row["flags"] = " ".join(f"{name}:{count}" for name, count in flags.most_common())
    row["first_epoch_only"] = any(run["first_epoch_only"] for run in completed) if completed else None
    for figure in CELL_FIGURES:
        # No time, rate or energy is 0: a counter or clock that says so knows nothing.
        known = [run[figure] for run in completed if run[figure]]
        over_runs = estimate(known)
        row[figure] = over_runs.value
        row[f"{figure}_low"] = over_runs.low
        row[f"{figure}_high"] = over_runs.high
        row[f"{figure}_spread_percent"] = over_runs.spread_percent
        row[f"{figure}_min"] = min(known, default=None)
        row[f"{figure}_max"] = max(known, default=None)
    for share in CELL_SHARES:
        summary = summarize(run[share] for run in completed)
        row[f"{share}_mean"] = summary.mean
        row[f"{share}_sd"] = summary.sd
        row[f"{share}_min"] = summary.minimum
        row[f"{share}_max"] = summary.maximum
    return row


def frame(
    rows: Iterable[Row], columns: Mapping[str, str], order: TableOrder | None, last: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A table of `columns` with their types, its rows sorted by model, batch size, device, host and `last`."""
    values: dict[str, list[Any]] = {column: [] for column in columns}
    for row in rows:
        for column, of_column in values.items():
            of_column.append(row.get(column))
    return _sorted_frame(values, columns, order, last)


def _sorted_frame(
    values: Mapping[str, list[Any]], columns: Mapping[str, str], order: TableOrder | None, last: tuple[str, ...]
) -> pd.DataFrame:
    return sorted_table(
        pd.DataFrame({column: pd.Series(values[column], dtype=dtype) for column, dtype in columns.items()}), order, last
    )


def sorted_table(table: pd.DataFrame, order: TableOrder | None, last: tuple[str, ...]) -> pd.DataFrame:
    """A table with its rows sorted by model, batch size, device, host, as far as it has these, and `last`."""
    order = order or TableOrder()
    named: dict[str, Sequence[Any]] = {
        "model": order.models,
        "batch_size": order.batch_sizes,
        "device": order.devices,
        "host": order.hosts,
    }
    keys = pd.DataFrame(
        {
            column: table[column].map(_ranks(table[column], named[column])) if column in named else table[column]
            for column in (*(column for column in CELL_KEY if column in table), *last)
        }
    )
    return table.loc[keys.sort_values(list(keys.columns), kind="stable").index].reset_index(drop=True)


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a table as mappings of Python values, unknown as None."""
    columns = {
        str(name): [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
        for name, column in table.items()
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def cell_key(row: Row) -> CellKey:
    """Model, batch size, device and host of a row."""
    return row["model"], row["batch_size"], row["device"], row["host"]


def groups_of(cells: pd.DataFrame, order: TableOrder) -> list[tuple[str, int]]:
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
    """The distinct values of `present`: first those of `named`, in its order, then the others, sorted.

    Numbers are sorted altogether where one of them is not named: they are read as a scale.
    """
    found = set(present)
    first = [name for name in dict.fromkeys(named) if name in found]
    others = sorted(found.difference(named))
    return sorted(found) if others and isinstance(others[0], int) else first + others


def _ranks(present: Iterable[_Name], named: Sequence[_Name]) -> dict[_Name, int]:
    return {name: rank for rank, name in enumerate(ranked(present, named))}
