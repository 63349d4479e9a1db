"""A run that was stopped for a while or joined by another, or whose monitor was stopped, has a finding: real runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import toy_process
from idx_writer import write_idx_directory
from nvml_library import replay_environment
from study_builder import CPU, make_study
from trainbench.datasets import dataset
from trainbench.machine import core_lease
from trainbench.plan.study import ModelSettings, Run
from trainbench.records import record
from trainbench.run import journal
from trainbench.run.task import UNFINISHED_NAME

PATIENCE_SECONDS = 120.0
STOPPED_SECONDS = 1.5

EPOCH_SECONDS = 1.5
"""Long enough to be stopped in its middle."""

RUN = Run("logistic", 16, "cpu", 1)
SETTINGS = {RUN.model: ModelSettings(2, {"learning_rate": 0.05})}

LAUNCH = """
import json, sys
from pathlib import Path
from trainbench.run import launch
from trainbench.run.task import Task
fields = json.load(sys.stdin)
paths = {name: Path(fields.pop(name)) for name in ("dataset", "metrics", "samples", "log")}
launch.run(Task(**fields, **paths, cores=1, gpus=0), announce=print)
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[psutil.Popen]:
    """A run in a process group of its own, as a shell starts it."""
    dataset.prepare(write_idx_directory(tmp_path / "data"), tmp_path / "dataset.safetensors")
    cpu = replace(CPU, environment=toy_process.variables(tmp_path / "toy", EPOCH_SECONDS))
    study = make_study(SETTINGS, (RUN.batch_size,), device_settings={"cpu": cpu})
    files = {"metrics": "metrics.json", "samples": "samples.csv", "log": "train.log", "dataset": "dataset.safetensors"}
    paths = {name: str(tmp_path / file) for name, file in files.items()}
    fields = {"settings": study.settings(RUN, "ab" * 32), **paths}
    environment = replay_environment(None, None) | {"TRAINBENCH_LEASE_FOLDER": str(tmp_path / "leases")}
    process = psutil.Popen(
        [sys.executable, "-c", LAUNCH], stdin=subprocess.PIPE, text=True, env=environment, process_group=0
    )
    process.stdin.write(json.dumps(fields))
    process.stdin.close()
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def child(launcher: psutil.Popen, module: str) -> psutil.Process:
    (found,) = (process for process in launcher.children() if module in process.cmdline())
    return found


def started(launcher: psutil.Popen, module: str) -> psutil.Process:
    """Return as soon as this child is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(module in process.cmdline() for process in launcher.children()):
        assert launcher.poll() is None
        assert time.monotonic() < deadline, f"no {module} was started"
        time.sleep(0.001)
    return child(launcher, module)


def wait_for_second_epoch(launcher: psutil.Popen, folder: Path) -> None:
    """Return in the middle of it: at its beginning the state of the run is saved, which is part of no figure."""
    notes = folder / UNFINISHED_NAME / "journal.jsonl"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (epochs := journal.read(notes).get("epochs", [])):
        assert launcher.poll() is None
        assert time.monotonic() < deadline, "no epoch has ended"
        time.sleep(0.01)
    time.sleep(epochs[0]["train_seconds"] / 2)


def found_in(launcher: psutil.Popen, folder: Path) -> dict[str, str]:
    assert launcher.wait(PATIENCE_SECONDS) == 0
    return {finding["name"]: finding["finding"] for finding in record.read(folder / "metrics.json")["checks"]}


def test_a_training_process_that_was_stopped_is_found(launcher: psutil.Popen, tmp_path: Path) -> None:
    wait_for_second_epoch(launcher, tmp_path)
    training = child(launcher, "trainbench.run.training")
    training.suspend()
    time.sleep(STOPPED_SECONDS)
    training.resume()
    assert "the run used no processor" in found_in(launcher, tmp_path)["stood_still"]


def test_a_training_process_that_was_stopped_again_and_again_for_a_short_time_is_found(
    launcher: psutil.Popen, tmp_path: Path
) -> None:
    """As cpulimit does it: no stretch is long enough to be seen in the samples."""
    wait_for_second_epoch(launcher, tmp_path)
    training = child(launcher, "trainbench.run.training")
    for _ in range(3):
        training.suspend()
        time.sleep(0.05)
        training.resume()
        time.sleep(0.05)
    assert "stopped and continued in 1 of its 1 later epochs" in found_in(launcher, tmp_path)["stood_still"]


@pytest.mark.parametrize("whole_group", [False, True], ids=["alone", "with all others"])
def test_a_training_process_that_was_stopped_while_it_started_is_found(
    launcher: psutil.Popen, tmp_path: Path, *, whole_group: bool
) -> None:
    training = started(launcher, "trainbench.run.training")
    if whole_group:
        os.killpg(launcher.pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        os.killpg(launcher.pid, signal.SIGCONT)
    else:
        training.suspend()
        time.sleep(STOPPED_SECONDS)
        training.resume()
    assert "before its first epoch had ended" in found_in(launcher, tmp_path)["stood_still"]


def test_a_run_that_was_stopped_with_its_monitor_is_found(launcher: psutil.Popen, tmp_path: Path) -> None:
    """As Ctrl-Z does it."""
    wait_for_second_epoch(launcher, tmp_path)
    os.killpg(launcher.pid, signal.SIGTSTP)
    time.sleep(STOPPED_SECONDS)
    os.killpg(launcher.pid, signal.SIGCONT)
    assert {"stood_still", "monitor_gap"} <= found_in(launcher, tmp_path).keys()


def test_a_monitor_that_was_killed_is_found_however_short_the_rest_of_the_run(
    launcher: psutil.Popen, tmp_path: Path
) -> None:
    wait_for_second_epoch(launcher, tmp_path)
    child(launcher, "trainbench.run.monitor").kill()
    assert found_in(launcher, tmp_path)["monitor_gap"].startswith("the monitor ended with signal 9: ")


def test_a_monitor_that_was_killed_before_it_began_costs_no_run(launcher: psutil.Popen, tmp_path: Path) -> None:
    """Snakemake wants its samples file to be there."""
    started(launcher, "trainbench.run.monitor").kill()
    assert found_in(launcher, tmp_path)["monitor_gap"].startswith("the monitor ended with signal 9: ")
    assert (tmp_path / "samples.csv").read_text(encoding="utf-8") == ""


def test_a_run_that_another_came_to_share_its_core_with_is_found(launcher: psutil.Popen, tmp_path: Path) -> None:
    wait_for_second_epoch(launcher, tmp_path)
    allowed = sorted(os.sched_getaffinity(0))
    with core_lease.leased(len(allowed), allowed, tmp_path / "leases") as later:
        assert len(later.shared) == 1
    assert "shared 1 of the run's 1 cores" in found_in(launcher, tmp_path)["cores_shared"]
