"""Tables that say which device is how much faster: at a glance, over all batch sizes, by framework and precision."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from trainbench.conclusions.cell_texts import figure_text, ratio_text
from trainbench.conclusions.fastest import places, rivals_text
from trainbench.conclusions.tables.speedups import is_reference, outcome_of, rivals
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import table as columns
from trainbench.page.table import Column, Field, Table, absent, field, joined, listing, number
from trainbench.results.columns import Row
from trainbench.results.executors import Executor, labels_of
from trainbench.results.statistics import Outcome
from trainbench.results.tables import batch_sizes_of, cells_by_key, models_of, rows_of
from trainbench.words.wording import FLAGGED, UNKNOWN, few, framework_words, numbered

MOST_SIZES: Final = 24

_LOOKS: Final[Mapping[Outcome, str]] = {
    Outcome.ABOVE: "faster",
    Outcome.BELOW: "slower",
    Outcome.NO_DIFFERENCE: "undecided",
}


def _glance(study: DrawnStudy) -> Table:
    """For each model the devices with the least mean seconds, time to the target, price and energy, and their rivals.

    Without rows where there is only one device.
    """
    to_target = study.tables["costs"]["price_to_accuracy"].notna().any()
    price = ("to the target accuracy", "price_to_accuracy") if to_target else ("of an epoch", "price_per_epoch")
    asked = (
        ("Least seconds an epoch", "cells", "train_seconds_per_epoch"),
        ("Least seconds to the target accuracy", "accuracy_times", "time_to_accuracy_seconds"),
        (f"Least price {price[0]}", "costs", price[1]),
        ("Least GPU energy an epoch (J)", "costs", "energy_joules_per_epoch"),
    )
    labels = labels_of(study.executors)
    least = [
        Column(heading, partial(_least, study.rows(name), metric, labels))
        for heading, name, metric in asked
        if study.tables[name][metric].notna().any()
    ]
    return Table(
        "glance",
        "Which device for which model: the least mean of all devices and batch sizes, and what is not shown to be more",
        "cells",
        models_of(study.tables["cells"], study.order) if least and len(labels) > 1 else [],
        (Column("Model", Field), *least),
        short=True,
    )


def _least(table_rows: Sequence[Row], metric: str, labels: Mapping[tuple[str, str], str], model: str) -> Field:
    """The row of a model with the least mean, and what takes the claim from it that it has the least."""
    rows = [row for row in table_rows if row["model"] == model]
    known = sorted((row for row in rows if row[metric] is not None), key=lambda row: float(row[metric]))
    if not known:
        return Field(UNKNOWN, look="absent")
    best, *others = known
    currency = f" {best['currency']}" if metric.startswith("price") else ""
    beside = rivals_text(*(places(best, cells, labels) for cells in rivals(best, others, metric)))
    censored = places(best, (row for row in rows if _is_censored(row, metric)), labels)
    details = (
        f"{figure_text(best, metric)}{currency} at batch size {best['batch_size']}",
        beside,
        f"not reached by all runs of {few(censored, f'{len(censored)} others')}" if censored else "",
    )
    label = labels[best["device"], best["host"]]
    return Field(label, "; ".join(filter(None, details)), "best", label)


def _is_censored(row: Row, metric: str) -> bool:
    """Whether a figure is unknown because not all runs reached the target: they may be ahead of any that did."""
    why = row.get("price_to_accuracy_note") if metric == "price_to_accuracy" else row.get("verdict")
    return row[metric] is None and why not in {None, "reached"} and row.get("price_per_hour", 0.0) is not None


def _speedup_matrix(study: DrawnStudy) -> Table:
    """How many times faster than the reference each device trains: a row a model and device, a column a batch size."""
    cells, shown = study.tables["cells"], cells_by_key(study.tables["speedups"])
    references = {(row["device"], row["host"]) for row in shown.values() if is_reference(row)}
    present = {(model, *key) for model, _, *key in study.cells}
    series = [
        (model, one)
        for model in models_of(cells, study.order)
        for one in study.executors
        if one.key not in references and (model, *one.key) in present
    ]
    sizes = batch_sizes_of(cells, study.order)

    def device(of: tuple[str, Executor]) -> Field:
        one = of[1]
        return Field(one.device, one.host if one.label != one.device else "", "device", one.label)

    def at(size: int, of: tuple[str, Executor]) -> Field:
        cell = of[0], size, *of[1].key
        if cell not in shown:
            return absent(study.cells.get(cell))
        row = shown[cell]
        return _times(row, "speedup", "one run", row["flagged_runs"] or row["reference_flagged_runs"])

    name = next((row["reference_device"] for row in shown.values()), "")
    hosts = " of the same host" if len({row["reference_host"] for row in shown.values()}) > 1 else ""
    more = f"; {len(sizes) - MOST_SIZES} more batch sizes are in speedups.csv" if len(sizes) > MOST_SIZES else ""
    return Table(
        "speedup-matrix",
        f"How many times faster than {name}{hosts} each device trains, with the 95 % interval{more}",
        "speedups",
        series if shown else [],
        (
            Column("Model", lambda of: Field(of[0])),
            Column("Device", device),
            *(number(f"Batch {size}", partial(at, size)) for size in sizes[:MOST_SIZES]),
        ),
    )


def _times(row: Row, name: str, alone: str, flagged: object, *, decided: bool = True) -> Field:
    """How many times faster, and whether that is shown; `alone` stands beside it where it has no interval."""
    shown = field(ratio_text(row, name), _LOOKS.get(outcome_of(row, name), "once") if decided else "")
    return Field(shown.text, joined(shown.detail or alone, FLAGGED if flagged else ""), shown.look)


def _frameworks(study: DrawnStudy) -> Table:
    """Frameworks and precisions beside each other on the same hardware."""
    rows = study.rows("frameworks")
    references = {
        f"{framework_words(row['reference_framework'])} {row['reference_precision']}"
        for row in rows
        if row["reference_framework"] is not None
    }
    over = references.pop() if len(references) == 1 else "its reference"
    return listing(
        "frameworks",
        "The same network on the same hardware: a row a framework and precision; the ceiling is the most that these "
        "were seen to do",
        (
            *columns.CELL,
            Column("On", lambda row: Field(_on(row)), where=lambda table: len(set(map(_on, rows_of(table)))) > 1),
            columns.FRAMEWORK,
            columns.PRECISION,
            columns.SECONDS_AN_EPOCH,
            columns.FINAL_ACCURACY,
            number(f"Speedup over {over}", _compared("speedup", "reference", "reference")),
            Column(
                "Over its own float32",
                _compared("speedup_over_float32", "float32"),
                number=True,
                where=lambda table: bool(table["precision"].nunique(dropna=False) > 1),
            ),
            columns.if_known(columns.scaled("Of the ceiling (%)", "fraction_of_flop_ceiling", 0.01)),
            columns.GPU_ENERGY,
            columns.CPU_ENERGY,
        ),
    )(study)


def _compared(name: str, other: str, of_itself: str = "") -> Callable[[Row], Field]:
    """How many times faster than another cell, which may be itself."""

    def show(row: Row) -> Field:
        if row[name] is None:
            return absent(row)
        itself = row[f"{other}_device"] == row["device"]
        flagged = row["flagged_runs"] or row[f"{other}_flagged_runs"]
        return _times(row, name, of_itself if itself else "one run", flagged, decided=not itself)

    return show


def _on(row: Row) -> str:
    """On how much hardware: threads of a CPU, or GPUs."""
    count, what = (row["threads"], "thread") if row["device_kind"] == "cpu" else (row["gpus"], "GPU")
    return UNKNOWN if count is None else numbered(count, what)


TABLES: Final = (_glance, _speedup_matrix, _frameworks)
