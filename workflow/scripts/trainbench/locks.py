"""Locks named things of this machine (a GPU, a CPU core) for as long as a process holds them.

A lock is flock(2) on a file in a folder that all users of the machine share. The kernel drops it when the last process
that holds the open file has ended, however it ended, so that no lock outlives its run and none needs cleaning up.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "TRAINBENCH_LEASE_FOLDER"
DEFAULT_FOLDER: Final = Path("/tmp/trainbench-leases")  # noqa: S108 - one folder for all users, by intent


def folder(environment: Mapping[str, str]) -> Path:
    """Where the lock files are: local to this machine, the same for all its users; made where it is missing."""
    path = Path(environment.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    path.mkdir(parents=True, exist_ok=True)
    if path.stat().st_uid == os.getuid():
        path.chmod(0o1777)
    return path


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
