"""Goes from metrics files to every table, looking at one run at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from trainbench.conclusions.all_tables import Question, Tables
from trainbench.conclusions.comparison import comparison_table
from trainbench.conclusions.comparison_markdown import comparison_markdown
from trainbench.conclusions.headlines import answers
from trainbench.conclusions.table_files import COMPARISON, CONCLUDED
from trainbench.errors import InputError
from trainbench.files import whole_file
from trainbench.records.same_host import Hosts
from trainbench.results import published, sources
from trainbench.results.columns import Row
from trainbench.results.hosts_table import Inventory
from trainbench.results.measured import CHECK_ORDER, EPOCH_ORDER, RUN_ORDER, measured
from trainbench.results.runs_table import RUN_COLUMNS
from trainbench.results.settings_table import LEFT_OUT, PUBLISHED, Settings
from trainbench.results.tables import TableOrder, frame, sorted_table, write_csv
from trainbench.words.markdown import bullets


def write_all(
    own: Iterable[Path],
    found: sources.Found,
    question: Question,
    folder: Path,
    *,
    skip_bad_sources: bool = False,
    absent: Sequence[Row] = (),
) -> None:
    """Write all `table_files.FILES` to `folder`, from a study's own metrics files and what was found in sources.

    `absent` are the study's runs that have no results, some of the columns of the table of runs; their `status` says
    why: "missing", "failed" or "outdated".

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
    tables = Tables(
        _together(runs, order, RUN_ORDER),
        _together([from_records.epochs, *(publication.epochs for publication in publications)], order, EPOCH_ORDER),
        sorted_table(from_records.checks, order, CHECK_ORDER),
        replace(_renamed(question, hosts.names), order=order),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runs", "epochs", "checks", "cells", *CONCLUDED):
        write_csv(tables[name], folder / f"{name}.csv")
    write_csv(inventory.table(order), folder / "hosts.csv")
    write_csv(settings.table(order.models, order.devices), folder / "settings.csv")
    write_csv(comparison_table(tables, order), folder / "comparison.csv")
    told = answers(tables, order, question.reference.device)
    text = comparison_markdown(tables, order, told.headlines, told.caveats)
    if publications:
        text += f"\n## Published results\n\n{bullets(publication.note for publication in publications)}\n"
    whole_file.write(text + sources.left_out_markdown(refused), folder / COMPARISON)


def _renamed(question: Question, names: Mapping[str, str]) -> Question:
    """The question with every host in it called as the tables call it; a name that is there already is left."""
    # A place is HOST, HOST/DEVICE or another name.
    places = {place: place.partition("/") for place in question.prices}
    prices = {names.get(host, host) + "".join(rest): question.prices[place] for place, (host, *rest) in places.items()}
    host = question.reference.host
    reference = replace(question.reference, host=None if host is None else names.get(host, host))
    return replace(question, prices=prices | dict(question.prices), reference=reference)


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
        if again is None:
            known |= dict.fromkeys(publication.runs["run_id"], folder)
            publications.append(publication)
        else:
            refused.append(sources.Refusal(folder, f"has the same published cells as {again}"))
    return publications


def _together(tables: Sequence[pd.DataFrame], order: TableOrder, by: Sequence[str]) -> pd.DataFrame:
    """Tables of the same columns as one, sorted."""
    filled = [table for table in tables if len(table)]
    return sorted_table(pd.concat(filled, ignore_index=True) if filled else tables[0], order, by)


def _absent_runs(absent: Sequence[Row], own_hosts: Sequence[str]) -> pd.DataFrame:
    """Rows of the table of runs for runs without results, under this study's host where there is one."""
    host = own_hosts[0] if len(own_hosts) == 1 else "unknown"
    rows = (
        {**run, "host": host, "run_id": f"{run['status']}-{number}", "flags": ""} for number, run in enumerate(absent)
    )
    return frame(rows, RUN_COLUMNS)
