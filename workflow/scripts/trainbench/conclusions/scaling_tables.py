"""Turns the table of cells into the tables of scaling: throughput over threads and GPUs, its law, core equivalents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.scaling import CoreEquivalent, Fit, Point, Usl, core_equivalent, fit_usl, parameter_bounds
from trainbench.results.statistics import Estimate, Outcome, Ratio, outcome, ratio
from trainbench.results.tables import Row, TableOrder, cells_by_key, ranked

SCALING_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "host": "str",
    "framework": "str",
    "precision": "str",
    "environment": "str",
    "device": "str",
    "threads": "int64",
    "n": "int64",
    "samples_per_second": "float64",
    "samples_per_second_low": "float64",
    "samples_per_second_high": "float64",
    "reference_device": "str",
    "reference_threads": "int64",
    "speedup": "float64",
    "speedup_low": "float64",
    "speedup_high": "float64",
    "efficiency": "float64",
    "efficiency_low": "float64",
    "efficiency_high": "float64",
    "modelled_samples_per_second": "float64",
}

GPU_SCALING_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "host": "str",
    "device_name": "str",
    "framework": "str",
    "precision": "str",
    "environment": "str",
    "device": "str",
    "gpus": "int64",
    "n": "int64",
    "samples_per_second": "float64",
    "samples_per_second_low": "float64",
    "samples_per_second_high": "float64",
    "reference_device": "str",
    "reference_gpus": "int64",
    "speedup": "float64",
    "speedup_low": "float64",
    "speedup_high": "float64",
    "efficiency": "float64",
    "efficiency_low": "float64",
    "efficiency_high": "float64",
}

SCALING_FIT_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "host": "str",
    "framework": "str",
    "precision": "str",
    "environment": "str",
    "thread_counts": "int64",
    "fewest_threads": "int64",
    "most_threads": "int64",
    "gamma": "float64",
    "gamma_low": "float64",
    "gamma_high": "float64",
    "contention": "float64",
    "contention_low": "float64",
    "contention_high": "float64",
    "coherency": "float64",
    "coherency_low": "float64",
    "coherency_high": "float64",
    "peak_threads": "float64",
    "peak_samples_per_second": "float64",
    "peak_extrapolated": "boolean",
    "misfit_percent": "float64",
    "no_fit_reason": "str",
    "best_device": "str",
    "best_threads": "int64",
    "undecided_threads": "str",
    "best_samples_per_second": "float64",
    "best_samples_per_second_low": "float64",
    "best_samples_per_second_high": "float64",
    "all_threads_device": "str",
    "all_threads": "Int64",
    "all_threads_samples_per_second": "float64",
    "all_threads_samples_per_second_low": "float64",
    "all_threads_samples_per_second_high": "float64",
    "best_over_all_threads": "float64",
    "best_over_all_threads_low": "float64",
    "best_over_all_threads_high": "float64",
}

CORE_EQUIVALENT_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "host": "str",
    "samples_per_second": "float64",
    "cpu_host": "str",
    "cpu_framework": "str",
    "cpu_precision": "str",
    "fewest_threads": "int64",
    "most_threads": "int64",
    "cores": "float64",
    "cores_low": "float64",
    "cores_high": "float64",
    "cores_high_open": "boolean",
    "matched_share": "float64",
    "whole_cores": "Int64",
    "extrapolated": "boolean",
    "verdict": "str",
    "peak_threads": "float64",
    "peak_samples_per_second": "float64",
    "no_fit_reason": "str",
}


@dataclass(frozen=True)
class Axis:
    """Over what the throughput of devices of a `kind` scales: a `column` of the table of cells.

    Cells of one series have what is in the columns `key` in common.
    """

    kind: str
    column: str
    key: tuple[str, ...]


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
        return {column: self.cells[0][column] for column in self.axis.key}

    @property
    def counts(self) -> list[int]:
        """The distinct numbers of threads or GPUs, ascending."""
        return list(dict.fromkeys(cell[self.axis.column] for cell in self.cells))

    @property
    def fit(self) -> Fit:
        """The law of threads."""
        return fit_usl(tuple(Point(cell[self.axis.column], _samples_per_second(cell)) for cell in self.cells))


def scaling_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each CPU cell with a known throughput, by threads, with the columns `SCALING_COLUMNS`.

    `speedup` is over the series' first device with the fewest threads, `reference_device`, of which it is 1 by
    definition; `efficiency` is the speedup for each of the reference's threads: 1 where twice the threads train twice
    as fast. `modelled_samples_per_second` is that of the fitted law, unknown where there is none.
    """
    rows = []
    for series in _series(cells, order, THREADS):
        law = series.fit.law
        for row in _scaled(series):
            modelled = None if law is None else law.throughput(row["threads"])
            rows.append(row | {"modelled_samples_per_second": modelled})
    return _frame(rows, SCALING_COLUMNS)


