"""A table of the page: its columns, how a row's field reads in each, and how many rows are shown."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.cell_texts import absent_text, efficiency_text, figure_text, mean_text, ratio_text
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.results.columns import Row
from trainbench.words.wording import FLAGGED, UNKNOWN, format_number, framework_words

MOST_ROWS: Final = 400

# "12.15 (11.90-12.40) †" is a value and what stands smaller beside it.
_VALUE_AND_REST: Final = re.compile(r"(\S+)( (?:\(|±).*)", re.DOTALL)


@dataclass(frozen=True)
class Field:
    """A field: its text, what stands smaller beside it, and in which way it stands out (a class of the style sheet).

    `device` is the label of the device whose colour goes before it.
    """

    text: str
    detail: str = ""
    look: str = ""
    device: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its heading, how a row's field in it reads, and whether fields are numbers when rows are sorted.

    `only_if_known` leaves it out where no row knows it, `where` unless that is so of the study's table.
    """

    heading: str
    show: Callable[[Any], Field]
    number: bool = False
    only_if_known: bool = False
    where: Callable[[pd.DataFrame], bool] | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page, whose length counts rows that are not shown too. The first field of a row is its header.

    All of its rows are in the study's table `source`; `short` ones are neither sorted nor filtered by the reader. A row
    of `stacked` ones is a card on a narrow screen, for texts that need the width.
    """

    name: str
    caption: str
    source: str
    all_rows: Sequence[Any]
    all_columns: Sequence[Column]
    short: bool = False
    stacked: bool = False

    @cached_property
    def _fields(self) -> dict[Column, list[Field]]:
        rows = self.all_rows[:MOST_ROWS]
        fields = {column: [column.show(row) for row in rows] for column in self.all_columns}
        return {
            column: found
            for column, found in fields.items()
            if not column.only_if_known or any(one.text != UNKNOWN for one in found)
        }

    @property
    def columns(self) -> list[Column]:
        """The columns of which something is known."""
        return list(self._fields)

    @cached_property
    def rows(self) -> list[tuple[Field, ...]]:
        """The fields of the first rows."""
        return list(zip(*self._fields.values(), strict=True))

    def __len__(self) -> int:
        return len(self.all_rows)


def listing(
    source: str,
    caption: str,
    columns: Sequence[Column],
    rows: Callable[[DrawnStudy], Sequence[Row]] | None = None,
    *,
    name: str = "",
    stacked: bool = False,
) -> Callable[[DrawnStudy], Table]:
    """A table of the page that lists the rows of the study's table `source`, or those that `rows` makes of a study."""

    def of(study: DrawnStudy) -> Table:
        of_study = study.tables[source]
        shown = [column for column in columns if column.where is None or column.where(of_study)]
        listed = rows(study) if rows else study.rows(source)
        return Table(name or source.replace("_", "-"), caption, source, listed, shown, stacked=stacked)

    return of


# --- fields ---


def field(text: str, look: str = "") -> Field:
    """A field, what stands in brackets after its first word apart."""
    found = _VALUE_AND_REST.fullmatch(text)
    return Field(found[1], found[2].strip(), look) if found else Field(text, look=look)


def joined(*details: str | None) -> str:
    """What stands beside a value, as far as there is any."""
    return " ".join(filter(None, details))


def absent(cell: Row | None) -> Field:
    """Why a cell has no conclusion."""
    return Field(absent_text(cell), look="absent")


# --- columns ---


def several(column: str) -> Callable[[pd.DataFrame], bool]:
    """Whether a column of a table tells its rows apart."""
    return lambda table: bool(table[column].nunique() > 1)


def if_known(column: Column) -> Column:
    """A column that is left out where no row knows it."""
    return replace(column, only_if_known=True)


def words(heading: str, column: str, look: str = "") -> Column:
    """A text as it is."""
    return Column(heading, lambda row: Field(UNKNOWN if row[column] is None else row[column], look=look))


def number(heading: str, show: Callable[[Row], Field]) -> Column:
    """A number in a way of its own."""
    return Column(heading, show, number=True)


def exact(heading: str, column: str, spec: str = "") -> Column:
    """A number that is known exactly."""
    return number(heading, lambda row: Field(UNKNOWN if row[column] is None else format(row[column], spec)))


def scaled(heading: str, column: str, unit: float) -> Column:
    """A measured number in a unit, with three digits."""
    return number(heading, lambda row: Field(UNKNOWN if row[column] is None else format_number(row[column] / unit, 3)))


def figure(heading: str, metric: str) -> Column:
    """A figure with its interval."""
    return number(heading, lambda row: field(figure_text(row, metric)))


def ratio(heading: str, name: str) -> Column:
    """How many times, with its interval."""
    return number(heading, lambda row: field(ratio_text(row, name)))


def mean(heading: str, metric: str, scale: float = 1.0) -> Column:
    """A mean with its standard deviation."""
    return number(heading, lambda row: field(mean_text(row, metric, scale)))


def _seconds(row: Row) -> Field:
    if not row["n"]:
        return absent(row)
    shown = field(figure_text(row, "train_seconds_per_epoch"))
    marks = ("*" if row.get("first_epoch_only") else "", FLAGGED if row["flagged_runs"] else "")
    return replace(shown, detail=joined(shown.detail, *marks))


CELL: Final = (
    words("Model", "model"),
    exact("Batch size", "batch_size"),
    Column(
        "Device",
        lambda row: Field(row["device"], "", "device", row["device"]),
        where=lambda table: not several("host")(table),
    ),
    Column(
        "Device",
        lambda row: Field(row["device"], row["host"], "device", f"{row['device']} @ {row['host']}"),
        where=several("host"),
    ),
)
"""Which cell a row is about: its device with the host where there are several."""

FRAMEWORK: Final = Column("Framework", lambda row: Field(framework_words(row["framework"] or UNKNOWN)))
PRECISION: Final = words("Precision", "precision")
COMPUTED_WITH: Final = (replace(FRAMEWORK, where=several("framework")), replace(PRECISION, where=several("precision")))
"""Framework and precision, each where there are several."""

SECONDS_AN_EPOCH: Final = number("Seconds an epoch", _seconds)
SAMPLES_A_SECOND: Final = figure("Samples a second", "samples_per_second")
FINAL_ACCURACY: Final = mean("Final accuracy (%)", "final_accuracy", 100.0)
SPEEDUP: Final = ratio("Speedup", "speedup")
EFFICIENCY: Final = number("Efficiency (%)", lambda row: field(efficiency_text(row)))
GPU_ENERGY: Final = if_known(figure("GPU energy an epoch (J)", "energy_joules_per_epoch"))
CPU_ENERGY: Final = if_known(figure("CPU energy an epoch (J)", "cpu_energy_joules_per_epoch"))
