"""Kills a small study again and again, and shows that the same command always goes on.

    .venv/bin/python benchmarks/interruptions.py               # 100 kills, about a quarter of an hour
    .venv/bin/python benchmarks/interruptions.py --kills 10

A copy of the working tree in a temporary folder runs `snakemake` over small images, as a user would. At a random moment
the whole process group gets SIGKILL; then the same command is given again. When the study is finished its results are
checked and thrown away, and it begins anew until all kills are spent. Exit code 1 where anything was wrong.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd
import psutil

from one_run import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tests"))

from idx_writer import write_idx_directory
from trainbench.errors import InputError
from trainbench.records import record

PARTS: Final = ("Snakefile", "config", "workflow", "profiles", "envs")
COMMAND: Final = (str(Path(sys.executable).with_name("snakemake")), "--cores", "2", "--configfile", "study.yaml")

# Runs shorter than any interruption costs, and runs long enough to be resumed.
STUDY: Final = """
models: [logistic, conv]
batch_sizes: [16]
devices: [cpu]
repeats: 2
dataset: {path: data, validation_samples: 40}
model_settings:
  logistic: {epochs: 20}
  conv: {epochs: 150}
"""
RUNS: Final = 4
PATIENCE_SECONDS: Final = 600.0
DEATH_SECONDS: Final = 5.0


@dataclass
class Counts:
    """What happened."""

    kills: int = 0
    calls: int = 0
    studies: int = 0
    resumed: int = 0
    validated: int = 0
    failed_calls: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How much was not as it should be."""
        return len(self.failed_calls) + len(self.invalid) + len(self.lost) + len(self.orphans)


def interrupt(folder: Path, kills: int, within_seconds: float, chance: random.Random) -> Counts:
    """Kill so often, each time up to so many seconds after the start; the last study is left to finish."""
    counts = Counts()
    finished: dict[str, str] = {}
    while True:
        moment = chance.uniform(0.0, within_seconds) if counts.kills < kills else None
        killed = _call(folder, moment, counts)
        if counts.failed_calls:
            break
        now = dict(_finished_runs(folder))
        counts.lost += [run for run, before in finished.items() if now.get(run) != before]
        finished = now
        if killed:
            counts.kills += 1
            counts.orphans += _orphans(folder)
            continue
        _check_results(folder, counts)
        counts.studies += 1
        if moment is None:
            break
        # The folder of Snakemake's own is kept: what it knows of the files outlives them.
        shutil.rmtree(folder / "results")
        finished = {}
    return counts


def _call(folder: Path, moment: float | None, counts: Counts) -> bool:
    """Give the command; whether it was killed before it ended."""
    counts.calls += 1
    log = folder / "call.txt"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(COMMAND, cwd=folder, stdout=output, stderr=output, start_new_session=True)
        try:
            code = process.wait(PATIENCE_SECONDS if moment is None else moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if moment is None:
                counts.failed_calls.append(f"a call had not ended after {PATIENCE_SECONDS:.0f} s")
            return moment is not None
    if code != 0:
        counts.failed_calls.append(f"exit code {code}:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
    return False


def _finished_runs(folder: Path) -> Iterator[tuple[str, str]]:
    """The ids of the runs that have a metrics file, in its place or where it is kept until the next call gives it back.

    A run that is measured anew has another id. Times tell nothing: Snakemake touches what a job has made.
    """
    for results in (folder / "results" / ".unrecorded", folder / "results"):
        for path in results.glob("runs/*/*/*/*/metrics.json"):
            yield str(path.parent.relative_to(results)), json.loads(path.read_bytes())["run_id"]


def _orphans(folder: Path) -> list[str]:
    """Processes of the study that are still there some seconds after it was killed."""
    deadline = time.monotonic() + DEATH_SECONDS
    while (left := list(_processes(folder))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _processes(folder: Path) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                yield f"{process.pid} {' '.join(process.cmdline())}"
        except (psutil.Error, OSError):
            continue


def _check_results(folder: Path, counts: Counts) -> None:
    """Hold every metrics file to its schema, and the tables to the number of runs."""
    for path in (folder / "results").glob("runs/*/*/*/*/metrics.json"):
        try:
            metrics = record.read(path)
        except InputError as error:
            counts.invalid.append(str(error))
            continue
        whole = [epoch["epoch"] for epoch in metrics["epochs"]] == list(range(1, metrics["settings"]["epochs"] + 1))
        if metrics["status"] != "completed" or not whole:
            counts.invalid.append(f"{path}: {metrics['status']}, {len(metrics['epochs'])} epochs")
        counts.validated += 1
        counts.resumed += bool(metrics["resumed_after_epochs"])
    runs = pd.read_csv(folder / "results" / "tables" / "runs.csv")
    if len(runs) != RUNS:
        counts.invalid.append(f"runs.csv has {len(runs)} rows, expected {RUNS}")
    counts.invalid += [f"left over: {path}" for path in (folder / "results").glob("runs/*/*/*/*/unfinished")]


def _print(counts: Counts, seconds: float) -> None:
    print(f"| calls given | {counts.calls} |\n|---|---|")
    print(f"| of them killed | {counts.kills} |")
    print(f"| of them failed | {len(counts.failed_calls)} |")
    print(f"| studies finished | {counts.studies} |")
    print(f"| metrics files held to their schema | {counts.validated} |")
    print(f"| of them of resumed runs | {counts.resumed} |")
    print(f"| invalid results | {len(counts.invalid)} |")
    print(f"| finished runs that were lost | {len(counts.lost)} |")
    print(f"| processes left behind | {len(counts.orphans)} |")
    print(f"| minutes | {seconds / 60:.1f} |")
    for problem in (*counts.failed_calls, *counts.invalid, *counts.lost, *counts.orphans):
        print(problem)


def main() -> int:
    """Kill as asked for and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--within", type=float, default=10.0, help="seconds after the start within which a call is killed"
    )
    parser.add_argument("--seed", type=int, default=2017, help="of the random moments")
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trainbench-interruptions-") as name:
        folder = Path(name).resolve()
        for part in PARTS:
            source = REPOSITORY / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, folder / part)
        write_idx_directory(folder / "data", train_samples=200, test_samples=60, height=9, width=14, classes=4)
        (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
        counts = interrupt(folder, chosen.kills, chosen.within, random.Random(chosen.seed))
    _print(counts, time.monotonic() - started)
    return 1 if counts.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
