"""Goes from metrics files to every table, looking at one run at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from trainbench.conclusions import roofline, scaling_tables
from trainbench.conclusions.accuracy_times import accuracy_times_table
from trainbench.conclusions.comparison import Compared, comparison_markdown, comparison_table
from trainbench.conclusions.costs import costs_table
from trainbench.conclusions.frameworks import frameworks_table
from trainbench.conclusions.headlines import answers
from trainbench.conclusions.hosts import Inventory
from trainbench.conclusions.speedups import Reference, crossovers_table, speedups_table
from trainbench.errors import InputError
from trainbench.files import whole_file
from trainbench.records.same_host import Hosts
from trainbench.results import published, sources
from trainbench.results.settings_table import LEFT_OUT, PUBLISHED, Settings
from trainbench.results.tables import (
    RUN_COLUMNS,
    TableOrder,
    beside_cells,
    cells_table,
    frame,
    measured,
    sorted_table,
    write_csv,
)
from trainbench.words.markdown import literal

COMPARISON: Final = "comparison.md"
TABLES: Final = (
    *("runs.csv", "epochs.csv", "checks.csv", "cells.csv", "hosts.csv", "speedups.csv", "crossovers.csv"),
    *("accuracy_times.csv", "costs.csv", "scaling.csv", "scaling_fits.csv", "core_equivalents.csv", "roofline.csv"),
    *("frameworks.csv", "gpu_scaling.csv", "settings.csv", "comparison.csv", COMPARISON),
)
"""The files that `write_all` writes."""


@dataclass(frozen=True)
class Question:
    """What the tables are to answer: the order in which things are shown, and what the config asks.

    `target_accuracy` is a share of all test images by model; `prices` are per hour in `currency`.
    """

    order: TableOrder = field(default_factory=TableOrder)
    reference: Reference = field(default_factory=Reference)
    target_accuracy: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    currency: str = "EUR"


@dataclass(frozen=True)
class AbsentRun:
    """A run of the study that has no results; `status` says why: "missing", "failed" or "outdated"."""

    model: str
    batch_size: int
    device: str
    repeat: int
    device_kind: str
    status: str


def write_all(
    own: Iterable[Path],
    found: sources.Found,
    question: Question,
    folder: Path,
    *,
    skip_bad_sources: bool = False,
    absent: Sequence[AbsentRun] = (),
) -> None:
    """Write all `TABLES` to `folder`, from a study's own metrics files and what was found in sources.

    Raises:
        InputError: a file of the study cannot be used, or one of a source and `skip_bad_sources` is False.
    """
    inventory, settings, refused, hosts = Inventory(), Settings(), list[sources.Refusal](), Hosts()
    own_hosts: dict[str, None] = {}
    own_paths = list(own)

    def noted() -> Iterator[Mapping[str, Any]]:
        for number, record in enumerate(sources.read(own_paths, found, refused, hosts)):
            inventory.add(record)
            settings.add(record)
            if number < len(own_paths):
                own_hosts.setdefault(record["host"]["id"])
            yield record

    from_records = measured(noted())
    publications = _publications(found.published, refused)
    if not skip_bad_sources:
        sources.demand_all_usable(refused)
    for publication in publications:
        inventory.add_published(publication.host)
        settings.tell(PUBLISHED, publication.host["host"], "provenance", publication.note)
    for refusal in refused:
        settings.tell(LEFT_OUT, "", "file", str(refusal))
    runs = [from_records.runs, *(publication.runs for publication in publications)]
    if absent:
        runs.append(_absent_runs(absent, list(own_hosts)))
    # This study's hosts come before those of sources.
    order = replace(question.order, hosts=question.order.hosts or tuple(sorted(own_hosts)))
    tables = _all_tables(
        _together(runs, order, ("repeat", "run_id")),
        _together(
            [from_records.epochs, *(publication.epochs for publication in publications)], order, ("repeat", "epoch")
        ),
        sorted_table(from_records.checks, order, ("repeat",)),
        replace(_renamed(question, hosts.names), order=order),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_csv(table, folder / f"{name}.csv")
    write_csv(inventory.table(order), folder / "hosts.csv")
    write_csv(settings.table(order.models, order.devices), folder / "settings.csv")
    compared = Compared(**{name: table for name, table in tables.items() if name in Compared.__dataclass_fields__})
    write_csv(comparison_table(compared, order), folder / "comparison.csv")
    told = answers(
        tables["runs"],
        tables["cells"],
        tables["speedups"],
        order,
        frameworks=tables["frameworks"],
        gpu_scaling=tables["gpu_scaling"],
        reference=question.reference.device,
    )
    text = comparison_markdown(compared, order, told.headlines, told.caveats)
    text += _published_markdown(publications) + sources.left_out_markdown(refused)
    whole_file.write(text, folder / COMPARISON)


def _renamed(question: Question, names: Mapping[str, str]) -> Question:
    """The question with every host in it called as the tables call it; a name that is there already is left."""
    prices = {_renamed_place(place, names): price for place, price in question.prices.items()}
    host = question.reference.host
    prices |= question.prices
    reference = replace(question.reference, host=None if host is None else names.get(host, host))
    return replace(question, prices=prices, reference=reference)


def _renamed_place(place: str, names: Mapping[str, str]) -> str:
    """HOST or HOST/DEVICE with the host's name; other places as they are."""
    host, slash, device = place.partition("/")
    return f"{names.get(host, host)}{slash}{device}"


