"""Rule compare: show the comparison with the baseline; exit code 1 where a cell became slower or none is compared."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.conclusions import baseline
from trainbench.errors import InputError
from trainbench.rules.rule_script import ending_with_one_sentence, show

with ending_with_one_sentence(Path(snakemake.log[0])):
    if not snakemake.input:
        raise InputError(
            "snakemake compare has nothing to compare with; give the results folder of an earlier study, as in "
            "snakemake compare --cores all --config baseline=../results-before"
        )
    text = Path(snakemake.input.markdown).read_text(encoding="utf-8")
    show(f"{text}\n")
    if baseline.failed(baseline.verdicts_of(Path(snakemake.input.csv))):
        sys.stderr.write(f"trainbench: compared with the baseline, {text.partition(chr(10))[0]}\n")
        sys.exit(1)
