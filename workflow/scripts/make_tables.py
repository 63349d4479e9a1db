"""Rule tables: from the metrics files of all runs to the tables of runs, epochs and cells and the comparison."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench import record, roofline, tables, whole_file
from trainbench.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    order = tables.TableOrder(**{axis: tuple(names) for axis, names in snakemake.params.order.items()})
    records = [record.read(Path(path)) for path in snakemake.input.metrics]
    runs = tables.runs_table(records, order)
    cells = tables.cells_table(runs, order)
    output = snakemake.output
    tables.write_csv(runs, Path(output.runs_csv))
    tables.write_csv(tables.epochs_table(records, order), Path(output.epochs_csv))
    tables.write_csv(cells, Path(output.cells_csv))
    tables.write_csv(roofline.roofline_table(runs, order), Path(output.roofline_csv))
    tables.write_csv(tables.comparison_table(cells, order), Path(output.comparison_csv))
    checks = tables.checks_table(records, order)
    tables.write_csv(checks, Path(output.checks_csv))
    whole_file.write(tables.comparison_markdown(cells, order, checks=checks), Path(output.comparison_md))
