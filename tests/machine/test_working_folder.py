"""Locks that a killed Snakemake left are cleared away, those of one that lives are not; what cannot be written is told.

For a folder in which nobody, root included, can make a file, /proc stands in.
"""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainbench.files import fingerprint
from trainbench.machine import working_folder

HOLDER = (
    "import sys, time; from pathlib import Path; from trainbench.machine import working_folder\n"
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


def test_they_are_cleared_where_the_kernel_gives_a_machine_no_id_of_its_start(
    snakemake: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.kill()
    holder.wait()
    monkeypatch.setattr(working_folder, "_BOOT_ID", snakemake / "none")
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize(("mode", "told"), [(0o600, "False"), (0o666, "True")])
def test_another_user_s_lock_file_in_a_sticky_folder_is_held_if_it_may_be(
    mode: int, told: str, snakemake: Path
) -> None:
    (snakemake / working_folder.LOCK_NAME).touch()
    (snakemake / working_folder.LOCK_NAME).chmod(mode)
    snakemake.parent.chmod(0o755)
    os.chown(snakemake, 65533, 65533)
    snakemake.chmod(0o1777)
    # The folders around it are closed to others, but not to a process that was in before it changed its user.
    as_nobody = (
        "import encodings.ascii, os, time; from trainbench.machine import working_folder\n"
        f"os.chdir({str(snakemake.parent)!r}); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", as_nobody + HOLDER.replace("time.sleep(60)", "pass"), ".snakemake"],
        env={**os.environ, "PYTHONPATH": str(fingerprint.PACKAGE.parent)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.communicate()[0] == f"{told}\n"


def test_a_file_system_without_locks_is_not_held(snakemake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert (working_folder.hold(snakemake), working_folder.is_held(snakemake)) == (None, False)


def test_a_folder_is_held_as_long_as_its_holder_lives(snakemake: Path, holder: "subprocess.Popen[str]") -> None:
    assert working_folder.is_held(snakemake)
    holder.kill()
    holder.wait()
    assert not working_folder.is_held(snakemake)


def test_a_folder_that_nobody_ever_held_is_not_held(snakemake: Path) -> None:
    assert not working_folder.is_held(snakemake)


WRITTEN = [".snakemake", "results/runs", "results/tables"]


@pytest.mark.parametrize("made", [(), ("results",), (".snakemake", "results", "results/runs")])
def test_folders_that_can_be_written_are_no_problem(made: tuple[str, ...], tmp_path: Path) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    assert working_folder.unwritable(tmp_path, WRITTEN) is None
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(Path(name).name for name in made)


def test_a_working_folder_that_cannot_be_written_is_told() -> None:
    problem = working_folder.unwritable(Path("/proc"), WRITTEN)
    assert problem is not None
    assert problem.startswith("/proc cannot be written (")
    assert problem.endswith("; make it writable or give another folder with --directory")


@pytest.mark.parametrize("target", ["/proc", "/nowhere/at/all"])
@pytest.mark.parametrize("name", ["results", "results/tables", ".snakemake"])
def test_a_part_of_it_that_cannot_be_written_is_named(name: str, target: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(target)
    problem = working_folder.unwritable(tmp_path, WRITTEN)
    assert problem is not None
    assert problem.startswith(f"{name}/ in {tmp_path} cannot be written (")


def test_a_folder_that_nothing_is_written_to_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/runs").symlink_to("/proc")
    assert working_folder.unwritable(tmp_path, ["results/tables"]) is None


@pytest.mark.parametrize("name", ["results", "results/runs"])
def test_a_file_in_place_of_a_folder_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert working_folder.obstacle(tmp_path) == (
        f"{name} in {tmp_path} is a file, expected a folder; move it away or give another with --directory"
    )


def test_a_link_to_nowhere_is_told_with_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to("/mnt/absent")
    told = working_folder.obstacle(tmp_path)
    assert told is not None
    assert "results in" in told
    assert "is a link to /mnt/absent, which is not there; make that folder" in told


def test_a_link_to_a_folder_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "roomy").mkdir()
    (tmp_path / "results").symlink_to("roomy")
    assert working_folder.obstacle(tmp_path) is None


def test_nothing_is_held_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / ".snakemake").symlink_to("/proc")
    assert working_folder.hold(tmp_path / ".snakemake") is None


def test_a_link_counts_to_the_disk_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to("/dev/shm")  # noqa: S108 - another file system, where nothing is written
    near, far = working_folder.disks(tmp_path, [".snakemake", "results/runs"])
    assert (near.folders, far.folders) == ((".snakemake",), ("results/runs",))
    assert far.free_mib == pytest.approx(shutil.disk_usage("/dev/shm").free / 2**20, abs=64)  # noqa: S108


def test_folders_on_one_disk_are_told_together_before_they_are_there(tmp_path: Path) -> None:
    (disk,) = working_folder.disks(tmp_path, [".snakemake", "results/runs"])
    assert disk.folders == (".snakemake", "results/runs")


def test_a_link_to_nowhere_is_on_no_disk(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to("/nowhere/at/all")
    assert working_folder.disks(tmp_path, ["results/runs"]) == ()
