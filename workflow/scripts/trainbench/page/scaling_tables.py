"""Tables of what more hardware gains and how far it is used: over threads, over GPUs, below the roof."""

from collections.abc import Mapping, Sequence
from typing import Final

from trainbench.conclusions.cell_texts import best_threads_text
from trainbench.conclusions.scaling_series import SERIES_KEY
from trainbench.conclusions.tables.roofline import COMPUTE, DISTURBED, MEMORY, OVERHEAD, UNDECIDED
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import table as columns
from trainbench.page.table import Column, Field, exact, field, joined, listing, number, ratio, scaled, several, words
from trainbench.results.columns import INTERVAL, Row, grouped
from trainbench.words.wording import FLAGGED, UNKNOWN, format_estimate, format_number

FLOP_PER_GFLOP: Final = 1e9
BYTES_PER_GIGABYTE: Final = 1e9


def _of_several_threads(study: DrawnStudy) -> Sequence[Row]:
    """The rows of CPUs of which several numbers of threads were measured."""
    fitted = grouped(study.rows("scaling_fits"), SERIES_KEY)
    series = grouped(study.rows("scaling"), SERIES_KEY)
    return [row for key, rows in series.items() if key in fitted for row in rows]


def _law(row: Row) -> Field:
    """What the fitted law of scaling says."""
    if row["gamma"] is None:
        return Field(UNKNOWN, row["no_fit_reason"] or "", "absent")
    peak, low = row["peak_threads"], row["coherency_low"]
    if peak is None:
        return Field("no fall shown")
    details = (
        "beyond the measured threads" if row["peak_extrapolated"] else "",
        "no interval" if low is None else "" if low > 0 else "no fall shown",
    )
    return Field(f"peaks at {format_number(peak, 3)} threads", "; ".join(filter(None, details)))


def _cores(row: Row) -> Field:
    cores, low, high = (row[f"cores{end}"] for end in INTERVAL)
    if cores is None:
        return Field(UNKNOWN)
    if low is None or high is None:
        return Field(format_number(cores, 3), "no interval" if low is None else f"(from {format_number(low, 3)})")
    return field(format_estimate(cores, low, high, significant=3))


def _achieved(row: Row) -> Field:
    gigaflops = format_number(row["achieved_flop_per_second"] / FLOP_PER_GFLOP, 3)
    return Field(gigaflops, FLAGGED if row["flagged_runs"] else "")


# Far below both roofs neither is near, and a disturbed cell tells nothing.
_ROOFS: Final[Mapping[str, Field]] = {
    COMPUTE: Field("compute"),
    MEMORY: Field("memory"),
    OVERHEAD: Field("none", "(overhead)"),
    DISTURBED: Field(UNKNOWN, "(disturbed)"),
    UNDECIDED: Field(UNKNOWN, "(overhead: not shown)"),
}


def _roof(row: Row) -> Field:
    shown = _ROOFS.get(row["bound"], Field(UNKNOWN))
    once = "one run" if row["n"] == 1 and shown.text != UNKNOWN else ""
    return Field(shown.text, joined(shown.detail, once))


_THROUGHPUT: Final = (columns.SAMPLES_A_SECOND, columns.SPEEDUP, columns.EFFICIENCY)

TABLES: Final = (
    listing(
        "core_equivalents",
        "How many CPU cores train as fast as the GPU",
        (*columns.CELL, number("Cores", _cores), words("In words", "verdict")),
    ),
    listing(
        "scaling_fits",
        "The number of threads with the highest mean throughput, beside all of them, and what the fitted law says",
        (
            *columns.CELL[:2],
            Column("Host", lambda row: Field(row["host"]), where=several("host")),
            *columns.COMPUTED_WITH,
            number("Best threads", lambda row: field(best_threads_text(row))),
            exact("All threads", "all_threads"),
            ratio("Best over all", "best_over_all_threads"),
            Column("Throughput by the law", _law),
        ),
        name="best-threads",
    ),
    listing(
        "scaling",
        "Throughput of the CPU over its threads; speedup is over the fewest threads, efficiency is speedup a thread",
        (*columns.CELL, *columns.COMPUTED_WITH, exact("Threads", "threads"), *_THROUGHPUT),
        _of_several_threads,
    ),
    listing(
        "gpu_scaling",
        "Throughput over the GPUs that share each batch; speedup is over the fewest, efficiency is speedup a GPU",
        (*columns.CELL, *columns.COMPUTED_WITH, exact("GPUs", "gpus"), *_THROUGHPUT),
    ),
    listing(
        "roofline",
        "What each cell achieves of what its device can do at most (docs/measuring.md: how to read a roofline)",
        (
            *columns.CELL,
            *columns.COMPUTED_WITH,
            number("Achieved (GFLOP/s)", _achieved),
            scaled("Attainable (GFLOP/s)", "attainable_flop_per_second", FLOP_PER_GFLOP),
            scaled("Of the attainable (%)", "fraction_of_attainable", 0.01),
            scaled("FLOP a byte", "flop_per_byte", 1.0),
            scaled("Memory (GB/s)", "bytes_ceiling_per_second", BYTES_PER_GIGABYTE),
            Column("Nearest roof", _roof),
        ),
        lambda study: [row for row in study.rows("roofline") if row["achieved_flop_per_second"] is not None],
    ),
)
