"""Declares the columns of tables with their types, and how a figure and its interval stand in several of them.

A table is a mapping of its columns, in order, to their types: `text("model") | whole("n") | interval("speedup")`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trainbench.results.statistics import Estimate, Ratio, Summary

Columns = Mapping[str, str]
Row = Mapping[str, Any]
CellKey = tuple[str, int, str, str]

INTERVAL: Final = {"": "value", "_low": "low", "_high": "high"}
"""The endings of the columns of a ratio, and what of it stands there."""

ESTIMATE: Final = INTERVAL | {"_spread_percent": "spread_percent"}
"""The same of a figure over runs."""

SUMMARY: Final = {"_mean": "mean", "_sd": "sd", "_min": "minimum", "_max": "maximum"}
"""The same of a share, a percentage or a size over runs."""


def text(*names: str) -> dict[str, str]:
    """Columns of text."""
    return dict.fromkeys(names, "str")


def whole(*names: str) -> dict[str, str]:
    """Columns of whole numbers, which can be unknown."""
    return dict.fromkeys(names, "Int64")


def real(*names: str) -> dict[str, str]:
    """Columns of numbers, which can be unknown."""
    return dict.fromkeys(names, "float64")


def yes_or_no(*names: str) -> dict[str, str]:
    """Columns of True and False, which can be unknown."""
    return dict.fromkeys(names, "boolean")


def ended(names: Iterable[str], endings: Iterable[str]) -> dict[str, str]:
    """Columns of numbers: each name with each ending."""
    return real(*(f"{name}{ending}" for name in names for ending in endings))


def interval(*names: str) -> dict[str, str]:
    """The columns of ratios, or of figures whose spread is left out: value, `_low` and `_high`."""
    return ended(names, INTERVAL)


def estimate(*names: str) -> dict[str, str]:
    """The columns of figures over runs: value, `_low`, `_high` and `_spread_percent`."""
    return ended(names, ESTIMATE)


CELL: Final = text("model") | whole("batch_size") | text("device", "host")
CELL_KEY: Final = tuple(CELL)


def cell_key(row: Row) -> CellKey:
    """Model, batch size, device and host of a row."""
    return row["model"], row["batch_size"], row["device"], row["host"]


def grouped(rows: Iterable[Row], columns: Iterable[str] = CELL_KEY) -> dict[Any, list[Row]]:
    """Rows that have the same in these columns together, by that, in order of appearance."""
    names, groups = tuple(columns), dict[Any, list[Row]]()
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def chosen(row: Row, names: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """These columns of a row, under names that begin with `prefix`."""
    return {f"{prefix}{name}": row[name] for name in names}


def spread_out(
    name: str, found: Estimate | Ratio | Summary | None, endings: Mapping[str, str] = ESTIMATE
) -> dict[str, float | None]:
    """A figure or a ratio as the columns of a row; unknown where there is none."""
    return {f"{name}{ending}": getattr(found, part, None) for ending, part in endings.items()}


def estimate_in(row: Row, name: str) -> Estimate:
    """A figure of a row of the table of cells, with its interval."""
    # A run that does not know the figure is not counted; with none that does there is no figure.
    return Estimate(0 if row[name] is None else row["n"], *(row[f"{name}{ending}"] for ending in ESTIMATE))


def ratio_in(row: Row, name: str = "speedup") -> Ratio:
    """A ratio of a row, with its interval."""
    return Ratio(*(row[f"{name}{ending}"] for ending in INTERVAL))
