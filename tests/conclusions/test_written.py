"""The tables and the text of a made-up study are those that are written down in `expected/`, field by field."""

import csv
from pathlib import Path

import pytest

import written_study
from trainbench.conclusions.all_tables import COLUMNS
from trainbench.conclusions.comparison import comparison_table
from trainbench.results.tables import read_csv, rows_of

EXPECTED = Path(__file__).with_name("expected")
TABLES = sorted(path.stem for path in EXPECTED.glob("*.csv") if path.stem != "comparison")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_it_was_written_down(name):
    """Columns that it got since are not looked at."""
    expected = rows_of(read_csv(EXPECTED / f"{name}.csv", COLUMNS[name]))
    found = [{column: row[column] for column in expected[0]} for row in rows_of(written_study.tables()[name])]
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted)


def field(value):
    """A field of a CSV file: a number, a text, or None for an empty one."""
    try:
        return float(value)
    except ValueError:
        return value or None


def test_the_comparison_as_data_is_as_it_was_written_down():
    with (EXPECTED / "comparison.csv").open(encoding="utf-8", newline="") as file:
        expected = [{column: field(value) for column, value in row.items()} for row in csv.DictReader(file)]
    table = comparison_table(written_study.tables(), written_study.ORDER)
    assert list(table.columns) == list(expected[0])
    found = rows_of(table)
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted)


def test_the_comparison_to_be_read_is_as_it_was_written_down():
    assert written_study.comparison_text() == (EXPECTED / "comparison.md").read_text(encoding="utf-8")
