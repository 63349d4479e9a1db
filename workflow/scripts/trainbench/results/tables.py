"""Makes tables of rows and rows of tables, in the order of the study, and keeps tables in CSV files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from trainbench.files import whole_file
from trainbench.results.columns import CELL_KEY, CellKey, Columns, Row, cell_key

_NAMED: Final = {"model": "models", "batch_size": "batch_sizes", "device": "devices", "host": "hosts"}


@dataclass(frozen=True)
class TableOrder:
    """In which order things are shown; what is not named goes last, sorted."""

    models: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def ranks(self, column: str, present: Iterable[Any]) -> dict[Any, int]:
        """The position of each distinct value that a column of a table has."""
        return {name: rank for rank, name in enumerate(ranked(present, getattr(self, _NAMED[column])))}


_Name = TypeVar("_Name", str, int)
_Key = TypeVar("_Key", bound=tuple[Any, ...])


def ranked(present: Iterable[_Name], named: Sequence[_Name]) -> list[_Name]:
    """The distinct values of `present`: first those of `named`, in its order, then the others, sorted.

    Numbers are sorted altogether where one of them is not named: they are read as a scale.
    """
    found = set(present)
    first = [name for name in dict.fromkeys(named) if name in found]
    others = sorted(found.difference(named))
    return sorted(found) if others and isinstance(others[0], int) else first + others


def models_of(table: pd.DataFrame, order: TableOrder) -> list[str]:
    """The models of a table in order."""
    return ranked(table["model"].tolist(), order.models)


def batch_sizes_of(table: pd.DataFrame, order: TableOrder) -> list[int]:
    """The batch sizes of a table in order."""
    return ranked(table["batch_size"].tolist(), order.batch_sizes)


def groups_of(cells: pd.DataFrame, order: TableOrder) -> list[tuple[str, int]]:
    """The pairs of model and batch size that have cells, in order."""
    columns = ("model", "batch_size")
    return sorted_keys(zip(*(cells[column].tolist() for column in columns), strict=True), columns, order)


def sorted_keys(keys: Iterable[_Key], columns: Sequence[str], order: TableOrder) -> list[_Key]:
    """The distinct keys, each the values of these columns, in order."""
    distinct = list(dict.fromkeys(keys))
    ranks = [order.ranks(column, values) for column, values in zip(columns, zip(*distinct, strict=True), strict=False)]
    return sorted(distinct, key=lambda key: [rank[name] for rank, name in zip(ranks, key, strict=True)])


def frame(
    rows: Iterable[Row], columns: Columns, order: TableOrder | None = None, by: Sequence[str] = CELL_KEY
) -> pd.DataFrame:
    """A table of these columns, unknown where a row lacks one, its rows as they come or, with an `order`, sorted."""
    values: dict[str, list[Any]] = {column: [] for column in columns}
    for row in rows:
        for column, of_column in values.items():
            of_column.append(row.get(column))
    table = pd.DataFrame({column: pd.Series(values[column], dtype=dtype) for column, dtype in columns.items()})
    return table if order is None else sorted_table(table, order, by)


def sorted_table(table: pd.DataFrame, order: TableOrder, by: Sequence[str] = CELL_KEY) -> pd.DataFrame:
    """A table with its rows sorted by those of these columns that it has; what is unknown goes first."""
    keys = table[[column for column in by if column in table]].copy()
    for column in _NAMED.keys() & set(keys.columns):
        keys[column] = keys[column].map(order.ranks(column, keys[column].tolist()))
    by_keys = keys.sort_values(list(keys.columns), kind="stable", na_position="first")
    return table.loc[by_keys.index].reset_index(drop=True)


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a table as mappings of Python values, unknown as None."""
    columns = {
        str(name): [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
        for name, column in table.items()
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def cells_by_key(cells: pd.DataFrame) -> dict[CellKey, Row]:
    """The rows of a table of cells by model, batch size, device and host; what is unknown is None."""
    return {cell_key(cell): cell for cell in rows_of(cells)}


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV in one atomic step: UTF-8, unknown left empty, floats exact when read back."""
    whole_file.write(table.to_csv(index=False, lineterminator="\n"), path)


def read_csv(path: Path, columns: Columns) -> pd.DataFrame:
    """Read a table with the types of its `columns`, as `write_csv` wrote it."""
    # Only an empty field is unknown: a device may be called NA or null.
    # Flags stand beside every conclusion, whatever columns it has of its own.
    table = pd.read_csv(path, dtype={"flags": "str", **columns}, keep_default_na=False, na_values=[""])
    # No flags is what the checks found, nothing unknown.
    return table.fillna({"flags": ""}) if "flags" in table else table
