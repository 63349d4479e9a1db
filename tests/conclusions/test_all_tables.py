"""What it takes to add a table or a column: one file, and nothing that names it."""

import re

import pandas as pd
import pytest

from documented_changes import apply, blocks, carry_out, copied
from metrics_builder import make_record
from results_folder import write_results
from trainbench.conclusions.all_tables import COLUMNS, Question, WrittenTables
from trainbench.conclusions.analysis import write_all
from trainbench.conclusions.table_files import CONCLUDED
from trainbench.results.cells_table import BESIDE
from trainbench.results.columns import CELL_KEY
from trainbench.results.sources import Found

WRITE_ALL = """
import sys
from pathlib import Path
from trainbench.conclusions import all_tables, analysis, table_files
from trainbench.results.sources import Found
folder = Path(sys.argv[1])
analysis.write_all(sorted(folder.rglob("metrics.json")), Found(), all_tables.Question(), folder / "tables")
print(*table_files.FILES)
"""

READ_BACK = """
print(all_tables.WrittenTables(folder / "tables")["hourly"]["images_per_hour"].tolist())
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, and a run beside it of which it makes tables."""
    write_results(tmp_path, [make_record(train_seconds=(9.0, 27392.0))])
    return copied(tmp_path)


def test_a_new_table_is_one_new_file(tmp_path, package):
    (module,) = blocks("new-table.md", "python")
    (package / "conclusions/tables/hourly.py").write_text(module, encoding="utf-8")
    files, read_back = carry_out(WRITE_ALL + READ_BACK, package, str(tmp_path)).splitlines()
    assert "hourly.csv" in files.split()
    assert read_back == "[7200.0]"
    header, row = (tmp_path / "tables/hourly.csv").read_text().splitlines()
    assert header.startswith("model,batch_size,device,host,images_per_hour,n,")
    assert row.startswith("conv,512,cpu,")


def test_a_new_column_is_its_name_and_its_value(tmp_path, package):
    (diff,) = blocks("new-table.md", "diff")
    apply(diff, tmp_path)
    carry_out(WRITE_ALL, package, str(tmp_path))
    cells, costs = (pd.read_csv(tmp_path / f"tables/{name}.csv") for name in ("cells", "costs"))
    assert costs["epochs_per_hour"].tolist() == (3600 / cells["epoch_seconds"]).tolist()


def test_what_the_page_adds_for_a_column_are_two_lines():
    (diff,) = blocks("new-table.md", "diff")
    changed = [line for line in diff.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]
    assert [line[0] for line in changed] == ["+", "+"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All tables of a study of a CPU and a GPU."""
    folder = tmp_path_factory.mktemp("results")
    records = [make_record(device=device, repeat=repeat) for device in ("cpu", "gpu") for repeat in (1, 2)]
    write_all(write_results(folder, records), Found(), Question(target_accuracy={"conv": 0.5}), folder / "tables")
    return folder / "tables"


@pytest.mark.parametrize("name", CONCLUDED)
def test_a_table_has_the_columns_that_its_module_declares_and_what_stands_beside_every_cell(folder, name):
    found = WrittenTables(folder)[name]
    declared = list(COLUMNS[name])
    beside = [column for column in BESIDE if set(CELL_KEY) <= set(declared) and column not in declared]
    assert list(found.columns) == declared + beside
