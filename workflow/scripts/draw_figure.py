"""Rule figure: draw one figure from the tables, as SVG and PNG."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench import figures, roofline, tables
from trainbench.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    order = tables.TableOrder(**{axis: tuple(names) for axis, names in snakemake.params.order.items()})
    data = tables.Tables(
        runs=tables.read_runs(Path(snakemake.input.runs)),
        epochs=tables.read_epochs(Path(snakemake.input.epochs)),
        cells=tables.read_cells(Path(snakemake.input.cells)),
        roofline=roofline.read_roofline(Path(snakemake.input.roofline)),
    )
    figure = figures.FIGURES[snakemake.wildcards.figure](data, order)
    figures.save(figure, Path(snakemake.output.svg), Path(snakemake.output.png))
