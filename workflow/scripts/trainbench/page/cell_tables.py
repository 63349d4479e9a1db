"""Tables that list cells: what was measured and what follows of costs, of more threads or GPUs, of the roofs above."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from trainbench.conclusions.cell_texts import best_threads_text, figure_text, hardware_of
from trainbench.conclusions.comparison import group_rows, shown_of
from trainbench.conclusions.scaling_series import SERIES_KEY
from trainbench.conclusions.tables.roofline import COMPUTE, DISTURBED, MEMORY, OVERHEAD, UNDECIDED
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import table as columns
from trainbench.page.table import Column, Field, Table, exact, field, figure, listing, number
from trainbench.results.columns import INTERVAL, Row, grouped
from trainbench.results.tables import groups_of
from trainbench.words.wording import FLAGGED, UNKNOWN, format_estimate, format_number, status_words

MOST_GROUPS: Final = 60
MOST_EXECUTORS: Final = 24
FLOP_PER_GFLOP: Final = 1e9
BYTES_PER_GIGABYTE: Final = 1e9


def comparisons(study: DrawnStudy) -> dict[str, list[Table]]:
    """By model the comparison of each batch size, in the shape of 2017: a column a device."""
    executors = study.executors[:MOST_EXECUTORS]
    shown = shown_of(study.tables)

    def at(place: int, texts: list[str]) -> Field:
        return field(texts[place])

    columns_of_devices = [number(one.label, partial(at, place)) for place, one in enumerate(executors, start=1)]
    found: dict[str, list[Table]] = {}
    for count, (model, batch_size) in enumerate(groups_of(study.tables["cells"], study.order)[:MOST_GROUPS]):
        compared = Table(
            f"comparison-{count}",
            f"{model}, batch size {batch_size}",
            "comparison",
            group_rows(shown, [(model, batch_size, *one.key) for one in executors]),
            (Column("Measure", lambda texts: Field(texts[0])), *columns_of_devices),
            short=True,
        )
        found.setdefault(model, []).append(compared)
    return found


def _until_reached(heading: str, metric: str) -> Column:
    def show(row: Row) -> Field:
        return field(figure_text(row, metric)) if row["verdict"] == "reached" else Field(row["verdict"], look="absent")

    return number(heading, show)


def _runs(row: Row) -> Field:
    ended = "" if row["n"] == row["runs"] else f" of {row['runs']} ({status_words(row['status'])})"
    return Field(f"{row['n']}{ended}")


_COSTS: Final = ("energy_joules_per_epoch", "cpu_energy_joules_per_epoch", "price_per_epoch", "price_to_accuracy")


def _costs(study: DrawnStudy) -> Table:
    """Energy and prices, as far as any is known."""
    rows = [row for row in study.rows("costs") if any(row[metric] is not None for metric in _COSTS)]
    currencies = " or ".join(dict.fromkeys(row["currency"] for row in rows if row["currency"]))
    return listing(
        "costs",
        "Energy while training an epoch; price of training and evaluating one, and of all time to the target accuracy",
        (
            *columns.CELL,
            columns.GPU_ENERGY,
            columns.CPU_ENERGY,
            columns.if_known(figure(f"Price of an epoch ({currencies})", "price_per_epoch")),
            columns.if_known(number(f"Price to the target ({currencies})", _price_to_accuracy)),
            columns.if_known(exact(f"Price an hour ({currencies})", "price_per_hour", "g")),
        ),
        lambda _: rows,
    )(study)


def _price_to_accuracy(row: Row) -> Field:
    if row["price_to_accuracy"] is None and row["price_to_accuracy_note"] and row["price_per_hour"] is not None:
        return Field(row["price_to_accuracy_note"], look="absent")
    return field(figure_text(row, "price_to_accuracy"))


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
    return Field(shown.text, columns.joined(shown.detail, once))


_THROUGHPUT: Final = (columns.SAMPLES_A_SECOND, columns.SPEEDUP, columns.EFFICIENCY)

TABLES: Final = (
    listing(
        "cells",
        "Every cell: seconds to train an epoch, samples a second and start-up are geometric means with 95 % intervals",
        (
            *columns.CELL,
            Column("Hardware", lambda row: Field(hardware_of(row) or UNKNOWN)),
            *columns.COMPUTED_WITH,
            columns.SECONDS_AN_EPOCH,
            columns.SAMPLES_A_SECOND,
            columns.FINAL_ACCURACY,
            columns.mean("CPU (% of one core)", "cpu_percent"),
            columns.if_known(columns.mean("GPU (%)", "gpu_utilization_percent")),
            columns.if_known(figure("Start-up (s)", "startup_seconds")),
            columns.if_known(columns.mean("Peak memory (MiB)", "peak_memory_mib")),
            number("Runs", _runs),
            exact("Flagged", "flagged_runs"),
        ),
    ),
    listing(
        "accuracy_times",
        "Time until the target accuracy on all test images is reached: means over runs with 95 % intervals",
        (
            *columns.CELL,
            number("Target (%)", lambda row: Field(f"{100 * row['target_accuracy']:g}")),
            _until_reached("Training alone (s)", "time_to_accuracy_seconds"),
            _until_reached("All, from the start of the process (s)", "time_to_accuracy_with_startup_seconds"),
            exact("Epochs (median)", "epochs_to_accuracy_median", "g"),
            number("Runs that reached it", lambda row: Field(f"{row['reached']} of {row['n']}")),
        ),
    ),
    _costs,
    listing(
        "core_equivalents",
        "How many CPU cores train as fast as the GPU",
        (*columns.CELL, number("Cores", _cores), columns.words("In words", "verdict")),
    ),
    listing(
        "scaling_fits",
        "The number of threads with the highest mean throughput, beside all of them, and what the fitted law says",
        (
            *columns.CELL[:2],
            Column("Host", lambda row: Field(row["host"]), where=columns.several("host")),
            *columns.COMPUTED_WITH,
            number("Best threads", lambda row: field(best_threads_text(row))),
            exact("All threads", "all_threads"),
            columns.ratio("Best over all", "best_over_all_threads"),
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
            columns.scaled("Attainable (GFLOP/s)", "attainable_flop_per_second", FLOP_PER_GFLOP),
            columns.scaled("Of the attainable (%)", "fraction_of_attainable", 0.01),
            columns.scaled("FLOP a byte", "flop_per_byte", 1.0),
            columns.scaled("Memory (GB/s)", "bytes_ceiling_per_second", BYTES_PER_GIGABYTE),
            Column("Nearest roof", _roof),
        ),
        lambda study: [row for row in study.rows("roofline") if row["achieved_flop_per_second"] is not None],
    ),
)
