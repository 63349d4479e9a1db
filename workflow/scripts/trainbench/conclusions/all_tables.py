"""Makes every table that follows from those of runs, epochs and checks, and reads tables back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Final

import pandas as pd

from trainbench.conclusions.table_files import CONCLUDED, FROM_RECORDS
from trainbench.conclusions.tables.speedups import Reference
from trainbench.results.cells_table import CELL_COLUMNS, beside_cells, cells_table
from trainbench.results.columns import CELL_KEY, Columns
from trainbench.results.hosts_table import HOST_COLUMNS
from trainbench.results.measured import CHECK_COLUMNS, EPOCH_COLUMNS
from trainbench.results.runs_table import RUN_COLUMNS
from trainbench.results.settings_table import SETTING_COLUMNS
from trainbench.results.tables import TableOrder, read_csv


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


def _module(name: str) -> ModuleType:
    return import_module(f"trainbench.conclusions.tables.{name}")


COLUMNS: Final[Mapping[str, Columns]] = dict(
    zip(
        FROM_RECORDS,
        (RUN_COLUMNS, EPOCH_COLUMNS, CHECK_COLUMNS, CELL_COLUMNS, HOST_COLUMNS, SETTING_COLUMNS),
        strict=True,
    )
) | {name: _module(name).COLUMNS for name in CONCLUDED}
"""The columns of each table with their types."""


class Tables(dict[str, pd.DataFrame]):
    """Tables by name, each made when it is first asked for.

    The function that makes one is called with the tables and the fields of the question that its arguments are called
    like. Beside a row a cell stand the columns `cells_table.BESIDE`.
    """

    def __init__(self, runs: pd.DataFrame, epochs: pd.DataFrame, checks: pd.DataFrame, question: Question) -> None:
        super().__init__(runs=runs, epochs=epochs, checks=checks, cells=cells_table(runs, question.order))
        self._question = question

    def __missing__(self, name: str) -> pd.DataFrame:
        make = getattr(_module(name), f"{name}_table")
        asked = vars(self._question)
        table = make(**{part: asked[part] if part in asked else self[part] for part in signature(make).parameters})
        a_row_a_cell = set(CELL_KEY) <= COLUMNS[name].keys()
        self[name] = beside_cells(table, self["cells"]) if a_row_a_cell else table
        return self[name]


class WrittenTables(dict[str, pd.DataFrame]):
    """The tables in a folder by name, each read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, name: str) -> pd.DataFrame:
        self[name] = read_csv(self._folder / f"{name}.csv", COLUMNS[name])
        return self[name]
