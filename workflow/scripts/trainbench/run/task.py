"""One run as Snakemake hands it over: what to train, on what, and where its files go."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trainbench.machine import clean_environment, gpu_lease
from trainbench.run import progress

UNFINISHED_NAME: Final = "unfinished"
"""Folder beside the metrics file: what a run needs while it trains, and to go on after an interruption."""


@dataclass(frozen=True)
class Task:
    """One run, with the patience to wait for a GPU that others hold and for signs of life.

    `code_sha256` is the fingerprint of the code that the run depends on, None where nobody has made one.
    `monitor_interval_seconds` is None where nothing shall watch the run (to measure what watching costs).
    """

    settings: Mapping[str, Any]
    dataset: Path
    cores: int
    gpus: int
    metrics: Path
    samples: Path
    log: Path
    code_sha256: str | None = None
    gpu_wait_seconds: float = gpu_lease.WAIT_LIMIT_SECONDS
    no_progress_seconds: float = progress.LEAST_SECONDS
    monitor_interval_seconds: float | None = 0.1

    @property
    def name(self) -> str:
        """The run's name for people: `conv 512 on cpu, repeat 1`."""
        run = self.settings
        return f"{run['model']} {run['batch_size']} on {self.device['name']}, repeat {run['repeat']}"

    @property
    def device(self) -> Mapping[str, Any]:
        """The settings of its device."""
        device: Mapping[str, Any] = self.settings["device"]
        return device

    @property
    def own_variables(self) -> Mapping[str, str]:
        """What its device sets in the environment of the training."""
        variables: Mapping[str, str] = self.device.get("environment", {})
        return variables

    @property
    def suspicion(self) -> str:
        """Where to look when it fails, as the end of a sentence; empty where there is no such place."""
        suspicion = clean_environment.suspicion(self.device["name"], tuple(self.own_variables))
        return suspicion and f"; {suspicion}"

    @property
    def unfinished(self) -> Path:
        """Folder of what it goes on from."""
        return self.metrics.parent / UNFINISHED_NAME

    @property
    def notes(self) -> Path:
        """What its training process notes for the launcher."""
        return self.unfinished / "journal.jsonl"
