"""Makes the page of a study from records, as the rules do from metrics files."""

import csv
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results_folder import write_results
from trainbench.conclusions.all_tables import Question, WrittenTables
from trainbench.conclusions.analysis import write_all
from trainbench.figures import of_study
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.saving import save
from trainbench.page import report
from trainbench.page.repetition import Commit, Repetition
from trainbench.results.columns import Row
from trainbench.results.sources import Found
from trainbench.results.tables import TableOrder

REPETITION = Repetition("models: [conv]\n", ["0" * 64], Commit("1" * 40, changed=False))


def write_tables(
    folder: Path,
    records: Iterable[Mapping[str, Any]],
    question: Question | None = None,
    absent: Iterable[Row] = (),
) -> Path:
    """Write the records, each host's apart, and all tables of them below `folder`; the folder of the tables."""
    by_host: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_host.setdefault(record["host"]["id"], []).append(record)
    paths = [path for host, own in by_host.items() for path in write_results(folder / host, own)]
    write_all(paths, Found(), question or Question(), folder / "tables", absent=list(absent))
    return folder / "tables"


def draw(tables: Path, order: TableOrder, names: Iterable[str] = of_study.NAMES) -> list[Path]:
    """Draw figures beside the tables; their SVG files."""
    study = DrawnStudy(WrittenTables(tables), order)
    paths = [tables.with_name("figures") / f"{name}.svg" for name in names]
    with warnings.catch_warnings():
        # The font of figures lacks letters that a name may have: boxes stand in their place.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for path in paths:
            save(of_study.figure(path.stem).draw(study), path, path.with_suffix(".png"))
    return paths


def make_page(
    folder: Path,
    records: Iterable[Mapping[str, Any]],
    question: Question | None = None,
    *,
    names: Iterable[str] | None = None,
    renamed: Mapping[str, str] | None = None,
    absent: Iterable[Row] = (),
) -> Path:
    """Make the page of the records below `folder`, with what `renamed` names by other texts in all tables.

    Without `names` it has the figures that the rules draw: a curve over threads or GPUs takes several numbers of them.
    """
    question = question or Question()
    tables = write_tables(folder, records, question, absent)
    if renamed:
        for path in tables.glob("*.csv"):
            _rename(path, renamed)
    page = folder / "report.html"
    if names is None:
        data = WrittenTables(tables)
        empty = {"scaling": data["scaling_fits"].empty, "gpu_scaling": data["gpu_scaling"].empty}
        names = [name for name in of_study.NAMES if not empty.get(name)]
    report.write_page(tables, draw(tables, question.order, names), question.order, REPETITION, page)
    return page


def _rename(path: Path, renamed: Mapping[str, str]) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for old, new in renamed.items():
        rows = [[text.replace(old, new) for text in row] for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
