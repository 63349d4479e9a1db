"""Carries out single runs of the default study's cells outside Snakemake, for the benchmarks of this folder."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PACKAGE_FOLDER: Final = REPOSITORY / "workflow" / "scripts"
sys.path.insert(0, str(PACKAGE_FOLDER))

from trainbench.datasets import dataset, idx
from trainbench.files import fingerprint
from trainbench.plan import configuration
from trainbench.plan.study import Run
from trainbench.records import record
from trainbench.run import launch
from trainbench.run.task import Task

MNIST: Final = REPOSITORY / "resources" / "mnist"


def prepared_dataset(folder: Path) -> Path:
    """MNIST as the one file that runs load, in `folder`."""
    path = folder / "dataset.safetensors"
    if not path.exists():
        dataset.prepare(MNIST, path)
    return path


def task(
    folder: Path,
    model: str,
    batch_size: int,
    epochs: int,
    repeat: int = 1,
    *,
    device: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Task:
    """A run of a CPU cell of the default study for `epochs`; its files lie in `folder`.

    `device` changes keys of device_settings/cpu, `changes` are fields of the task.
    """
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["model_settings"][model]["epochs"] = epochs
    config["device_settings"]["cpu"] |= device or {}
    study = configuration.study_of(config, gpu_found=False)
    files_sha256 = fingerprint.of_files(idx.find_files(MNIST))
    fields: dict[str, Any] = {
        "settings": json.loads(json.dumps(study.settings(Run(model, batch_size, "cpu", repeat), files_sha256))),
        "dataset": prepared_dataset(folder),
        "cores": os.cpu_count() or 1,
        "gpus": 0,
        "metrics": folder / "metrics.json",
        "samples": folder / "samples.csv",
        "log": folder / "train.log",
    }
    return Task(**{**fields, **changes})


def measured(of: Task) -> Mapping[str, Any]:
    """Carry the run out and return its metrics."""
    launch.run(of, announce=lambda _: None)
    return record.read(of.metrics)
