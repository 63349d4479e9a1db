"""A lock is held by one process at a time and by those that inherit it, and ends with them, however they end."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from lock_holders import Start, close_input, first_line, kill, started_programs  # noqa: F401  # the last is a fixture
from trainbench import locks

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

HOLD = """
import subprocess, sys
from pathlib import Path
from trainbench import locks

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
from trainbench import locks

# The folders around it are closed to others, but not to a process that was in before it changed its user.
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
folder = locks.folder({locks.FOLDER_VARIABLE: "leases"})
print(*("refused" if locks.try_lock(folder / name) is None else "held" for name in sys.argv[2:]), flush=True)
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
        descriptor = locks.try_lock(folder / "card.lock")
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
    held = [locks.try_lock(folder / name) for name in ("taken.lock", "left.lock")]
    assert None not in held
    os.close(held[1] or 0)
    nobody = start(AS_NOBODY, folder.parent, "taken.lock", "left.lock", "new.lock")
    assert first_line(nobody) == "refused held held"


@as_root
def test_root_is_refused_a_lock_that_nobody_holds(start: Start, folder: Path) -> None:
    assert first_line(start(AS_NOBODY, folder.parent, "new.lock")) == "held"
    assert not is_free(folder / "new.lock")
