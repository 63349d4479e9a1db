"""Rule baseline_tables: compare the study's runs with those of an earlier set of results."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.conclusions import baseline, baseline_markdown
from trainbench.conclusions.baseline_runs import measured_runs
from trainbench.files import whole_file
from trainbench.records.same_host import Hosts
from trainbench.results import sources, tables
from trainbench.rules.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    order = tables.TableOrder(**snakemake.params.order)
    folder = snakemake.params.baseline["folder"]
    nothing, refused, hosts = sources.Found(), [], Hosts()
    current = measured_runs(sources.read(map(Path, snakemake.input.metrics), nothing, refused, hosts))
    earlier = measured_runs(sources.read([], sources.find([folder], "baseline"), refused, hosts))
    sources.demand_all_usable(refused, "baseline")
    comparison = baseline.compare(current, earlier, snakemake.params.smallest_difference_percent, order)
    tables.write_csv(baseline.table(comparison), Path(snakemake.output.csv))
    whole_file.write(baseline_markdown.markdown(comparison, folder), Path(snakemake.output.markdown))
