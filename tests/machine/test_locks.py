"""A lock is held by one process at a time and by those that inherit it, and ends with them, however they end."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lock_holders import (
    Start,
    close_input,
    first_line,
    kill,
    remove_all,
    started_programs,  # noqa: F401  # a fixture
    wait_until,
)
from trainbench.errors import InputError
from trainbench.machine import locks

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

HOLD = """
import subprocess, sys
from pathlib import Path
from trainbench.machine import locks

path, child = sys.argv[1:]
descriptor = locks.try_lock(Path(path))
if child != "none":
    # Without pass_fds nothing is closed on purpose: the descriptor itself has to see to that.
    inherited = {"pass_fds": [descriptor]} if child == "inherits" else {"close_fds": False}
    subprocess.Popen(["cat"], **inherited)
print("refused" if descriptor is None else "held", flush=True)
sys.stdin.read()
"""
"""Holds a lock, alone or with a child, until its standard input is closed."""

AS_NOBODY = """
import os, sys
from pathlib import Path
from trainbench.machine import locks

# The folders around it are closed to others, but not to a process that was in before it changed its user.
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
folder = locks.folder({locks.FOLDER_VARIABLE: "leases"})
print(*("refused" if locks.try_lock_in(folder, name) is None else "held" for name in sys.argv[2:]), flush=True)
sys.stdin.read()
"""
"""Tries locks as the user 65534, who is nobody."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "card.lock"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return locks.folder({locks.FOLDER_VARIABLE: str(tmp_path / "leases")})


def is_free(path: Path, wait_seconds: float = 0) -> bool:
    deadline = time.monotonic() + wait_seconds
    while (descriptor := locks.try_lock(path)) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    os.close(descriptor)
    return True


