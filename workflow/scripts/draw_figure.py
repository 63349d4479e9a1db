"""Rule figure: draw one figure from the tables, as SVG and PNG."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.figures import drawing, figures
from trainbench.results import tables
from trainbench.rules.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    order = tables.TableOrder(**snakemake.params.order)
    data = figures.read_tables(Path(snakemake.input.runs_csv).parent)
    figure = figures.FIGURES[snakemake.wildcards.figure](data, order)
    drawing.save(figure, Path(snakemake.output.svg), Path(snakemake.output.png))