def _all_tables(
    runs: pd.DataFrame, epochs: pd.DataFrame, checks: pd.DataFrame, question: Question
) -> dict[str, pd.DataFrame]:
    """Every table that follows from those of runs, epochs and checks, by the name of its file."""
    order = question.order
    cells = cells_table(runs, order)
    speedups = speedups_table(cells, order, question.reference)
    times = accuracy_times_table(runs, epochs, question.target_accuracy, order)
    rooflines = roofline.roofline_table(runs, order)
    a_row_a_cell = {
        "speedups": speedups,
        "accuracy_times": times,
        "costs": costs_table(cells, times, question.prices, question.currency, order),
        "scaling": scaling_tables.scaling_table(cells, order),
        "core_equivalents": scaling_tables.core_equivalents_table(cells, order),
        "gpu_scaling": scaling_tables.gpu_scaling_table(cells, order),
        "roofline": rooflines,
        "frameworks": frameworks_table(cells, rooflines, order),
    }
    return {
        "runs": runs,
        "epochs": epochs,
        "checks": checks,
        "cells": cells,
        **{name: beside_cells(table, cells) for name, table in a_row_a_cell.items()},
        "crossovers": crossovers_table(speedups, order),
        "scaling_fits": scaling_tables.scaling_fits_table(cells, order),
    }


def _publications(folders: Iterable[Path], refused: list[sources.Refusal]) -> list[published.Published]:
    """The published results of folders; what cannot be used, or was read already, is appended to `refused`."""
    publications: list[published.Published] = []
    known: dict[str, Path] = {}
    for folder in folders:
        try:
            publication = published.read_published(folder)
        except InputError as error:
            refused.append(sources.Refusal(folder, f"cannot be used: {error}"))
            continue
        again = next((known[run_id] for run_id in publication.runs["run_id"] if run_id in known), None)
        if again is not None:
            refused.append(sources.Refusal(folder, f"has the same published cells as {again}"))
            continue
        known |= dict.fromkeys(publication.runs["run_id"], folder)
        publications.append(publication)
    return publications


def _published_markdown(publications: Sequence[published.Published]) -> str:
    """Where published results come from and what they cover; nothing where there are none."""
    if not publications:
        return ""
    return "\n".join(
        ["\n## Published results\n", *(f"- {literal(publication.note)}" for publication in publications), ""]
    )


def _together(tables: Sequence[pd.DataFrame], order: TableOrder, last: tuple[str, ...]) -> pd.DataFrame:
    """Tables of the same columns as one, sorted."""
    filled = [table for table in tables if len(table)]
    return sorted_table(pd.concat(filled, ignore_index=True) if filled else tables[0], order, last)


def _absent_runs(absent: Sequence[AbsentRun], own_hosts: Sequence[str]) -> pd.DataFrame:
    """Rows of the table of runs for runs without results, under this study's host where there is one."""
    host = own_hosts[0] if len(own_hosts) == 1 else "unknown"
    rows = [{**asdict(run), "host": host, "run_id": f"{run.status}-{number}"} for number, run in enumerate(absent)]
    return frame([{**row, "flags": ""} for row in rows], RUN_COLUMNS, None)
