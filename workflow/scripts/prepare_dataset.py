"""Rule prepare_dataset: check the IDX files and write the one file that every run loads."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench import dataset
from trainbench.rule_script import ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    output = Path(snakemake.output.dataset)
    dataset.prepare(Path(snakemake.input.files[0]).parent, output)
    for earlier in output.parent.glob("*.safetensors"):
        if earlier != output:
            earlier.unlink()
