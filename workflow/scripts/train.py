"""Rule train: carry out one run, after preparing the data set where that is still to do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir)))

from trainbench.datasets import dataset
from trainbench.rules import unrecorded
from trainbench.rules.rule_script import announce, ending_with_one_sentence
from trainbench.run import launch
from trainbench.run.task import Task

with ending_with_one_sentence(Path(snakemake.log[0])):
    settings, data = snakemake.params.settings, snakemake.params.data
    task = Task(
        settings=settings,
        dataset=Path(data["prepared"]),
        cores=snakemake.threads,
        gpus=snakemake.resources.gpu,
        metrics=Path(snakemake.output.metrics),
        samples=Path(snakemake.output.samples),
        log=Path(snakemake.log[0]),
        code_sha256=snakemake.params.code,
        gpu_wait_seconds=snakemake.resources.gpu_wait_seconds,
        no_progress_seconds=snakemake.resources.no_progress_seconds,
        monitor_interval_seconds=settings["monitor_interval_seconds"],
    )
    if unrecorded.give_back(task.metrics.parent, settings, task.code_sha256):
        announce(f"{task.name}: had finished before the interruption")
    else:
        dataset.prepare_if_absent(Path(data["folder"]), task.dataset, settings["dataset_files_sha256"])
        launch.run(task, announce)
