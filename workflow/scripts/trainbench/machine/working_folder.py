"""Clears away the locks of a Snakemake that was killed, and those of no other; says where nothing can be written.

Snakemake locks its working folder with plain files that outlive it. This module's own lock is flock(2), which the
kernel drops when its holder has ended, however it ended: who gets it knows that the files are left over.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import errno
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainbench.files import full_disk
from trainbench.machine import kernel_files, locks

LOCK_NAME: Final = "trainbench.lock"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Disk:
    """A file system, which of the folders that were asked about lie on it, and what is free there."""

    folders: tuple[str, ...]
    free_mib: float


def hold(snakemake: Path) -> int | None:
    """Hold the folder `snakemake` (.snakemake) for as long as this process lives, and clear left-over locks in it.

    Returns the open descriptor that holds it, or None where another process does, this file system has no such locks or
    another user's file does not let this one lock it; Snakemake's own locks are then left alone, as they are where the
    last holder was on another machine: flock(2) need not reach from one to the other.

    Raises:
        OSError: there is no room.
    """
    snakemake.mkdir(exist_ok=True)
    try:
        descriptor = locks.try_lock(snakemake / LOCK_NAME)
    except OSError as error:
        if full_disk.is_cause(error):
            raise
        return None
    if descriptor is None:
        return None
    # Containers change their name, and a machine its kernel's id when it is started anew: one of both will do.
    machine = {socket.gethostname(), kernel_files.text(_BOOT_ID) or ""} - {""}
    if machine & set(os.pread(descriptor, 4096, 0).decode(errors="replace").splitlines()):
        shutil.rmtree(snakemake / "locks", ignore_errors=True)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, "\n".join(sorted(machine)).encode(), 0)
    return descriptor


def is_held(snakemake: Path) -> bool:
    """Whether another process holds the folder `snakemake`; False too where that cannot be known."""
    with suppress(OSError):
        try:
            with (snakemake / LOCK_NAME).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def unwritable(folder: Path, written: Iterable[str]) -> str | None:
    """What is wrong and what to do, where one of the folders `written`, seen from `folder`, cannot take files.

    Raises:
        OSError: there is no room; that is told in other words.
    """
    for place in dict.fromkeys(_place(folder, name) for name in written):
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            if full_disk.is_cause(error):
                raise
            what = f"{folder}" if place == folder else f"{place.relative_to(folder)}/ in {folder}"
            return (
                f"{what} cannot be written ({str(error.strerror).lower()}); make it writable or give another folder "
                "with --directory"
            )
    return None


def obstacle(folder: Path) -> str | None:
    """What is wrong and what to do, where something else stands in `folder` in place of a folder of results."""
    for name in ("results", "results/runs", "results/tables", "results/figures", "results/logs"):
        place = folder / name
        if os.path.islink(place) and not os.path.exists(place):  # noqa: PTH110, PTH114 - say no of what may not be seen
            return (
                f"{name} in {folder} is a link to {place.readlink()}, which is not there; make that folder or remove "
                "the link"
            )
        if os.path.exists(place) and not os.path.isdir(place):  # noqa: PTH110, PTH112 - as above
            return f"{name} in {folder} is a file, expected a folder; move it away or give another with --directory"
    return None


def is_refusal(error: OSError) -> bool:
    """Whether `error` says that files may not be written where it happened."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def disks(folder: Path, names: Iterable[str]) -> tuple[Disk, ...]:
    """The file systems on which the folders `names`, seen from `folder`, lie or would be made."""
    places: dict[int, tuple[Path, list[str]]] = {}
    for name in names:
        place = _place(folder, name)
        try:
            device = place.stat().st_dev
        except OSError:
            continue  # a link to nowhere: that nothing can be written there is told in other words
        places.setdefault(device, (place, []))[1].append(name)
    return tuple(Disk(tuple(found), shutil.disk_usage(place).free / 2**20) for place, found in places.values())


def _place(folder: Path, name: str) -> Path:
    """Where in `folder` the folder `name` is, or would be made: a link counts, wherever it leads."""
    place = folder / name
    while place != folder and not place.exists() and not place.is_symlink():
        place = place.parent
    return place
