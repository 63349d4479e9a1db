"""docs/outputs.md names every column and field that there is, and no other; docs/measuring.md every check."""

import csv
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from documentation import Page, expanded, names, rows
from metrics_builder import make_record
from results_folder import write_results
from trainbench.conclusions import baseline
from trainbench.conclusions.all_tables import Question
from trainbench.conclusions.analysis import write_all
from trainbench.conclusions.table_files import FILES
from trainbench.figures import of_study
from trainbench.records import record
from trainbench.results import cross_checks, sources
from trainbench.results.tables import TableOrder
from trainbench.run import checks, sample

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
OUTPUTS = Page.read(DOCS / "outputs.md")
SCHEMA = json.loads(record.SCHEMA_FILE.read_text(encoding="utf-8"))
CSV_TABLES = [name for name in FILES if name.endswith(".csv")]


def documented(heading: str, column: str) -> list[str]:
    """The names in the tables of a section that have this column first."""
    (section,) = (section for section in OUTPUTS.sections if section.heading == heading)
    return [name for row in rows(section.text) if next(iter(row)) == column for name in names(row[column])]


def once(found: list[str]) -> list[str]:
    """The names, sorted; a name that stands there twice is told."""
    assert [name for name, count in Counter(found).items() if count > 1] == []
    return sorted(found)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """All tables of a study of a CPU and a GPU."""
    folder = tmp_path_factory.mktemp("results")
    own = write_results(folder, [make_record(), make_record(device="gpu")])
    order = TableOrder(devices=("cpu", "gpu"))
    write_all(own, sources.find([]), Question(order=order), folder / "tables")
    return folder / "tables"


def header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


@pytest.mark.parametrize("name", [name for name in CSV_TABLES if name != "comparison.csv"])
def test_the_columns_of_a_table_are_those_on_the_page(tables, name):
    assert once(documented(f"`{name}`", "column")) == sorted(header(tables / name))


def test_the_columns_of_the_comparison_are_those_on_the_page_and_one_a_device(tables):
    found = header(tables / "comparison.csv")
    assert found[:4] == documented("`comparison.csv`", "column")
    assert found[4:] == ["cpu", "gpu"]


def test_the_measures_of_the_comparison_are_those_on_the_page(tables):
    measures = pd.read_csv(tables / "comparison.csv")["measure"].unique()
    assert once(documented("`comparison.csv`", "measure")) == sorted(measures)


def test_the_columns_of_the_table_beside_a_baseline_are_those_on_the_page():
    assert once(documented("`baseline.csv`", "column")) == sorted(baseline.COLUMNS)


def test_the_page_has_no_table_that_is_not_made():
    explained = {section.heading.strip("`") for section in OUTPUTS.sections if section.above[-1:] == ("Tables",)}
    assert explained <= {*CSV_TABLES, "baseline.csv"}


def test_the_columns_of_the_samples_are_those_on_the_page():
    assert once(documented("`samples.csv`", "column")) == sorted(sample.columns(gpu_count=1))


def test_the_figures_are_those_on_the_page():
    assert once(documented("Figures", "figure")) == sorted(of_study.NAMES)


def schema_fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every value that the schema knows; a list of values is one, NAME stands for names that differ."""
    items, entry = schema.get("items", {}), schema.get("additionalProperties")
    if "properties" in schema:
        for name, value in schema["properties"].items():
            yield from schema_fields(value, f"{prefix}.{name}")
    elif isinstance(entry, Mapping):
        yield from schema_fields(entry, f"{prefix}.NAME")
    elif "properties" in items:
        yield from schema_fields(items, f"{prefix}[]")
    else:
        yield prefix.removeprefix(".")


def documented_fields() -> Iterator[str]:
    """Every field on the page; a section's heading names what its fields lie in."""
    for section in OUTPUTS.sections:
        if section.above[-1:] == ("`metrics.json`",):
            of_sections = [] if section.heading == "The run" else expanded(section.heading.strip("`"))
            for place in of_sections or [""]:
                for row in rows(section.text):
                    yield from (f"{place}.{name}".removeprefix(".") for name in names(row["field"]))


def test_the_fields_of_a_metrics_file_are_those_on_the_page():
    assert once(list(documented_fields())) == sorted(schema_fields(SCHEMA))


def levels_of(module: Any) -> set[tuple[str, str]]:
    """Names and levels of all findings that a module can tell, as its source has them."""
    return set(re.findall(r'Finding\(\s*"(\w+)",\s*"(info|warning|error)",', inspect.getsource(module)))


def test_every_check_is_explained_with_its_level():
    page = Page.read(DOCS / "measuring.md")
    (section,) = (section for section in page.sections if section.heading == "Checks")
    explained = {(name, row["level"]) for row in rows(section.text) for name in names(row["check"])}
    found = {(check.name, check.level) for check in checks.CHECKS}
    not_of_checks = {("not_evaluated", "warning"), ("resumed", "warning")}
    assert explained == {*found, *levels_of(cross_checks), *not_of_checks}
