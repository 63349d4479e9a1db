"""The tables that the page is made of, as they were written."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from trainbench.conclusions.all_tables import WrittenTables
from trainbench.results.columns import Row
from trainbench.results.executors import Executor, executors_of
from trainbench.results.tables import TableOrder, rows_of


@dataclass(frozen=True)
class Study:
    """All tables of a study by name, and the order in which things are shown."""

    tables: Mapping[str, pd.DataFrame]
    order: TableOrder

    @classmethod
    def read(cls, folder: Path, order: TableOrder) -> "Study":
        """Read the tables of a folder; hosts that are not named stand in the order of their table."""
        tables = WrittenTables(folder)
        # Hosts of the study come before those of sources.
        hosts = tuple(tables["hosts"]["host"].tolist())
        return cls(tables, TableOrder(order.models, order.batch_sizes, order.devices, hosts))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The table of cells."""
        return self.tables["cells"]

    @cached_property
    def executors(self) -> tuple[Executor, ...]:
        """The devices of each host, in order."""
        return executors_of(self.cells, self.order)

    def rows(self, name: str) -> list[Row]:
        """The rows of a table; what is unknown is None."""
        return rows_of(self.tables[name])
