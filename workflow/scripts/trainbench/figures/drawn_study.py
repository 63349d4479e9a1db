"""What figures and page are made from: the tables of a study, in which order things are shown, how a device looks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from trainbench.conclusions.all_tables import WrittenTables
from trainbench.figures.looks import Look, looks_of_hosts
from trainbench.results.columns import CellKey, Row
from trainbench.results.executors import Executor, executors_of
from trainbench.results.tables import TableOrder, cells_by_key, rows_of
from trainbench.words.wording import status_words


@dataclass(frozen=True)
class DrawnStudy:
    """A study to be shown: its tables by name, and the order of models, batch sizes, devices and hosts."""

    tables: Mapping[str, pd.DataFrame]
    order: TableOrder

    @classmethod
    def read(cls, folder: Path, order: TableOrder) -> "DrawnStudy":
        """The tables of a folder; hosts stand in the order of their table: the study's before those of sources."""
        tables = WrittenTables(folder)
        return cls(tables, replace(order, hosts=tuple(tables["hosts"]["host"])))

    def rows(self, name: str) -> list[Row]:
        """The rows of a table; what is unknown is None."""
        return rows_of(self.tables[name])

    @cached_property
    def executors(self) -> tuple[Executor, ...]:
        """Every device of every host, whatever is shown of them."""
        return executors_of(self.tables["cells"], self.order)

    @cached_property
    def cells(self) -> dict[CellKey, Row]:
        """The rows of the table of cells."""
        return cells_by_key(self.tables["cells"])

    @cached_property
    def looks(self) -> dict[tuple[str, str], Look]:
        """How each device of each host is drawn."""
        return looks_of_hosts([executor.key for executor in self.executors])

    def failure(self, key: CellKey) -> str:
        """How the runs of a cell ended, if none was completed; "" of one that was not measured: it has not failed."""
        cell = self.cells.get(key)
        return "" if cell is None or cell["n"] else status_words(cell["status"])

    def flagged_note(self, flagged: str) -> str:
        """A sentence on what hollow markers are, if there are any."""
        any_is = self.tables["cells"]["flagged_runs"].any()
        return f" Hollow: a check flagged {flagged} (checks.csv)." if any_is else ""
