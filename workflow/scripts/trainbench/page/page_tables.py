"""Shapes tables for the page: what each column is called, how a value reads, and how many rows are shown."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.comparison import (
    Compared,
    Measure,
    Shown,
    best_threads_text,
    efficiency_text,
    figure_text,
    group_rows,
    hardware_of,
    ratio_text,
    shown_of,
)
from trainbench.conclusions.headlines import SECONDS, few, is_reference, places, rivals_text
from trainbench.conclusions.roofline import COMPUTE, DISTURBED, MEMORY, OVERHEAD, UNDECIDED
from trainbench.conclusions.speedups import outcome_of, rivals
from trainbench.results.statistics import Outcome
from trainbench.results.tables import (
    COMPLETED,
    FLAG_LEVELS,
    Row,
    TableOrder,
    batch_sizes_of,
    cells_by_key,
    executors_of,
    groups_of,
    models_of,
    rows_of,
)
from trainbench.words.wording import (
    FLAGGED,
    UNKNOWN,
    format_estimate,
    format_mean,
    format_number,
    framework_words,
    status_words,
)

MOST_ROWS: Final = 400
MOST_GROUPS: Final = 60
MOST_EXECUTORS: Final = 24
MOST_SIZES: Final = 24
FLOP_PER_GFLOP: Final = 1e9
BYTES_PER_GIGABYTE: Final = 1e9
MIB_PER_GIB: Final = 1024

# "12.15 (11.90-12.40) †" is a value and what stands smaller beside it.
_VALUE_AND_REST: Final = re.compile(r"(\S+)( (?:\(|±).*)", re.DOTALL)


@dataclass(frozen=True)
class Column:
    """A column: its heading, and whether its fields are read as numbers when rows are sorted."""

    heading: str
    number: bool = False


@dataclass(frozen=True)
class Field:
    """A field: its text, what stands smaller beside it, and in which way it stands out (a class of the style sheet).

    `device` is the label of the device whose colour goes before it.
    """

    text: str
    detail: str = ""
    look: str = ""
    device: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page. The first field of a row is its header.

    `hidden` counts rows that are not shown, all of which are in the file `source`; `short` ones are neither sorted nor
    filtered by the reader. A row of `stacked` ones is a card on a narrow screen, for texts that need the width.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Field, ...], ...]
    source: str
    hidden: int = 0
    short: bool = False
    stacked: bool = False


@dataclass(frozen=True)
class Group:
    """The comparison of one model and batch size, in the shape of 2017: a column a device."""

    model: str
    batch_size: int
    table: Table


@dataclass(frozen=True)
class Device:
    """A device of a host as the page shows it: `color` is the number of its colour, the same as in the figures.

    `hardware` says on what it computes, and where that differs with what framework and precision.
    """

    label: str
    color: int
    hardware: str


def field(text: str, look: str = "") -> Field:
    """A field, what stands in brackets after its first word apart."""
    found = _VALUE_AND_REST.fullmatch(text)
    return Field(found[1], found[2].strip(), look) if found else Field(text, look=look)


def speedup_matrix(speedups: pd.DataFrame, cells: pd.DataFrame, order: TableOrder) -> Table | None:
    """How many times faster than the reference each device trains: a row a model and device, a column a batch size.

    None where there is nothing to compare.
    """
    by_key, shown = cells_by_key(cells), cells_by_key(speedups)
    references = {(row["device"], row["host"]) for row in shown.values() if is_reference(row)}
    executors = [one for one in executors_of(cells, order) if (one.device, one.host) not in references]
    if not shown or not executors:
        return None
    sizes = batch_sizes_of(cells, order)
    present = {(model, device, host) for model, _, device, host in by_key}
    series = [
        (model, one)
        for model in models_of(cells, order)
        for one in executors
        if (model, one.device, one.host) in present
    ]
    rows = [
        (
            Field(model),
            Field(one.device, one.host if one.label != one.device else "", "device", one.label),
            *(
                _speedup_field(
                    shown.get((model, size, one.device, one.host)), by_key.get((model, size, one.device, one.host))
                )
                for size in sizes[:MOST_SIZES]
            ),
        )
        for model, one in series[:MOST_ROWS]
    ]
    name = next(iter(shown.values()))["reference_device"]
    hosts = " of the same host" if len({row["reference_host"] for row in shown.values()}) > 1 else ""
    more = f"; {len(sizes) - MOST_SIZES} more batch sizes are in speedups.csv" if len(sizes) > MOST_SIZES else ""
    return Table(
        "speedup-matrix",
        f"How many times faster than {name}{hosts} each device trains, with the 95 % interval{more}",
        (Column("Model"), Column("Device"), *(Column(f"Batch {size}", number=True) for size in sizes[:MOST_SIZES])),
        tuple(rows),
        "speedups.csv",
        hidden=max(0, len(series) - MOST_ROWS),
    )


_LOOKS: Final[Mapping[Outcome, str]] = {
    Outcome.ABOVE: "faster",
    Outcome.BELOW: "slower",
    Outcome.NO_DIFFERENCE: "undecided",
    Outcome.ABOVE_ONCE: "once",
    Outcome.BELOW_ONCE: "once",
    Outcome.EQUAL_ONCE: "once",
}


def _speedup_field(row: Row | None, cell: Row | None) -> Field:
    if row is None:
        return _absent(cell)
    shown = field(ratio_text(row), _LOOKS[outcome_of(row)])
    detail = shown.detail or "one run"
    flagged = row["flagged_runs"] or row["reference_flagged_runs"]
    return Field(shown.text, f"{detail} {FLAGGED}" if flagged else detail, shown.look)


def _absent(cell: Row | None) -> Field:
    """Why a cell has no conclusion: how its runs ended, or that it was not measured."""
    return (
        Field(UNKNOWN, look="absent")
        if cell is None or cell["n"]
        else Field(status_words(cell["status"]), look="absent")
    )


def glance(compared: Compared, order: TableOrder) -> Table | None:
    """For each model the devices with the least mean seconds, time to the target, price and energy, and their rivals.

    None where there is only one device, or only one cell a model.
    """
    cells = compared.cells
    executors = executors_of(cells, order)
    labels = {(one.device, one.host): one.label for one in executors}
    if len(executors) < 2:  # noqa: PLR2004 - of one device there is no best
        return None
    prices = "price_to_accuracy" if compared.costs["price_to_accuracy"].notna().any() else "price_per_epoch"
    asked: tuple[tuple[str, pd.DataFrame, Measure], ...] = (
        ("Least seconds an epoch", cells, SECONDS),
        ("Least seconds to the target accuracy", compared.accuracy_times, _measure("time_to_accuracy_seconds")),
        (
            f"Least price {'to the target accuracy' if 'to_' in prices else 'of an epoch'}",
            compared.costs,
            _measure(prices),
        ),
        ("Least GPU energy an epoch (J)", compared.costs, _measure("energy_joules_per_epoch")),
    )
    known = [
        (heading, measure, rows_of(table)) for heading, table, measure in asked if table[measure.metric].notna().any()
    ]
    body = []
    models = models_of(cells, order)
    for model in models[:MOST_ROWS]:
        fields = [Field(model)]
        for _, measure, rows in known:
            fields.append(_best_field([row for row in rows if row["model"] == model], measure, labels))
        body.append(tuple(fields))
    if not known:
        return None
    return Table(
        "glance",
        "Which device for which model: the least mean of all devices and batch sizes, and what is not shown to be more",
        (Column("Model"), *(Column(heading) for heading, *_ in known)),
        tuple(body),
        "cells.csv",
        hidden=max(0, len(models) - MOST_ROWS),
        short=True,
    )


def _best_field(rows: Sequence[Row], measure: Measure, labels: Mapping[tuple[str, str], str]) -> Field:
    """The row with the least mean, and what takes the claim from it that it has the least."""

    def amount(row: Row) -> float:
        return float(row[measure.metric])

    known = sorted((row for row in rows if row[measure.metric] is not None), key=amount)
    if not known:
        return Field(UNKNOWN, look="absent")
    best, *others = known
    beside = rivals_text(*(places(best, cells, labels) for cells in rivals(best, others, measure.metric)))
    censored = places(best, (row for row in rows if _is_censored(row, measure.metric)), labels)
    currency = f" {best['currency']}" if measure.metric.startswith("price") else ""
    details = [f"{figure_text(best, measure)}{currency} at batch size {best['batch_size']}"]
    details += [beside] if beside else []
    details += [f"not reached by all runs of {few(censored, f'{len(censored)} others')}"] if censored else []
    label = labels[best["device"], best["host"]]
    return Field(label, "; ".join(details), "best", label)


def _is_censored(row: Row, metric: str) -> bool:
    """Whether a figure is unknown because not all runs reached the target: they may be ahead of any that did."""
    why = row.get("price_to_accuracy_note") if metric == "price_to_accuracy" else row.get("verdict")
    return row[metric] is None and why not in {None, "reached"} and row.get("price_per_hour", 0.0) is not None


def _measure(metric: str) -> Measure:
    return Measure(metric, "")


def comparison_groups(compared: Compared, order: TableOrder) -> tuple[list[Group], int]:
    """The comparison of each model and batch size, and how many of them are left out."""
    executors = executors_of(compared.cells, order)[:MOST_EXECUTORS]
    groups = groups_of(compared.cells, order)
    shown: Shown = shown_of(compared)
    found = []
    for number, (model, batch_size) in enumerate(groups[:MOST_GROUPS]):
        keys = [(model, batch_size, one.device, one.host) for one in executors]
        table = Table(
            f"comparison-{number}",
            f"{model}, batch size {batch_size}",
            (Column("Measure"), *(Column(one.label, number=True) for one in executors)),
            tuple((Field(name), *map(field, fields)) for name, *fields in group_rows(shown, keys)),
            "comparison.csv",
            short=True,
        )
        found.append(Group(model, batch_size, table))
    return found, max(0, len(groups) - MOST_GROUPS)


def cells_list(cells: pd.DataFrame) -> Table:
    """Every cell of every host."""
    rows = rows_of(cells)
    return _table(
        "cells",
        "Every cell: seconds to train an epoch, samples a second and start-up are geometric means with 95 % intervals",
        "cells.csv",
        rows,
        (
            *_KEY,
            _Shape("Hardware", lambda row: Field(hardware_of(row) or UNKNOWN)),
            *_computed_with(cells),
            _Shape("Seconds an epoch", _seconds_field, number=True),
            _Shape("Samples a second", lambda row: field(_figure(row, "samples_per_second")), number=True),
            _Shape("Final accuracy (%)", _share("final_accuracy", 100.0), number=True),
            _Shape("CPU (% of one core)", _share("cpu_percent"), number=True),
            _Shape("GPU (%)", _share("gpu_utilization_percent"), number=True, only_if_known=True),
            _Shape("Start-up (s)", lambda row: field(_figure(row, "startup_seconds")), number=True, only_if_known=True),
            _Shape("Peak memory (MiB)", _share("peak_memory_mib"), number=True, only_if_known=True),
            _Shape("Runs", lambda row: Field(_runs(row)), number=True),
            _Shape("Flagged", lambda row: Field(str(row["flagged_runs"])), number=True),
        ),
        with_host=_several_hosts(cells),
    )


def accuracy_times_list(times: pd.DataFrame) -> Table | None:
    """Time to the target accuracy."""

    def seconds(metric: str) -> Callable[[Row], Field]:
        def show(row: Row) -> Field:
            if row["verdict"] != "reached":
                return Field(row["verdict"], look="absent")
            return field(figure_text(row, _measure(metric)))

        return show

    return _table_or_none(
        "accuracy-times",
        "Time until the target accuracy on all test images is reached: means over runs with 95 % intervals",
        "accuracy_times.csv",
        rows_of(times),
        (
            *_KEY,
            _Shape("Target (%)", lambda row: Field(f"{100 * row['target_accuracy']:g}"), number=True),
            _Shape("Training alone (s)", seconds("time_to_accuracy_seconds"), number=True),
            _Shape(
                "All, from the start of the process (s)", seconds("time_to_accuracy_with_startup_seconds"), number=True
            ),
            _Shape("Epochs (median)", _number("epochs_to_accuracy_median", "g"), number=True),
            _Shape("Runs that reached it", lambda row: Field(f"{row['reached']} of {row['n']}"), number=True),
        ),
        with_host=_several_hosts(times),
    )


def costs_list(costs: pd.DataFrame) -> Table | None:
    """Energy and prices, None where none is known."""
    metrics = ("energy_joules_per_epoch", "cpu_energy_joules_per_epoch", "price_per_epoch", "price_to_accuracy")
    rows = [row for row in rows_of(costs) if any(row[metric] is not None for metric in metrics)]

    def price_to_accuracy(row: Row) -> Field:
        if row["price_to_accuracy"] is None and row["price_to_accuracy_note"] and row["price_per_hour"] is not None:
            return Field(row["price_to_accuracy_note"], look="absent")
        return field(_figure(row, "price_to_accuracy"))

    currencies = " or ".join(dict.fromkeys(row["currency"] for row in rows if row["currency"]))
    return _table_or_none(
        "costs",
        "Energy while training an epoch; price of training and evaluating one, and of all time to the target accuracy",
        "costs.csv",
        rows,
        (
            *_KEY,
            _Shape(
                "GPU energy an epoch (J)", lambda row: field(_figure(row, metrics[0])), number=True, only_if_known=True
            ),
            _Shape(
                "CPU energy an epoch (J)", lambda row: field(_figure(row, metrics[1])), number=True, only_if_known=True
            ),
            _Shape(
                f"Price of an epoch ({currencies})",
                lambda row: field(_figure(row, metrics[2])),
                number=True,
                only_if_known=True,
            ),
            _Shape(f"Price to the target ({currencies})", price_to_accuracy, number=True, only_if_known=True),
            _Shape(f"Price an hour ({currencies})", _number("price_per_hour", "g"), number=True, only_if_known=True),
        ),
        with_host=_several_hosts(costs),
    )


def scaling_list(scaling: pd.DataFrame, fits: pd.DataFrame) -> Table | None:
    """Throughput over threads, of the CPUs of which several numbers were measured."""
    series = ("model", "batch_size", "host", "framework", "precision", "environment")
    fitted = {tuple(row[column] for column in series) for row in rows_of(fits)}
    rows = [row for row in rows_of(scaling) if tuple(row[column] for column in series) in fitted]

    def speedup(row: Row) -> Field:
        return field(ratio_text(row)) if row["speedup"] is not None else Field(UNKNOWN)

    return _table_or_none(
        "scaling",
        "Throughput of the CPU over its threads; speedup is over the fewest threads, efficiency is speedup a thread",
        "scaling.csv",
        rows,
        (
            *_KEY,
            *_computed_with(scaling),
            _Shape("Threads", lambda row: Field(str(row["threads"])), number=True),
            _Shape("Samples a second", lambda row: field(_figure(row, "samples_per_second")), number=True),
            _Shape("Speedup", speedup, number=True),
            _Shape("Efficiency (%)", lambda row: field(efficiency_text(row)), number=True),
        ),
        with_host=_several_hosts(scaling),
    )


def gpu_scaling_list(scaling: pd.DataFrame) -> Table | None:
    """Throughput over GPUs, where several numbers of them were measured."""
    return _table_or_none(
        "gpu-scaling",
        "Throughput over the GPUs that share each batch; speedup is over the fewest, efficiency is speedup a GPU",
        "gpu_scaling.csv",
        rows_of(scaling),
        (
            *_KEY,
            *_computed_with(scaling),
            _Shape("GPUs", lambda row: Field(str(row["gpus"])), number=True),
            _Shape("Samples a second", lambda row: field(_figure(row, "samples_per_second")), number=True),
            _Shape("Speedup", lambda row: field(ratio_text(row)), number=True),
            _Shape("Efficiency (%)", lambda row: field(efficiency_text(row)), number=True),
        ),
        with_host=_several_hosts(scaling),
    )


def frameworks_list(frameworks: pd.DataFrame) -> Table | None:
    """Frameworks and precisions beside each other on the same hardware."""
    rows = rows_of(frameworks)
    references = {(row["reference_framework"], row["reference_precision"]) for row in rows} - {(None, None)}
    over = "its reference"
    if len(references) == 1:
        ((framework, precision),) = references
        over = f"{framework_words(framework)} {precision}"
    places, precisions = {_on(row) for row in rows}, {row["precision"] for row in rows}

    def compared(name: str, other: str, of_itself: str = "") -> Callable[[Row], Field]:
        def show(row: Row) -> Field:
            if row[name] is None:
                return _absent(row)
            itself = row[f"{other}_device"] == row["device"]
            shown = field(ratio_text(row, name), "" if itself else _LOOKS[outcome_of(row, name)])
            flagged = FLAGGED if row["flagged_runs"] or row[f"{other}_flagged_runs"] else ""
            detail = shown.detail or (of_itself if itself else "one run")
            return Field(shown.text, " ".join(filter(None, (detail, flagged))), shown.look)

        return show

    return _table_or_none(
        "frameworks",
        "The same network on the same hardware: a row a framework and precision; the ceiling is the most that these "
        "were seen to do",
        "frameworks.csv",
        rows,
        (
            *_KEY,
            *([_Shape("On", lambda row: Field(_on(row)))] if len(places) > 1 else []),
            _FRAMEWORK,
            _PRECISION,
            _Shape("Seconds an epoch", lambda row: _marked_seconds(row) if row["n"] else _absent(row), number=True),
            _Shape("Final accuracy (%)", _share("final_accuracy", 100.0), number=True),
            _Shape(f"Speedup over {over}", compared("speedup", "reference", "reference"), number=True),
            *(
                [_Shape("Over its own float32", compared("speedup_over_float32", "float32"), number=True)]
                if len(precisions) > 1
                else []
            ),
            _Shape("Of the ceiling (%)", _percent("fraction_of_flop_ceiling"), number=True, only_if_known=True),
            _Shape(
                "GPU energy an epoch (J)",
                lambda row: field(_figure(row, "energy_joules_per_epoch")),
                number=True,
                only_if_known=True,
            ),
            _Shape(
                "CPU energy an epoch (J)",
                lambda row: field(_figure(row, "cpu_energy_joules_per_epoch")),
                number=True,
                only_if_known=True,
            ),
        ),
        with_host=_several_hosts(frameworks),
    )


def _percent(column: str) -> Callable[[Row], Field]:
    return lambda row: Field(UNKNOWN if row[column] is None else format_number(100 * row[column], 3))


def _on(row: Row) -> str:
    """On how much hardware: threads of a CPU, or GPUs."""
    if row["device_kind"] == "cpu":
        count, what = row["threads"], "thread"
    else:
        count, what = row["gpus"], "GPU"
    return UNKNOWN if count is None else f"{count} {what if count == 1 else f'{what}s'}"


def best_threads_list(fits: pd.DataFrame) -> Table | None:
    """The number of threads with the best mean, over which others that is not shown, and the law of scaling."""

    def law(row: Row) -> Field:
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

    return _table_or_none(
        "best-threads",
        "The number of threads with the highest mean throughput, beside all of them, and what the fitted law says",
        "scaling_fits.csv",
        rows_of(fits),
        (
            _MODEL,
            _SIZE,
            _HOST,
            *_computed_with(fits),
            _Shape("Best threads", lambda row: field(best_threads_text(row)), number=True),
            _Shape("All threads", _number("all_threads", "d"), number=True),
            _Shape("Best over all", _best_over_all, number=True),
            _Shape("Throughput by the law", law),
        ),
        with_host=_several_hosts(fits),
    )


def core_equivalents_list(equivalents: pd.DataFrame) -> Table | None:
    """How many cores match each GPU."""
    return _table_or_none(
        "core-equivalents",
        "How many CPU cores train as fast as the GPU",
        "core_equivalents.csv",
        rows_of(equivalents),
        (
            *_KEY,
            _Shape("Cores", _cores, number=True),
            _Shape("In words", lambda row: Field(row["verdict"])),
        ),
        with_host=_several_hosts(equivalents),
    )


# What the column of the nearest roof says: far below both neither is near, and a disturbed cell tells nothing.
_ROOFS: Final[Mapping[str, Field]] = {
    COMPUTE: Field("compute"),
    MEMORY: Field("memory"),
    OVERHEAD: Field("none", "(overhead)"),
    DISTURBED: Field(UNKNOWN, "(disturbed)"),
    UNDECIDED: Field(UNKNOWN, "(overhead: not shown)"),
}


def roofline_list(roofline: pd.DataFrame) -> Table | None:
    """What each cell achieves of what its device can do."""
    rows = [row for row in rows_of(roofline) if row["achieved_flop_per_second"] is not None]

    def scaled(column: str, unit: float) -> Callable[[Row], Field]:
        return lambda row: Field(UNKNOWN if row[column] is None else format_number(row[column] / unit, 3))

    def roof(row: Row) -> Field:
        shown = _ROOFS.get(row["bound"], Field(UNKNOWN))
        once = "one run" if row["n"] == 1 and shown.text != UNKNOWN else ""
        return Field(shown.text, " ".join(filter(None, (shown.detail, once))))

    def achieved(row: Row) -> Field:
        shown = scaled("achieved_flop_per_second", FLOP_PER_GFLOP)(row)
        return Field(shown.text, FLAGGED if row["flagged_runs"] else "")

    return _table_or_none(
        "roofline",
        "What each cell achieves of what its device can do at most (docs/measuring.md: how to read a roofline)",
        "roofline.csv",
        rows,
        (
            *_KEY,
            *_computed_with(roofline),
            _Shape("Achieved (GFLOP/s)", achieved, number=True),
            _Shape("Attainable (GFLOP/s)", scaled("attainable_flop_per_second", FLOP_PER_GFLOP), number=True),
            _Shape("Of the attainable (%)", scaled("fraction_of_attainable", 0.01), number=True),
            _Shape("FLOP a byte", scaled("flop_per_byte", 1.0), number=True),
            _Shape("Memory (GB/s)", scaled("bytes_ceiling_per_second", BYTES_PER_GIGABYTE), number=True),
            _Shape("Nearest roof", roof),
        ),
        with_host=_several_hosts(roofline),
    )


_HOST_ROWS: Final = (
    ("hostnames", "Names"),
    ("cpu_model", "CPU"),
    ("sockets", "Sockets"),
    ("cores", "Cores"),
    ("threads", "Threads"),
    ("usable_threads", "Threads usable by runs"),
    ("cpu_quota_cores", "CPU time limit (cores)"),
    ("numa_nodes", "NUMA nodes"),
    ("cpu_max_mhz", "Highest clock (MHz)"),
    ("caches", "Caches"),
    ("memory_mib", "Memory (GiB)"),
    ("gpus", "GPUs"),
    ("gpu_memory_mib", "GPU memory (MiB)"),
    ("gpu_driver_version", "GPU driver"),
    ("system", "System"),
    ("kernel", "Kernel"),
    ("software", "Software"),
    ("runs", "Runs"),
)


def hosts_side_by_side(hosts: pd.DataFrame) -> Table:
    """What each machine is, a column a host; what is known of none is left out."""
    columns = rows_of(hosts)[:MOST_EXECUTORS]

    def shown(row: Row, key: str) -> str:
        if row[key] is None:
            return UNKNOWN
        if key == "memory_mib":
            return format_number(row[key] / MIB_PER_GIB, 3)
        return f"{row[key]:g}" if isinstance(row[key], float) else str(row[key])

    rows = tuple(
        (Field(name), *(Field(shown(host, key)) for host in columns))
        for key, name in _HOST_ROWS
        if any(host[key] is not None for host in columns)
    )
    return Table(
        "hosts",
        "The machines that the runs ran on",
        (Column("Host"), *(Column(host["host"]) for host in columns)),
        rows,
        "hosts.csv",
        short=True,
    )


def flags_summary(runs: pd.DataFrame, checks: pd.DataFrame) -> Table | None:
    """Each check that flagged runs: how many, and what to do."""
    flagged = [row for row in rows_of(checks) if row["level"] in FLAG_LEVELS]
    by_name: dict[str, list[Row]] = {}
    for row in flagged:
        by_name.setdefault(row["name"], []).append(row)
    total = int((runs["status"] == COMPLETED).sum())
    rows = [
        {
            "name": name,
            "runs": len({row["run_id"] for row in found}),
            "advice": "; or: ".join(dict.fromkeys(row["advice"] for row in found)),
            "level": found[0]["level"],
        }
        for name, found in by_name.items()
    ]
    rows.sort(key=lambda row: -int(row["runs"]))
    return _table_or_none(
        "flags",
        "What checks flagged, and what to do about it",
        "checks.csv",
        rows,
        (
            _Shape("Check", lambda row: Field(row["name"], look="name")),
            _Shape("Level", lambda row: Field(row["level"])),
            _Shape("Runs", lambda row: Field(f"{row['runs']} of {total}"), number=True),
            _Shape("What to do", lambda row: Field(row["advice"], look="words")),
        ),
        stacked=True,
    )


def flagged_runs_list(checks: pd.DataFrame) -> Table | None:
    """Every finding that flags a run, with its advice."""
    rows = [row for row in rows_of(checks) if row["level"] in FLAG_LEVELS]
    return _table_or_none(
        "flagged-runs",
        "Every flagged run: what was found",
        "checks.csv",
        rows,
        (
            *_KEY,
            _Shape("Repeat", lambda row: Field(str(row["repeat"])), number=True),
            _Shape("Check", lambda row: Field(row["name"], look="name")),
            _Shape("Found", lambda row: Field(row["finding"], look="words")),
            _Shape("What to do", lambda row: Field(row["advice"], look="words")),
        ),
        with_host=_several_hosts(checks),
        stacked=True,
    )


def unfinished_list(runs: pd.DataFrame) -> Table | None:
    """Runs that were not completed, and why."""
    rows = [row for row in rows_of(runs) if row["status"] != COMPLETED]
    return _table_or_none(
        "unfinished",
        "Runs that were not completed",
        "runs.csv",
        rows,
        (
            *_KEY,
            _Shape("Repeat", lambda row: Field(str(row["repeat"])), number=True),
            _Shape("Status", lambda row: Field(status_words(row["status"]))),
            _Shape("What to do", lambda row: Field(_WHAT_TO_DO.get(row["status"], UNKNOWN))),
        ),
        with_host=_several_hosts(runs),
        stacked=True,
    )


_WHAT_TO_DO: Final[Mapping[str, str]] = {
    "out_of_memory": "a smaller batch or a device with more memory; snakemake retry measures it again",
    "failed": "see train.log in the run's folder; any call of snakemake carries it out again",
    "missing": "not begun, under way or broken off; any call of snakemake carries it out",
    "outdated": "measured with other settings; any call of snakemake measures it again",
}

_PARTS: Final[Mapping[str, str]] = {
    "study": "Study",
    "model": "Model",
    "device": "Device",
    "data": "Data",
    "software": "Software on",
}


def settings_list(settings: pd.DataFrame) -> Table:
    """Every setting and version of the runs."""
    rows = [row for row in rows_of(settings) if row["part"] in _PARTS]
    return _table(
        "settings",
        "Every setting and version of the runs, and how many runs had it",
        "settings.csv",
        rows,
        (
            _Shape("Of", lambda row: Field(" ".join(filter(None, (_PARTS[row["part"]], row["of"]))))),
            *([_OF_FRAMEWORK] if settings["framework"].nunique() > 1 else []),
            _Shape("Name", lambda row: Field(row["name"])),
            _Shape("Value", lambda row: Field(row["value"], look="code")),
            _Shape("Runs", lambda row: Field(str(row["runs"])), number=True),
        ),
    )


@dataclass(frozen=True)
class _Shape:
    """A column and how a row's field in it reads; `only_if_known` leaves it out where no row knows it.

    `host` says whether it stands where results come from several hosts alone, or from one alone.
    """

    heading: str
    show: Callable[[Row], Field]
    number: bool = False
    only_if_known: bool = False
    host: bool | None = None


_HOST: Final = _Shape("Host", lambda row: Field(row["host"]), host=True)
_MODEL: Final = _Shape("Model", lambda row: Field(row["model"]))
_SIZE: Final = _Shape("Batch size", lambda row: Field(str(row["batch_size"])), number=True)
_DEVICE: Final = _Shape("Device", lambda row: Field(row["device"], "", "device", row["device"]), host=False)
_DEVICE_OF_HOST: Final = _Shape(
    "Device",
    lambda row: Field(row["device"], row["host"], "device", f"{row['device']} @ {row['host']}"),
    host=True,
)
_KEY: Final = (_MODEL, _SIZE, _DEVICE, _DEVICE_OF_HOST)
_OF_FRAMEWORK: Final = _Shape("Framework", lambda row: Field(framework_words(row["framework"] or "")))
_FRAMEWORK: Final = _Shape("Framework", lambda row: Field(framework_words(row["framework"] or UNKNOWN)))
_PRECISION: Final = _Shape("Precision", lambda row: Field(row["precision"] or UNKNOWN))


def _computed_with(table: pd.DataFrame) -> list[_Shape]:
    """Columns of framework and precision, each where there are several."""
    shapes = {"framework": _FRAMEWORK, "precision": _PRECISION}
    return [shape for column, shape in shapes.items() if table[column].nunique() > 1]


def _table(
    name: str,
    caption: str,
    source: str,
    rows: Sequence[Row],
    shapes: Iterable[_Shape],
    *,
    with_host: bool = False,
    stacked: bool = False,
) -> Table:
    shown = rows[:MOST_ROWS]
    fields = {shape: [shape.show(row) for row in shown] for shape in shapes if shape.host in {None, with_host}}
    kept = {
        shape: column
        for shape, column in fields.items()
        if not shape.only_if_known or any(one.text != UNKNOWN for one in column)
    }
    return Table(
        name,
        caption,
        tuple(Column(shape.heading, shape.number) for shape in kept),
        tuple(zip(*kept.values(), strict=True)),
        source,
        hidden=len(rows) - len(shown),
        stacked=stacked,
    )


def _table_or_none(
    name: str,
    caption: str,
    source: str,
    rows: Sequence[Row],
    shapes: Iterable[_Shape],
    *,
    with_host: bool = False,
    stacked: bool = False,
) -> Table | None:
    return _table(name, caption, source, rows, shapes, with_host=with_host, stacked=stacked) if rows else None


def _several_hosts(table: pd.DataFrame) -> bool:
    return table["host"].nunique() > 1


def _figure(row: Row, metric: str) -> str:
    return figure_text(row, _measure(metric))


def _seconds_field(row: Row) -> Field:
    if not row["n"]:
        return _absent(row)
    return _marked_seconds(row, "*" if row["first_epoch_only"] else "")


def _marked_seconds(row: Row, mark: str = "") -> Field:
    shown = field(_figure(row, "train_seconds_per_epoch"))
    marks = (mark, FLAGGED if row["flagged_runs"] else "")
    return Field(shown.text, " ".join(filter(None, (shown.detail, *marks))), shown.look)


def _share(metric: str, scale: float = 1.0) -> Callable[[Row], Field]:
    def show(row: Row) -> Field:
        mean, sd = row[f"{metric}_mean"], row[f"{metric}_sd"]
        if mean is None:
            return Field(UNKNOWN)
        return field(format_mean(mean * scale, None if sd is None else sd * scale))

    return show


def _number(column: str, spec: str) -> Callable[[Row], Field]:
    def show(row: Row) -> Field:
        value: Any = row[column]
        return Field(UNKNOWN if value is None else format(value, spec))

    return show


def _runs(row: Row) -> str:
    return str(row["n"]) if row["n"] == row["runs"] else f"{row['n']} of {row['runs']} ({status_words(row['status'])})"


def _best_over_all(row: Row) -> Field:
    return Field(UNKNOWN) if row["best_over_all_threads"] is None else field(ratio_text(row, "best_over_all_threads"))


def _cores(row: Row) -> Field:
    cores, low, high = (row[f"cores{end}"] for end in ("", "_low", "_high"))
    if cores is None:
        return Field(UNKNOWN)
    if low is None or high is None:
        rest = "no interval" if low is None else f"(from {format_number(low, 3)})"
        return Field(format_number(cores, 3), rest)
    return field(format_estimate(cores, low, high, significant=3))
