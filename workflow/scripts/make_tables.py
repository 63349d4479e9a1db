"""Rule tables: from the metrics files of all runs to the tables of runs, epochs and cells and the comparison."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

import pandas as pd

from trainbench import published, sources, tables, whole_file
from trainbench.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    order = tables.TableOrder(**{axis: tuple(names) for axis, names in snakemake.params.order.items()})
    found, refused = sources.find(snakemake.params.sources["folders"]), []
    records = list(sources.read(map(Path, snakemake.input.metrics), found, refused))
    if not snakemake.params.sources["skip_bad"]:
        sources.demand_all_usable(refused)
    from_publications = [published.read_published(folder) for folder in found.published]
    runs = pd.concat([tables.runs_table(records, order), *(each.runs for each in from_publications)], ignore_index=True)
    epochs = pd.concat(
        [tables.epochs_table(records, order), *(each.epochs for each in from_publications)], ignore_index=True
    )
    checks = tables.checks_table(records, order)
    cells = tables.cells_table(runs, order)
    output = snakemake.output
    tables.write_csv(runs, Path(output.runs_csv))
    tables.write_csv(epochs, Path(output.epochs_csv))
    tables.write_csv(cells, Path(output.cells_csv))
    tables.write_csv(tables.comparison_table(cells, order), Path(output.comparison_csv))
    tables.write_csv(checks, Path(output.checks_csv))
    comparison = tables.comparison_markdown(cells, order, checks=checks)
    whole_file.write(comparison + sources.left_out_markdown(refused), Path(output.comparison_md))
