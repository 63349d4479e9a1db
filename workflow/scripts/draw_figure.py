"""Rule figure: draw one figure from the tables, as SVG and PNG."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.conclusions.all_tables import WrittenTables
from trainbench.figures import of_study
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.saving import save
from trainbench.results import tables
from trainbench.rules.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    order = tables.TableOrder(**snakemake.params.order)
    study = DrawnStudy(WrittenTables(Path(snakemake.input.runs_csv).parent), order)
    figure = of_study.figure(snakemake.wildcards.figure).draw(study)
    save(figure, Path(snakemake.output.svg), Path(snakemake.output.png))
