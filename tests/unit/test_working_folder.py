"""Locks that a killed Snakemake left are cleared away; those of one that lives, or may live elsewhere, are not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainbench import fingerprint, working_folder

HOLDER = (
    "import sys, time; from pathlib import Path; from trainbench import working_folder\n"
    "held = working_folder.hold(Path(sys.argv[1])); print(held is not None, flush=True); time.sleep(60)\n"
)


@pytest.fixture
def snakemake(tmp_path: Path) -> Path:
    folder = tmp_path / ".snakemake"
    folder.mkdir()
    return folder


@pytest.fixture
def holder(snakemake: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the folder and has locked it as Snakemake does."""
    environment = {**os.environ, "PYTHONPATH": str(fingerprint.PACKAGE.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(snakemake)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    (snakemake / "locks").mkdir()
    (snakemake / "locks" / "0.output.lock").write_text("results/tables/runs.csv\n")
    yield process
    process.kill()
    process.wait()


def test_the_locks_of_a_holder_that_was_killed_are_cleared(snakemake: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    descriptor = working_folder.hold(snakemake)
    assert descriptor is not None
    os.close(descriptor)
    assert not (snakemake / "locks").exists()


@pytest.mark.usefixtures("holder")
def test_the_locks_of_a_holder_that_lives_are_left(snakemake: Path) -> None:
    assert working_folder.hold(snakemake) is None
    assert (snakemake / "locks" / "0.output.lock").exists()


@pytest.mark.parametrize("last_holder", ["", "another-host\nanother-boot"])
def test_locks_of_another_machine_or_of_nobody_known_are_left(last_holder: str, snakemake: Path) -> None:
    (snakemake / "locks").mkdir()
    (snakemake / working_folder.LOCK_NAME).write_text(last_holder)
    descriptor = working_folder.hold(snakemake)
    assert descriptor is not None
    os.close(descriptor)
    assert (snakemake / "locks").exists()


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    descriptor = working_folder.hold(tmp_path / ".snakemake")
    assert descriptor is not None
    os.close(descriptor)
