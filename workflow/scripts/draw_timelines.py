"""Rules timelines and timeline: draw what runs did over time, a figure each, as SVG and PNG."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.figures import timeline
from trainbench.figures.saving import save
from trainbench.rules.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    for path in snakemake.params.leftovers:
        Path(path).unlink(missing_ok=True)
    for metrics, svg, png in zip(snakemake.params.runs, snakemake.output.svg, snakemake.output.png, strict=True):
        save(timeline.timeline(*timeline.read(Path(metrics))), Path(svg), Path(png))
