"""Locks named things of this machine (a GPU, a CPU core) for as long as a process holds them.

A lock is flock(2) on a file in a folder that all users of the machine share. The kernel drops it when the last process
that holds the open file has ended, however it ended, so that no lock outlives its run and none needs cleaning up.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trainbench.errors import InputError

FOLDER_VARIABLE: Final = "TRAINBENCH_LEASE_FOLDER"
DEFAULT_FOLDER: Final = Path("/tmp/trainbench-leases")  # noqa: S108 - one folder for all users, by intent


def folder(environment: Mapping[str, str]) -> Path:
    """Where the lock files are: local to this machine, the same for all its users; made where it is missing.

    Raises:
        InputError: it cannot be made or written to.
    """
    path = Path(environment.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.stat().st_uid == os.getuid():
            path.chmod(0o1777)
    except OSError as error:
        raise InputError(_unusable(path, error)) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(_unusable(path, PermissionError("not writable")))
    return path


def _unusable(path: Path, error: OSError) -> str:
    return (
        f"the folder of locks {path} cannot be used ({error}), expected one that all users of this machine can "
        f"write to (mode 1777); have its owner mend it, or name another in {FOLDER_VARIABLE}"
    )


def try_lock(path: Path) -> int | None:
    """An open descriptor that holds the lock on `path`, or None while another process does.

    A process that inherits the descriptor holds the lock too.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        # Opened without O_CREAT first: Linux refuses O_CREAT on another user's file in a sticky folder
        # (fs.protected_regular).
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.fchmod(descriptor, 0o666)
        return descriptor