def gpu_scaling_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each GPU cell measured with several numbers of GPUs, with the columns `GPU_SCALING_COLUMNS`.

    `speedup` is over the series' first device with the fewest GPUs, `reference_device`, and `efficiency` the speedup
    for each of the reference's GPUs, as `scaling_table` has them of threads. The batch size is that of all.
    """
    several = [series for series in _series(cells, order, GPUS) if len(series.counts) > 1]
    return _frame([row for series in several for row in _scaled(series)], GPU_SCALING_COLUMNS)


def scaling_fits_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each series of CPU cells with several thread counts, with the columns `SCALING_FIT_COLUMNS`.

    `gamma` is the law's throughput of one thread in samples a second; `misfit_percent` is by how much law and
    measurement differ where they differ most, `no_fit_reason` says why there is no law. The
    peak is the law's: `peak_threads` is unknown where throughput never falls, and `peak_samples_per_second` is then the
    throughput it grows towards. `best_` is the measured cell with the highest mean throughput, `undecided_threads` the
    numbers of threads over which no interval carries it, and `all_threads_` the cell that trained with all threads that
    the host gave, where it was measured.
    """
    rows = []
    for series in _series(cells, order, THREADS):
        if len(series.counts) == 1:
            continue
        best = max(series.cells, key=lambda cell: cell["samples_per_second"])
        everything = next((cell for cell in series.cells if cell["threads"] == cell["usable_threads"]), None)
        row = series.key | {
            "thread_counts": len(series.counts),
            "fewest_threads": series.counts[0],
            "most_threads": series.counts[-1],
            "misfit_percent": series.fit.misfit_percent,
            "no_fit_reason": series.fit.reason,
            "best_device": best["device"],
            "best_threads": best["threads"],
            "undecided_threads": " ".join(map(str, _undecided_threads(best, series))) or None,
        }
        row |= _law_columns(series.fit.law) | _peak_columns(series.fit.law)
        row |= _estimate_columns("samples_per_second", best, prefix="best_")
        if everything is not None:
            row |= {"all_threads_device": everything["device"], "all_threads": everything["threads"]}
            row |= _estimate_columns("samples_per_second", everything, prefix="all_threads_")
            row |= _ratio_columns("best_over_all_threads", _ratio(best, everything))
        rows.append(row)
    return _frame(rows, SCALING_FIT_COLUMNS)


