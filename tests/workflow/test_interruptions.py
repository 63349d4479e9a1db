"""Whatever ends a study early, the same command goes on; what ran out of memory is a result that can be retried."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainbench.records import record

REPOSITORY = Path(__file__).resolve().parents[2]
FILL_BYTES = 2**16

# Long enough for a disk to be full, or memory to be taken away, while it trains.
ONE_RUN = """
models: [conv]
batch_sizes: [16]
devices: [cpu]
repeats: 1
dataset: {path: data, validation_samples: 40}
model_settings:
  conv: {epochs: 40}
"""
RUN_FOLDER = "results/runs/conv/16/cpu/1"


@pytest.fixture
def one_run(new_checkout):
    checkout = new_checkout()
    (checkout.folder / "study.yaml").write_text(ONE_RUN, encoding="utf-8")
    return checkout


def sentence(run: "subprocess.CompletedProcess[str]") -> str:
    """The one line that trainbench says."""
    return next(line for line in run.stderr.splitlines() if line.startswith("trainbench:"))


def test_after_random_kills_the_same_command_goes_on_and_loses_nothing():
    run = subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / "interruptions.py", "--kills", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    counts = dict(re.findall(r"^\| (.+?) \| (\d+) \|$", run.stdout, re.MULTILINE))
    assert run.returncode == 0, run.stdout + run.stderr
    assert counts["of them killed"] == "3"
    assert counts["metrics files held to their schema"] >= "4"


# --- full disks ---


@pytest.fixture
def small_disk(one_run, tmp_path) -> Iterator[Path]:
    """Results on a disk of their own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "trainbench-test", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"takes the right to mount a small disk: {mounted.stderr.strip()}")
    (one_run.folder / "results").symlink_to(disk)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * FILL_BYTES)
        except OSError:
            return


def fill_when(disk: Path, condition: Callable[[], bool]) -> threading.Thread:
    """Fill the disk as soon as something is the case, within a minute."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        fill(disk)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_disk_that_fills_up_while_a_run_trains_is_told_and_the_command_completes_when_it_is_freed(
    one_run, small_disk
):
    log = one_run.folder / RUN_FOLDER / "train.log"
    filling = fill_when(small_disk, lambda: log.exists() and "epoch 3/" in log.read_text(encoding="utf-8"))
    failed = one_run.study()
    filling.join()
    assert failed.returncode != 0
    assert f"{RUN_FOLDER} cannot take what was to be written there" in sentence(failed)
    assert "Traceback" not in failed.stderr
    assert not (one_run.folder / RUN_FOLDER / "metrics.json").exists()
    (small_disk / "ballast").unlink()
    completed = one_run.study()
    assert completed.returncode == 0, completed.stderr
    assert len(record.read(one_run.folder / RUN_FOLDER / "metrics.json")["epochs"]) == 40


def test_a_disk_that_is_full_when_tables_are_made_is_told_and_no_run_is_measured_again(one_run, small_disk):
    assert one_run.study("--", f"{RUN_FOLDER}/metrics.json").returncode == 0
    before = (one_run.folder / RUN_FOLDER / "metrics.json").read_bytes()
    # Folders take room too: they are there already, as after an earlier call.
    for folder in ("logs", "tables", "figures"):
        (small_disk / folder).mkdir(exist_ok=True)
    fill(small_disk)
    failed = one_run.study()
    assert failed.returncode != 0
    assert "results/tables cannot take what was to be written there (no space left on device)" in sentence(failed)
    assert "Traceback" not in failed.stderr
    (small_disk / "ballast").unlink()
    completed = one_run.study()
    assert completed.returncode == 0, completed.stderr
    assert (one_run.folder / RUN_FOLDER / "metrics.json").read_bytes() == before
    assert (small_disk / "tables" / "comparison.md").exists()


# --- out of memory ---


@pytest.fixture
def too_little_memory() -> Iterator[list[str]]:
    """Give the beginning of a command that runs in a control group with too little memory for TensorFlow."""
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent, f"trainbench-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            break
        group.rmdir()
    else:
        pytest.skip("takes the right to make a control group that limits memory")
    (group / limit).write_text(str(250 * 2**20))
    yield ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            group.rmdir()
            break
        except OSError:
            time.sleep(0.1)


def test_a_run_that_the_kernel_kills_for_lack_of_memory_is_shown_and_retry_measures_it(one_run, too_little_memory):
    path = one_run.folder / RUN_FOLDER / "metrics.json"
    target = f"{RUN_FOLDER}/metrics.json"
    starved = subprocess.run(
        [
            *too_little_memory,
            *[REPOSITORY / ".venv/bin/snakemake", "--cores", "2", "--configfile", "study.yaml", "--", target],
        ],
        cwd=one_run.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert starved.returncode == 0, starved.stderr
    assert record.read(path)["status"] == "out_of_memory"
    shown = one_run.study()
    assert shown.returncode == 0, shown.stderr
    assert record.read(path)["status"] == "out_of_memory"
    assert "out of memory" in (one_run.folder / "results/tables/comparison.md").read_text(encoding="utf-8")
    retried = one_run.snakemake("retry", "--cores", "2", "--configfile", "study.yaml")
    assert retried.returncode == 0, retried.stderr
    assert record.read(path)["status"] == "completed"
    assert "out of memory" not in (one_run.folder / "results/tables/comparison.md").read_text(encoding="utf-8")


def test_retry_plans_the_runs_that_were_out_of_memory_and_no_others(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    metrics = folder / "results/runs/conv/16/cpu/1/metrics.json"
    metrics.write_text(metrics.read_text().replace('"status": "completed"', '"status": "out_of_memory"'))
    planned = type(finished)(folder).snakemake("retry", "--cores", "2", "--configfile", "study.yaml", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert re.findall(r"^ +output: (results/runs/\S+),", planned.stdout, re.MULTILINE) == [
        "results/runs/conv/16/cpu/1/metrics.json"
    ]
