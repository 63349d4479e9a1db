"""The tables that the page is made of, as they were written."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Final

import pandas as pd

from trainbench.conclusions.accuracy_times import ACCURACY_TIME_COLUMNS
from trainbench.conclusions.comparison import Compared
from trainbench.conclusions.costs import COST_COLUMNS
from trainbench.conclusions.frameworks import FRAMEWORK_COLUMNS
from trainbench.conclusions.hosts import HOST_COLUMNS
from trainbench.conclusions.roofline import ROOFLINE_COLUMNS
from trainbench.conclusions.scaling_tables import (
    CORE_EQUIVALENT_COLUMNS,
    GPU_SCALING_COLUMNS,
    SCALING_COLUMNS,
    SCALING_FIT_COLUMNS,
)
from trainbench.conclusions.speedups import CROSSOVER_COLUMNS, SPEEDUP_COLUMNS
from trainbench.results.settings_table import SETTING_COLUMNS
from trainbench.results.tables import (
    CELL_COLUMNS,
    CHECK_COLUMNS,
    EPOCH_COLUMNS,
    RUN_COLUMNS,
    Executor,
    Row,
    TableOrder,
    executors_of,
    read_csv,
    rows_of,
)

COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "runs": RUN_COLUMNS,
    "epochs": EPOCH_COLUMNS,
    "checks": CHECK_COLUMNS,
    "cells": CELL_COLUMNS,
    "hosts": HOST_COLUMNS,
    "speedups": SPEEDUP_COLUMNS,
    "crossovers": CROSSOVER_COLUMNS,
    "accuracy_times": ACCURACY_TIME_COLUMNS,
    "costs": COST_COLUMNS,
    "scaling": SCALING_COLUMNS,
    "scaling_fits": SCALING_FIT_COLUMNS,
    "core_equivalents": CORE_EQUIVALENT_COLUMNS,
    "gpu_scaling": GPU_SCALING_COLUMNS,
    "roofline": ROOFLINE_COLUMNS,
    "frameworks": FRAMEWORK_COLUMNS,
    "settings": SETTING_COLUMNS,
}
"""The tables by name, and the types of their columns."""


@dataclass(frozen=True)
class Study:
    """All tables of a study by name, and the order in which things are shown."""

    tables: Mapping[str, pd.DataFrame]
    order: TableOrder

    @classmethod
    def read(cls, folder: Path, order: TableOrder) -> "Study":
        """Read the tables of a folder; hosts that are not named stand in the order of their table."""
        tables = {name: read_csv(folder / f"{name}.csv", columns) for name, columns in COLUMNS.items()}
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

    @cached_property
    def compared(self) -> Compared:
        """The tables that devices are compared by."""
        return Compared(**{one.name: self.tables[one.name] for one in fields(Compared)})

    def rows(self, name: str) -> list[Row]:
        """The rows of a table; what is unknown is None."""
        return rows_of(self.tables[name])
