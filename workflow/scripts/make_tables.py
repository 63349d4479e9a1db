"""Rule tables: from the metrics files of all runs, and those of sources, to every table; what is outdated goes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.conclusions import analysis
from trainbench.conclusions.all_tables import Question
from trainbench.conclusions.tables.speedups import Reference
from trainbench.results import sources
from trainbench.results.tables import TableOrder
from trainbench.rules.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    asked, read = snakemake.params.question, snakemake.params.sources
    analysis.write_all(
        # What is there so far is no input: Snakemake would train what is not.
        own=[Path(path) for path in snakemake.input.get("metrics", snakemake.params.get("metrics"))],
        found=sources.find(read["folders"]),
        question=Question(
            **{**asked, "order": TableOrder(**snakemake.params.order), "reference": Reference(**asked["reference"])}
        ),
        folder=Path(snakemake.output[0]).parent,
        skip_bad_sources=read["skip_bad"],
        absent=snakemake.params.get("absent", ()),
    )
    for path in snakemake.params.leftovers:
        Path(path).unlink(missing_ok=True)
