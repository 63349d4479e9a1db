"""Tables of every cell: what was measured of it, its time to an accuracy, its energy and price."""

from functools import partial
from typing import Final

from trainbench.conclusions.cell_texts import figure_text, hardware_of
from trainbench.conclusions.comparison import group_rows, shown_of
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import table as columns
from trainbench.page.table import (
    Column,
    Field,
    Table,
    exact,
    field,
    figure,
    if_known,
    listing,
    mean,
    number,
)
from trainbench.results.columns import Row
from trainbench.results.tables import groups_of
from trainbench.words.wording import UNKNOWN, status_words

MOST_GROUPS: Final = 60
MOST_EXECUTORS: Final = 24


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
            if_known(figure(f"Price of an epoch ({currencies})", "price_per_epoch")),
            if_known(number(f"Price to the target ({currencies})", _price_to_accuracy)),
            if_known(exact(f"Price an hour ({currencies})", "price_per_hour", "g")),
        ),
        lambda _: rows,
    )(study)


def _price_to_accuracy(row: Row) -> Field:
    if row["price_to_accuracy"] is None and row["price_to_accuracy_note"] and row["price_per_hour"] is not None:
        return Field(row["price_to_accuracy_note"], look="absent")
    return field(figure_text(row, "price_to_accuracy"))


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
            mean("CPU (% of one core)", "cpu_percent"),
            if_known(mean("GPU (%)", "gpu_utilization_percent")),
            if_known(figure("Start-up (s)", "startup_seconds")),
            if_known(mean("Peak memory (MiB)", "peak_memory_mib")),
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
)
