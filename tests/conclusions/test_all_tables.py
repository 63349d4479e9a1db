"""What it takes to add a table or a column: one file, and nothing that names it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metrics_builder import make_record
from results_folder import write_results
from trainbench.conclusions.all_tables import COLUMNS, Question, WrittenTables
from trainbench.conclusions.analysis import write_all
from trainbench.conclusions.table_files import CONCLUDED
from trainbench.results.cells_table import BESIDE
from trainbench.results.columns import CELL_KEY
from trainbench.results.sources import Found

PACKAGE = Path(__file__).parents[2] / "workflow" / "scripts" / "trainbench"

NEW_TABLE = '''"""Says how many images a cell trains in an hour."""

from trainbench.results.columns import CELL, CELL_KEY, chosen, real
from trainbench.results.tables import frame, rows_of

COLUMNS = CELL | real("images_per_hour")


def hourly_table(cells, order):
    rows = [chosen(cell, CELL_KEY) | {"images_per_hour": 3600 * cell["samples_per_second"]} for cell in rows_of(cells)]
    return frame(rows, COLUMNS, order)
'''

WRITE_ALL = """
import sys
from pathlib import Path
from trainbench.conclusions import all_tables, analysis, table_files
from trainbench.results.sources import Found
folder = Path(sys.argv[1])
analysis.write_all(sorted(folder.rglob("metrics.json")), Found(), all_tables.Question(), folder / "tables")
assert "hourly.csv" in table_files.FILES
assert all_tables.WrittenTables(folder / "tables")["hourly"]["images_per_hour"].tolist() == [7200.0]
"""


def test_a_new_table_is_one_new_file(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "trainbench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "trainbench" / "conclusions" / "tables" / "hourly.py").write_text(NEW_TABLE)
    write_results(tmp_path, [make_record(train_seconds=(9.0, 27392.0))])
    command = [sys.executable, "-c", WRITE_ALL, str(tmp_path)]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=True)
    header, row = (tmp_path / "tables" / "hourly.csv").read_text().splitlines()
    assert header.startswith("model,batch_size,device,host,images_per_hour,n,")
    assert row.startswith("conv,512,cpu,")


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
