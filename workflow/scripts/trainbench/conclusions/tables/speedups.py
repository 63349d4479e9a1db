"""Says how many times faster each device trains than the reference device."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pandas as pd

from trainbench.results.columns import (
    CELL,
    CELL_KEY,
    Row,
    cell_key,
    chosen,
    estimate_in,
    grouped,
    interval,
    ratio_in,
    spread_out,
    text,
    whole,
)
from trainbench.results.statistics import Outcome, Ratio, outcome, ratio
from trainbench.results.tables import TableOrder, cells_by_key, frame, ranked

_SECONDS: Final = "train_seconds_per_epoch"

COLUMNS: Final = (
    CELL
    | text("reference_device", "reference_host")
    | whole("n", "reference_n", "flagged_runs", "reference_flagged_runs")
    | text("best_cpu_device")
    | interval("speedup", "speedup_with_evaluation", "speedup_over_best_cpu")
)


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
    """A row for each completed cell whose reference cell is completed too, with the columns `COLUMNS`.

    `speedup` is the ratio of the seconds to train an epoch, `speedup_with_evaluation` that of training and evaluating
    one, `speedup_over_best_cpu` that over whichever CPU device of the reference's host trains this model and batch
    size in the least mean, of those with the cell's own framework and precision or else the nearest to it, so that
    hardware is compared as far as it was measured. Each has Welch's 95 % interval. The reference's own row has a
    speedup of exactly 1.
    """
    by_key = cells_by_key(cells)
    known = (cell for cell in by_key.values() if cell["device_kind"] == "cpu" and cell[_SECONDS] is not None)
    cpus = grouped(known, ("model", "batch_size", "host"))
    of_reference_device = cells[(cells["device"] == reference.device) & (cells["n"] > 0)]
    hosts = ranked(of_reference_device["host"], order.hosts)
    rows = []
    for cell in by_key.values():
        host = reference.host_for(cell["host"], hosts)
        of_reference = by_key.get((cell["model"], cell["batch_size"], reference.device, host or ""))
        if of_reference is None or not cell["n"] or not of_reference["n"]:
            continue
        best = _best_cpu(cell, cpus.get((cell["model"], cell["batch_size"], of_reference["host"]), ()))
        rows.append(
            {
                **chosen(cell, (*CELL_KEY, "n", "flagged_runs")),
                "reference_device": reference.device,
                "reference_host": host,
                **chosen(of_reference, ("n", "flagged_runs"), "reference_"),
                "best_cpu_device": None if best is None else best["device"],
                **spread_out("speedup", speedup(of_reference, cell)),
                **spread_out("speedup_with_evaluation", speedup(of_reference, cell, "epoch_seconds")),
                **spread_out("speedup_over_best_cpu", None if best is None else speedup(best, cell)),
            }
        )
    return frame(rows, COLUMNS, order)


def speedup(reference: Row, cell: Row, figure: str = _SECONDS) -> Ratio | None:
    """How many times faster a cell is than the reference by one figure in seconds; None where one is unknown."""
    if cell_key(reference) == cell_key(cell):
        return None if cell[figure] is None else Ratio(1.0, 1.0, 1.0)
    return ratio(estimate_in(reference, figure), estimate_in(cell, figure))


def outcome_of(row: Row, name: str = "speedup") -> Outcome:
    """What a ratio of a row of the table of speedups says."""
    return outcome(ratio_in(row, name))


def is_reference(row: Row) -> bool:
    """Whether a row of the table of speedups compares a device with itself."""
    return (row["device"], row["host"]) == (row["reference_device"], row["reference_host"])


def rivals(least: Row, others: Iterable[Row], figure: str = _SECONDS) -> tuple[list[Row], list[Row]]:
    """The cells that are not shown to have more of a figure than the one with the least mean: it is one of them.

    First those of which the interval of the ratio contains 1, then those without an interval.
    """
    undecided, once = [], []
    for other in others:
        if least[figure] == 0:
            # A price of 0 is known without a measurement, and has no logarithm.
            said: Outcome | None = Outcome.ABOVE if other[figure] else Outcome.NO_DIFFERENCE
        else:
            ahead = speedup(other, least, figure)
            said = None if ahead is None else outcome(ahead)
        if said is None or said.seen_once:
            once.append(other)
        elif said is not Outcome.ABOVE:
            undecided.append(other)
    return undecided, once


def _best_cpu(cell: Row, cpus: Iterable[Row]) -> Row | None:
    """Of CPU cells that are the nearest to a cell in framework and precision the one with the least mean."""

    def rank(cpu: Row) -> tuple[float, ...]:
        differs = (cpu[name] != cell[name] for name in ("framework", "precision"))
        return *differs, float(cpu[_SECONDS])

    return min(cpus, key=rank, default=None)
