"""Rule page: make results/report.html from the tables and figures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.page import report
from trainbench.page.repetition import Repetition, commit_of
from trainbench.results import tables
from trainbench.rules.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    repeated, folder = snakemake.params.repetition, snakemake.params.repository
    report.write_page(
        tables_folder=Path(snakemake.input.runs_csv).parent,
        figures=[Path(path) for path in snakemake.input.figures if path.endswith(".svg")],
        timelines=[Path(path) for path in snakemake.input.get("timelines", []) if path.endswith(".svg")],
        order=tables.TableOrder(**snakemake.params.order),
        repetition=Repetition(**repeated, commit=commit_of(Path(folder))),
        page=Path(snakemake.output.page),
    )
