"""Goes through metrics records one by one and keeps of them the tables of runs, epochs and checks."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import pandas as pd

from trainbench.results import cross_checks
from trainbench.results.columns import CELL_KEY, chosen, real, text, whole
from trainbench.results.runs_table import FLAG_LEVELS, RUN_COLUMNS, run_row
from trainbench.results.tables import TableOrder, frame

EPOCH_COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("device")
    | whole("repeat")
    | text("host")
    | whole("epoch")
    | real("train_seconds", "eval_seconds", "loss", "accuracy", "elapsed_seconds")
    | text("run_id")
)

CHECK_COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("device")
    | whole("repeat")
    | text("host", "name", "level", "finding", "advice", "run_id")
)

RUN_ORDER: Final = (*CELL_KEY, "repeat", "run_id")
EPOCH_ORDER: Final = (*CELL_KEY, "repeat", "epoch")
CHECK_ORDER: Final = (*CELL_KEY, "repeat")


@dataclass(frozen=True)
class Measured:
    """What metrics records say: a row a run, a row an epoch, a row a finding."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    checks: pd.DataFrame


def measured(records: Iterable[Mapping[str, Any]], order: TableOrder | None = None) -> Measured:
    """The tables that come straight from metrics records, which are looked at one by one and not kept.

    `runs` has the columns `RUN_COLUMNS`, of which `flags` names the checks, those across runs among them, that found
    something of the levels `FLAG_LEVELS`: "" if none did.

    `epochs` has the columns `EPOCH_COLUMNS`; `elapsed_seconds` is the training time from the first epoch's start to
    this epoch's end, evaluation left out. `checks` has the columns `CHECK_COLUMNS` and a row for each finding about a
    run, of every level.
    """
    order = order or TableOrder()
    runs: list[dict[str, Any]] = []
    epochs: list[tuple[Any, ...]] = []
    findings: list[list[Mapping[str, str]]] = []
    compared = []
    for record in records:
        row = run_row(record)
        runs.append(row)
        elapsed_seconds = 0.0
        for epoch in record["epochs"]:
            elapsed_seconds += epoch["train_seconds"]
            of_epoch = row | epoch | {"elapsed_seconds": elapsed_seconds}
            epochs.append(tuple(of_epoch[column] for column in EPOCH_COLUMNS))
        findings.append(record["checks"])
        compared.append(cross_checks.compared_part(record))
    across = cross_checks.across_runs(compared)
    checks = []
    for row, own in zip(runs, findings, strict=True):
        found = [*own, *(asdict(finding) for finding in across[row["run_id"]])]
        row["flags"] = " ".join(dict.fromkeys(each["name"] for each in found if each["level"] in FLAG_LEVELS))
        checks += [chosen(row, RUN_ORDER) | dict(finding) for finding in found]
    of_epochs = (dict(zip(EPOCH_COLUMNS, epoch, strict=True)) for epoch in epochs)
    return Measured(
        runs=frame(runs, RUN_COLUMNS, order, RUN_ORDER),
        epochs=frame(of_epochs, EPOCH_COLUMNS, order, EPOCH_ORDER),
        checks=frame(checks, CHECK_COLUMNS, order, CHECK_ORDER),
    )