def open_files() -> set[str]:
    """List this process' open files, without the one that listing takes."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


# --- holding ---


def test_a_lock_that_another_process_holds_is_refused(start: Start, path: Path) -> None:
    assert first_line(start(HOLD, path, "none")) == "held"
    assert not is_free(path)


def test_a_second_process_is_refused_the_lock(start: Start, path: Path) -> None:
    assert [first_line(start(HOLD, path, "none")) for _ in range(2)] == ["held", "refused"]


def test_other_locks_of_the_folder_stay_free(start: Start, path: Path) -> None:
    assert first_line(start(HOLD, path, "none")) == "held"
    assert is_free(path.with_name("another.lock"))


def test_a_refused_lock_leaves_no_open_file(path: Path) -> None:
    held = locks.try_lock(path)
    before = open_files()
    locks.try_lock(path)
    after = open_files()
    assert held is not None
    os.close(held)
    assert after == before


def test_a_closed_lock_is_free(path: Path) -> None:
    descriptor = locks.try_lock(path)
    assert descriptor is not None
    os.close(descriptor)
    assert is_free(path)


def test_a_killed_process_holds_no_lock(start: Start, path: Path) -> None:
    holder = start(HOLD, path, "none")
    assert first_line(holder) == "held"
    kill(holder)
    assert is_free(path)


def test_a_child_that_inherited_the_lock_holds_it_after_its_parent_was_killed(start: Start, path: Path) -> None:
    holder = start(HOLD, path, "inherits")
    assert first_line(holder) == "held"
    kill(holder)
    assert not is_free(path)


def test_the_lock_is_free_when_such_a_child_has_ended_too(start: Start, path: Path) -> None:
    holder = start(HOLD, path, "inherits")
    assert first_line(holder) == "held"
    kill(holder)
    close_input(holder)
    assert is_free(path, wait_seconds=20)


def test_a_child_that_did_not_inherit_the_lock_does_not_hold_it(start: Start, path: Path) -> None:
    holder = start(HOLD, path, "does not inherit")
    assert first_line(holder) == "held"
    kill(holder)
    assert is_free(path)


# --- lock files and their folder ---


@pytest.mark.parametrize("environment", [{}, {locks.FOLDER_VARIABLE: ""}])
def test_all_users_share_one_folder_by_default(
    environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "DEFAULT_FOLDER", tmp_path / "of_all")
    assert locks.folder(environment) == tmp_path / "of_all"


def test_the_default_folder_is_not_of_one_user() -> None:
    assert locks.DEFAULT_FOLDER.parent == Path("/tmp")  # noqa: S108 - the folder under test


def test_the_folder_can_be_set_and_is_made_with_its_parents(tmp_path: Path) -> None:
    locks.folder({locks.FOLDER_VARIABLE: str(tmp_path / "run" / "leases")})
    assert (tmp_path / "run" / "leases").is_dir()


def test_other_users_can_lock_too_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        folder = locks.folder({locks.FOLDER_VARIABLE: str(tmp_path / "leases")})
        descriptor = locks.try_lock_in(folder, "card.lock")
        modes = [mode(folder), mode(folder / "card.lock")]
    finally:
        os.umask(umask)
    assert descriptor is not None
    os.close(descriptor)
    assert modes == [0o1777, 0o666]


def test_a_link_in_place_of_a_lock_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        locks.try_lock(path)


@pytest.mark.parametrize("folder", ["/proc", "/dev/null", "/dev/null/leases"])
def test_a_folder_that_takes_no_locks_is_told_with_the_variable_that_names_another(folder: str) -> None:
    with pytest.raises(InputError, match=f"^the folder of locks {folder} cannot be used .* TRAINBENCH_LEASE_FOLDER$"):
        locks.try_lock_in(locks.folder({locks.FOLDER_VARIABLE: folder}), "card.lock")


def test_a_lock_file_that_cannot_be_opened_is_told_with_the_variable(folder: Path) -> None:
    (folder / "card.lock").mkdir()
    with pytest.raises(InputError, match=r"Is a directory.* TRAINBENCH_LEASE_FOLDER$"):
        locks.try_lock_in(folder, "card.lock")


# As on Lustre that is mounted without flock, NFS without its lock service, and others.
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_with_the_variable(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = open_files()
    with pytest.raises(InputError, match=f"{os.strerror(number)}.* TRAINBENCH_LEASE_FOLDER$"):
        locks.try_lock_in(folder, "card.lock")
    assert open_files() == before


# --- files that are removed ---


def test_a_file_that_is_removed_before_it_is_locked_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock

    def first_removed(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", first_removed)
    descriptor = locks.try_lock(path)
    assert descriptor is not None
    assert not is_free(path)
    os.close(descriptor)


def test_a_folder_that_was_removed_is_made_again(folder: Path) -> None:
    remove_all(folder)
    descriptor = locks.try_lock_in(folder, "card.lock")
    assert descriptor is not None
    os.close(descriptor)
    assert mode(folder) == 0o1777


@pytest.fixture
def kept_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(locks, "_LOOK_AGAIN_SECONDS", 0.01)
    descriptor = locks.try_lock_in(folder, "card.lock")
    assert descriptor is not None
    with locks.kept(folder, {"card.lock": descriptor}):
        yield folder / "card.lock"


def test_the_file_of_a_kept_lock_does_not_grow_old(kept_lock: Path) -> None:
    os.utime(kept_lock, (0, 0))
    wait_until(lambda: kept_lock.stat().st_mtime > 0 and kept_lock.stat().st_atime > 0)


def test_the_file_of_a_kept_lock_is_made_and_locked_again_as_often_as_it_is_removed(kept_lock: Path) -> None:
    for _ in range(3):
        kept_lock.unlink()
        wait_until(lambda: not is_free(kept_lock))


def test_a_kept_lock_that_another_took_when_its_file_was_removed_is_held_again_when_that_one_has_ended(
    start: Start, kept_lock: Path
) -> None:
    path = kept_lock.with_name("other.lock")
    holder = start(HOLD, path, "none")
    assert first_line(holder) == "held"
    path.replace(kept_lock)
    kill(holder)
    wait_until(lambda: not is_free(kept_lock))


def test_all_that_was_opened_for_kept_locks_is_closed_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_LOOK_AGAIN_SECONDS", 0.01)
    before = open_files()
    descriptor = locks.try_lock_in(folder, "card.lock")
    assert descriptor is not None
    with locks.kept(folder, {"card.lock": descriptor}):
        for _ in range(3):
            (folder / "card.lock").unlink()
            wait_until(lambda: not is_free(folder / "card.lock"))
    assert open_files() == before


# --- several users ---


@as_root
def test_a_folder_of_another_user_keeps_its_mode(folder: Path) -> None:
    folder.chmod(0o755)
    os.chown(folder, 65534, 65534)
    locks.folder({locks.FOLDER_VARIABLE: str(folder)})
    assert mode(folder) == 0o755


@as_root
def test_a_lock_file_of_another_user_in_a_folder_of_a_third_can_be_locked(folder: Path) -> None:
    """Where fs.protected_regular is set, not even root may open such a file as if to create it."""
    os.chown(folder, 65534, 65534)
    (folder / "card.lock").touch()
    os.chown(folder / "card.lock", 65533, 65533)
    assert is_free(folder / "card.lock")


@as_root
def test_users_hold_each_others_locks_apart(start: Start, folder: Path) -> None:
    held = [locks.try_lock_in(folder, name) for name in ("taken.lock", "left.lock")]
    assert None not in held
    os.close(held[1] or 0)
    nobody = start(AS_NOBODY, folder.parent, "taken.lock", "left.lock", "new.lock")
    assert first_line(nobody) == "refused held held"


@as_root
def test_root_is_refused_a_lock_that_nobody_holds(start: Start, folder: Path) -> None:
    assert first_line(start(AS_NOBODY, folder.parent, "new.lock")) == "held"
    assert not is_free(folder / "new.lock")
