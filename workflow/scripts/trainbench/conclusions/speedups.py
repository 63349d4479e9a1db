"""Says how many times faster each device trains than the reference device, and from which batch size on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.crossover import crossover
from trainbench.results.statistics import Outcome, Ratio, outcome, ratio
from trainbench.results.tables import CellKey, Row, TableOrder, cell_key, cells_by_key, figure_of, frame, rows_of

_RATIOS: Final = ("speedup", "speedup_with_evaluation", "speedup_over_best_cpu")

SPEEDUP_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "host": "str",
    "reference_device": "str",
    "reference_host": "str",
    "n": "int64",
    "reference_n": "int64",
    "flagged_runs": "int64",
    "reference_flagged_runs": "int64",
    "best_cpu_device": "str",
} | {f"{name}{part}": "float64" for name in _RATIOS for part in ("", "_low", "_high")}

CROSSOVER_COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "device": "str",
    "host": "str",
    "reference_device": "str",
    "reference_host": "str",
    "batch_sizes": "str",
    "verdict": "str",
    "crossover_batch_size": "float64",
    "crossover_batch_size_low": "float64",
    "crossover_batch_size_high": "float64",
    "low_open": "boolean",
    "high_open": "boolean",
    "certain": "boolean",
}


@dataclass(frozen=True)
class Reference:
    """What speedups are measured against: a device, on the host named here or, with None, on each host's own.

    A host that lacks the reference device is compared with the first host, in order, that has it.
    """

    device: str = "cpu"
    host: str | None = None

    def host_for(self, host: str, hosts_with_it: Iterable[str]) -> str | None:
        """The host whose reference device those of `host` are compared with, or None where no host has it."""
        candidates = list(hosts_with_it)
        if self.host is not None:
            return self.host if self.host in candidates else None
        return host if host in candidates else next(iter(candidates), None)


def speedups_table(cells: pd.DataFrame, order: TableOrder, reference: Reference) -> pd.DataFrame:
    """A row for each completed cell whose reference cell is completed too, with the columns `SPEEDUP_COLUMNS`.

    `speedup` is the ratio of the seconds to train an epoch, `speedup_with_evaluation` that of training and evaluating
    one, `speedup_over_best_cpu` that over whichever CPU device of the reference's host trains this model and batch
    size in the least mean, of those with the cell's own framework and precision or else the nearest to it, so that
    hardware is compared as far as it was measured. Each has Welch's 95 % interval. The reference's own row has a
    speedup of exactly 1.
    """
    by_key = cells_by_key(cells)
    cpus = _cpus(by_key)
    hosts = _hosts_with(reference.device, cells, order)
    rows = []
    for cell in by_key.values():
        host = reference.host_for(cell["host"], hosts)
        of_reference = by_key.get((cell["model"], cell["batch_size"], reference.device, host or ""))
        if of_reference is None or not cell["n"] or not of_reference["n"]:
            continue
        best = _best_cpu(cell, cpus.get((cell["model"], cell["batch_size"], of_reference["host"]), ()))
        rows.append(
            {
                **{column: cell[column] for column in ("model", "batch_size", "device", "host", "n", "flagged_runs")},
                "reference_device": reference.device,
                "reference_host": host,
                "reference_n": of_reference["n"],
                "reference_flagged_runs": of_reference["flagged_runs"],
                "best_cpu_device": None if best is None else best["device"],
                **_columns("speedup", speedup(of_reference, cell)),
                **_columns("speedup_with_evaluation", speedup(of_reference, cell, "epoch_seconds")),
                **_columns("speedup_over_best_cpu", None if best is None else speedup(best, cell)),
            }
        )
    return frame(rows, SPEEDUP_COLUMNS, order)


def speedup(reference: Row, cell: Row, figure: str = "train_seconds_per_epoch") -> Ratio | None:
    """How many times faster a cell is than the reference by one figure in seconds; None where one is unknown."""
    if cell_key(reference) == cell_key(cell):
        return None if cell[figure] is None else Ratio(1.0, 1.0, 1.0)
    return ratio(figure_of(reference, figure), figure_of(cell, figure))


def crossovers_table(speedups: pd.DataFrame, order: TableOrder) -> pd.DataFrame:
    """A row for each model and device but the reference: where its speedup passes 1, with `CROSSOVER_COLUMNS`.

    A bound that is empty is unknown, or open (`low_open`, `high_open`): beyond the measured batch sizes.
    """
    series: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows_of(speedups):
        if (row["device"], row["host"]) != (row["reference_device"], row["reference_host"]):
            series.setdefault((row["model"], row["device"], row["host"]), []).append(row)
    rows: list[dict[str, Any]] = []
    for (model, device, host), members in series.items():
        ratios = {row["batch_size"]: speedup_of(row) for row in members}
        found = crossover(ratios)
        if found is None:
            continue
        single = found.batch_sizes[0] if len(found.batch_sizes) == 1 else None
        rows.append(
            {
                "model": model,
                "device": device,
                "host": host,
                "reference_device": members[0]["reference_device"],
                "reference_host": members[0]["reference_host"],
                "batch_sizes": " ".join(str(size) for size in sorted(ratios)),
                "verdict": found.verdict,
                "crossover_batch_size": single,
                "crossover_batch_size_low": found.low,
                "crossover_batch_size_high": found.high,
                "low_open": found.low_open,
                "high_open": found.high_open,
                "certain": found.certain,
            }
        )
    return frame(rows, CROSSOVER_COLUMNS, order)


def speedup_of(row: Row, name: str = "speedup") -> Ratio:
    """A ratio of a row of the table of speedups."""
    return Ratio(row[name], row[f"{name}_low"], row[f"{name}_high"])


def outcome_of(row: Row, name: str = "speedup") -> Outcome:
    """What a ratio of a row of the table of speedups says."""
    return outcome(speedup_of(row, name))


def rivals(least: Row, others: Iterable[Row], figure: str = "train_seconds_per_epoch") -> tuple[list[Row], list[Row]]:
    """The cells that are not shown to have more of a figure than the one with the least mean: it is one of them.

    First those of which the interval of the ratio contains 1, then those without an interval.
    """
    undecided, once = [], []
    for other in others:
        said = _how_much_more(least, other, figure)
        if said is None or said.seen_once:
            once.append(other)
        elif said is not Outcome.ABOVE:
            undecided.append(other)
    return undecided, once


def _how_much_more(least: Row, other: Row, figure: str) -> Outcome | None:
    if least[figure] == 0:
        # A price of 0 is known without a measurement, and has no logarithm.
        return Outcome.ABOVE if other[figure] else Outcome.NO_DIFFERENCE
    ahead = speedup(other, least, figure)
    return None if ahead is None else outcome(ahead)


def _columns(name: str, found: Ratio | None) -> dict[str, float | None]:
    return {
        name: found.value if found else None,
        f"{name}_low": found.low if found else None,
        f"{name}_high": found.high if found else None,
    }


def _hosts_with(device: str, cells: pd.DataFrame, order: TableOrder) -> list[str]:
    """The hosts that have completed cells of a device, in order."""
    found = set(cells.loc[(cells["device"] == device) & (cells["n"] > 0), "host"])
    return [host for host in (*order.hosts, *sorted(found.difference(order.hosts))) if host in found]


def _cpus(by_key: Mapping[CellKey, Row]) -> dict[tuple[str, int, str], list[Row]]:
    """The CPU cells with a known speed of each model, batch size and host."""
    cpus: dict[tuple[str, int, str], list[Row]] = {}
    for (model, batch_size, _, host), cell in by_key.items():
        if cell["device_kind"] == "cpu" and cell["train_seconds_per_epoch"] is not None:
            cpus.setdefault((model, batch_size, host), []).append(cell)
    return cpus


def _best_cpu(cell: Row, cpus: Iterable[Row]) -> Row | None:
    """Of CPU cells that are the nearest to a cell in framework and precision the one with the least mean."""

    def rank(cpu: Row) -> tuple[bool, bool, float]:
        return (
            cpu["framework"] != cell["framework"],
            cpu["precision"] != cell["precision"],
            float(cpu["train_seconds_per_epoch"]),
        )

    return min(cpus, key=rank, default=None)