def core_equivalents_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each GPU cell: how many cores match it, with the columns `CORE_EQUIVALENT_COLUMNS`.

    The cores are those of the GPU's own host, `cpu_host`, or, where no CPU cell of the same model and batch size was
    measured on it, those of the only other host that has some; a GPU without such a host has no row, and neither has
    one beside a single thread count, which nobody measures to learn how a CPU scales. Of a host's several series the
    one with the GPU's framework and precision is taken, or the nearest to it, rather without variables of its own.
    `verdict` says it in words, as in "12.3 cores match it"; where nothing is known, `no_fit_reason` says why.
    """
    order = order or TableOrder()
    all_series = _series(cells, order, THREADS)
    rows = []
    gpus = [cell for cell in cells_by_key(cells).values() if cell["device_kind"] == "gpu" and _is_known(cell)]
    for gpu in _sorted(gpus, order, ("model", "batch_size", "device", "host")):
        series = _series_beside(gpu, all_series)
        if series is None or len(series.counts) == 1:
            continue
        row = {column: gpu[column] for column in ("model", "batch_size", "device", "host", "samples_per_second")}
        row |= {f"cpu_{column}": series.key[column] for column in ("host", "framework", "precision")}
        row |= {"fewest_threads": series.counts[0], "most_threads": series.counts[-1]}
        law = series.fit.law
        if law is None:
            verdict = f"how many cores match it is unknown: {series.fit.reason}"
            rows.append(row | {"no_fit_reason": series.fit.reason, "verdict": verdict})
            continue
        match = core_equivalent(law, _samples_per_second(gpu))
        verdict = _verdict(match, law, other_host=series.key["host"] != gpu["host"])
        rows.append(row | _peak_columns(law) | _match_columns(match) | {"verdict": verdict})
    return _frame(rows, CORE_EQUIVALENT_COLUMNS)


def _series(cells: pd.DataFrame, order: TableOrder | None, axis: Axis) -> list[Series]:
    """All series of an axis' cells with a known throughput, in order."""
    known = [
        cell
        for cell in cells_by_key(cells).values()
        if cell["device_kind"] == axis.kind and cell[axis.column] is not None and _is_known(cell)
    ]
    members: dict[tuple[Any, ...], list[Row]] = {}
    for cell in _sorted(known, order or TableOrder(), (*axis.key, axis.column, "device")):
        members.setdefault(tuple(cell[column] for column in axis.key), []).append(cell)
    return [Series(axis, tuple(rows)) for rows in members.values()]


def _scaled(series: Series) -> list[dict[str, Any]]:
    """What the tables of both axes say of each cell of a series."""
    reference, count = series.cells[0], series.axis.column
    rows = []
    for cell in series.cells:
        speedup = _ratio(cell, reference)
        rows.append(
            series.key
            | {column: cell[column] for column in ("device", count, "n")}
            | _estimate_columns("samples_per_second", cell)
            | {"reference_device": reference["device"], f"reference_{count}": reference[count]}
            | _ratio_columns("speedup", speedup)
            | _ratio_columns("efficiency", speedup.times(reference[count] / cell[count]))
        )
    return rows


def _undecided_threads(best: Row, series: Series) -> list[int]:
    """The other numbers of threads over which the best is not shown to be faster, ascending."""
    cells = [cell for cell in series.cells if outcome(_ratio(best, cell)) is not Outcome.ABOVE]
    return sorted({cell["threads"] for cell in cells} - {best["threads"]})


def _series_beside(gpu: Row, all_series: Iterable[Series]) -> Series | None:
    """The CPU series to set beside a GPU cell."""
    same = [
        series
        for series in all_series
        if (series.key["model"], series.key["batch_size"]) == (gpu["model"], gpu["batch_size"])
    ]
    hosts = list(dict.fromkeys(series.key["host"] for series in same))
    host = gpu["host"] if gpu["host"] in hosts else hosts[0] if len(hosts) == 1 else None

    def distance(series: Series) -> tuple[bool, bool, bool]:
        differs = (series.key["framework"] != gpu["framework"], series.key["precision"] != gpu["precision"])
        return *differs, series.key["environment"] is not None

    return min((series for series in same if series.key["host"] == host), key=distance, default=None)


def _is_known(cell: Row) -> bool:
    return cell["samples_per_second"] is not None


def _samples_per_second(cell: Row) -> Estimate:
    return Estimate(
        cell["n"],
        cell["samples_per_second"],
        cell["samples_per_second_low"],
        cell["samples_per_second_high"],
        cell["samples_per_second_spread_percent"],
    )


def _ratio(cell: Row, reference: Row) -> Ratio:
    """How many times the throughput of `reference` a cell has."""
    if cell is reference:
        return Ratio(1.0, 1.0, 1.0)
    found = ratio(_samples_per_second(cell), _samples_per_second(reference))
    if found is None:
        raise ValueError("the ratio of unknown throughputs")
    return found


