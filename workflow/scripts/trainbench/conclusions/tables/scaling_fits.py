"""Says by which law throughput grows with threads, and with how many a CPU trains fastest."""

from typing import Any, Final

import pandas as pd

from trainbench.conclusions.scaling import Usl, parameter_bounds
from trainbench.conclusions.scaling_series import SPEED, THREADS, Series, series_of, throughput_ratio
from trainbench.results.columns import Row, chosen, interval, real, spread_out, text, whole, yes_or_no
from trainbench.results.statistics import Outcome, outcome
from trainbench.results.tables import TableOrder, frame

COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("host", "framework", "precision", "environment")
    | whole("thread_counts", "fewest_threads", "most_threads")
    | interval("gamma", "contention", "coherency")
    | real("peak_threads", "peak_samples_per_second")
    | yes_or_no("peak_extrapolated")
    | real("misfit_percent")
    | text("no_fit_reason", "best_device")
    | whole("best_threads")
    | text("undecided_threads")
    | interval("best_samples_per_second")
    | text("all_threads_device")
    | whole("all_threads")
    | interval("all_threads_samples_per_second", "best_over_all_threads")
)


def scaling_fits_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each series of CPU cells with several thread counts, with the columns `COLUMNS`.

    `gamma` is the law's throughput of one thread in samples a second; `misfit_percent` is by how much law and
    measurement differ where they differ most, `no_fit_reason` says why there is no law. The
    peak is the law's: `peak_threads` is unknown where throughput never falls, and `peak_samples_per_second` is then the
    throughput it grows towards. `best_` is the measured cell with the highest mean throughput, `undecided_threads` the
    numbers of threads over which no interval carries it, and `all_threads_` the cell that trained with all threads that
    the host gave, where it was measured.
    """
    rows = []
    for series in series_of(cells, order, THREADS):
        if len(series.counts) == 1:
            continue
        best = max(series.cells, key=lambda cell: cell[SPEED])
        everything = next((cell for cell in series.cells if cell["threads"] == cell["usable_threads"]), None)
        row = series.key | {
            "thread_counts": len(series.counts),
            "fewest_threads": series.counts[0],
            "most_threads": series.counts[-1],
            "misfit_percent": series.fit.misfit_percent,
            "no_fit_reason": series.fit.reason,
            **chosen(best, ("device", "threads"), "best_"),
            "undecided_threads": " ".join(map(str, _undecided_threads(best, series))) or None,
        }
        row |= _law_columns(series.fit.law) | peak_columns(series.fit.law)
        row |= chosen(best, interval(SPEED), "best_")
        if everything is not None:
            row |= chosen(everything, ("device", *interval(SPEED)), "all_threads_")
            row |= {"all_threads": everything["threads"]}
            row |= spread_out("best_over_all_threads", throughput_ratio(best, everything))
        rows.append(row)
    return frame(rows, COLUMNS)


def peak_columns(law: Usl | None) -> dict[str, Any]:
    """Where throughput is highest by a law, as columns."""
    if law is None:
        return {}
    peak = law.peak_threads
    return {
        "peak_threads": peak,
        "peak_samples_per_second": law.peak_samples_per_second,
        "peak_extrapolated": peak is None or peak > law.most_threads,
    }


def _undecided_threads(best: Row, series: Series) -> list[int]:
    """The other numbers of threads over which the best is not shown to be faster, ascending."""
    cells = [cell for cell in series.cells if outcome(throughput_ratio(best, cell)) is not Outcome.ABOVE]
    return sorted({cell["threads"] for cell in cells} - {best["threads"]})


def _law_columns(law: Usl | None) -> dict[str, Any]:
    if law is None:
        return {}
    names = ("gamma", "contention", "coherency")
    columns: dict[str, Any] = chosen(vars(law), names)
    for name, (low, high) in zip(names, parameter_bounds(law) or (), strict=False):
        columns |= {f"{name}_low": low, f"{name}_high": high}
    return columns
