"""Says how many cores match each GPU."""

from collections.abc import Iterable
from typing import Final

import pandas as pd

from trainbench.conclusions.scaling import CoreEquivalent, Usl, core_equivalent
from trainbench.conclusions.scaling_series import SPEED, THREADS, Series, series_of
from trainbench.conclusions.tables.scaling_fits import peak_columns
from trainbench.results.columns import CELL, CELL_KEY, Row, chosen, estimate_in, interval, real, text, whole, yes_or_no
from trainbench.results.tables import TableOrder, frame, rows_of, sorted_table

COLUMNS: Final = (
    CELL
    | real(SPEED)
    | text("cpu_host", "cpu_framework", "cpu_precision")
    | whole("fewest_threads", "most_threads")
    | interval("cores")
    | yes_or_no("cores_high_open")
    | real("matched_share")
    | whole("whole_cores")
    | yes_or_no("extrapolated")
    | text("verdict")
    | real("peak_threads", "peak_samples_per_second")
    | text("no_fit_reason")
)


def core_equivalents_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each GPU cell: how many cores match it, with the columns `COLUMNS`.

    The cores are those of the GPU's own host, `cpu_host`, or, where no CPU cell of the same model and batch size was
    measured on it, those of the only other host that has some; a GPU without such a host has no row, and neither has
    one beside a single thread count, which nobody measures to learn how a CPU scales. Of a host's several series the
    one with the GPU's framework and precision is taken, or the nearest to it, rather without variables of its own.
    `verdict` says it in words, as in "12.3 cores match it"; where nothing is known, `no_fit_reason` says why.
    """
    all_series = series_of(cells, order, THREADS)
    gpus = cells[(cells["device_kind"] == "gpu") & cells[SPEED].notna()]
    rows = []
    for gpu in rows_of(sorted_table(gpus, order or TableOrder())):
        series = _series_beside(gpu, all_series)
        if series is None or len(series.counts) == 1:
            continue
        row = chosen(gpu, (*CELL_KEY, SPEED)) | chosen(series.key, ("host", "framework", "precision"), "cpu_")
        row |= {"fewest_threads": series.counts[0], "most_threads": series.counts[-1]}
        law = series.fit.law
        if law is None:
            verdict = f"how many cores match it is unknown: {series.fit.reason}"
            rows.append(row | {"no_fit_reason": series.fit.reason, "verdict": verdict})
            continue
        match = core_equivalent(law, estimate_in(gpu, SPEED))
        verdict = _verdict(match, law, other_host=series.key["host"] != gpu["host"])
        columns = vars(match) | {f"cores_{end}": getattr(match, end) for end in ("low", "high", "high_open")}
        if match.matched_share is None:
            columns["cores_high_open"] = None
        rows.append(row | peak_columns(law) | columns | {"verdict": verdict})
    return frame(rows, COLUMNS)


def _series_beside(gpu: Row, all_series: Iterable[Series]) -> Series | None:
    """The CPU series to set beside a GPU cell."""
    same = [series for series in all_series if all(series.key[name] == gpu[name] for name in ("model", "batch_size"))]
    hosts = list(dict.fromkeys(series.key["host"] for series in same))
    host = gpu["host"] if gpu["host"] in hosts else hosts[0] if len(hosts) == 1 else None

    def distance(series: Series) -> tuple[bool, ...]:
        differs = (series.key[name] != gpu[name] for name in ("framework", "precision"))
        return *differs, series.key["environment"] is not None

    return min((series for series in same if series.key["host"] == host), key=distance, default=None)


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