def _estimate_columns(figure: str, cell: Row, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{column}": cell[column] for column in (figure, f"{figure}_low", f"{figure}_high")}


def _ratio_columns(name: str, found: Ratio) -> dict[str, Any]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _law_columns(law: Usl | None) -> dict[str, Any]:
    if law is None:
        return {}
    names = ("gamma", "contention", "coherency")
    columns: dict[str, Any] = {name: getattr(law, name) for name in names}
    for name, (low, high) in zip(names, parameter_bounds(law) or (), strict=False):
        columns |= {f"{name}_low": low, f"{name}_high": high}
    return columns


def _peak_columns(law: Usl | None) -> dict[str, Any]:
    if law is None:
        return {}
    peak = law.peak_threads
    return {
        "peak_threads": peak,
        "peak_samples_per_second": law.peak_samples_per_second,
        "peak_extrapolated": peak is None or peak > law.most_threads,
    }


def _match_columns(match: CoreEquivalent) -> dict[str, Any]:
    return {
        "cores": match.cores,
        "cores_low": match.low,
        "cores_high": match.high,
        "cores_high_open": None if match.matched_share is None else match.high_open,
        "matched_share": match.matched_share,
        "whole_cores": match.whole_cores,
        "extrapolated": match.extrapolated,
    }


def _verdict(match: CoreEquivalent, law: Usl, *, other_host: bool) -> str:
    """Half a sentence on a GPU, "it": how many cores match it, or whether any do, as far as the interval carries it."""
    of_host = " of the other host" if other_host else ""
    none_matches = match.cores is None or match.whole_cores is None
    # Of the possible laws some have a match and some have none.
    if match.matched_share is not None and (match.low is not None if none_matches else match.high_open):
        words = f"whether some number of cores{of_host} matches it is not shown"
        words += "" if none_matches else f", by the law {match.cores:.1f} do"
    elif none_matches:
        words = f"no number of cores{of_host} matches it, {_peak_words(law)}"
    else:
        words = f"{match.cores:.1f} cores{of_host} match it"
    if match.matched_share is None:
        words += " (no interval: that takes four numbers of threads and two runs of the GPU)"
    elif match.low is not None:
        upper = "without upper bound" if match.high is None else f"to {match.high:.1f}"
        words += f" (95 % interval {match.low:.1f} {upper})"
    if match.extrapolated:
        words += f", extrapolated from {law.fewest_threads} to {law.most_threads} measured threads"
    return words


def _peak_words(law: Usl) -> str:
    peak = law.peak_threads
    if peak is None:
        # There is contention: without it some number of cores would match.
        return f"whose throughput never exceeds {law.gamma / law.contention:.0f} samples a second"
    return f"whose throughput peaks at {law.throughput(peak):.0f} samples a second with {peak:.1f} cores"


def _sorted(rows: Sequence[Row], order: TableOrder, columns: Sequence[str]) -> list[Row]:
    """Rows by the given columns, each in the order that is asked for; what that does not name goes last, sorted."""
    named: Mapping[str, Sequence[Any]] = {
        "model": order.models,
        "batch_size": order.batch_sizes,
        "device": order.devices,
        "host": order.hosts,
    }
    # What the runs of a cell do not agree on is unknown, and sorts first.
    keys = [tuple("" if row[column] is None else row[column] for column in columns) for row in rows]
    ranks = [
        {name: rank for rank, name in enumerate(ranked(names, named.get(column, ())))}
        for column, names in zip(columns, zip(*keys, strict=True), strict=False)
    ]

    def position(index: int) -> tuple[int, ...]:
        return tuple(rank[name] for rank, name in zip(ranks, keys[index], strict=True))

    return [rows[index] for index in sorted(range(len(rows)), key=position)]


def _frame(rows: Sequence[Row], columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {column: pd.Series([row.get(column) for row in rows], dtype=dtype) for column, dtype in columns.items()}
    )
