"""Rule train: carry out one run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench import launch, unrecorded
from trainbench.rule_script import announce, ending_with_one_sentence

with ending_with_one_sentence(Path(snakemake.log[0])):
    task = launch.Task(
        settings=snakemake.params.settings,
        dataset=Path(snakemake.input.dataset),
        cores=snakemake.threads,
        gpus=snakemake.resources.gpu,
        metrics=Path(snakemake.output.metrics),
        samples=Path(snakemake.output.samples),
        log=Path(snakemake.log[0]),
        code_sha256=snakemake.params.code,
        gpu_wait_seconds=snakemake.resources.gpu_wait_seconds,
        monitor_interval_seconds=snakemake.params.settings["monitor_interval_seconds"],
    )
    if unrecorded.give_back(task.metrics.parent, Path("results"), task.settings, task.code_sha256):
        announce(f"{launch.run_name(task.settings)}: had finished before the interruption")
    else:
        launch.run(task, announce)
