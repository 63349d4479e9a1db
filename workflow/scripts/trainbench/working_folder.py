"""Clears away the locks of a Snakemake that was killed, and those of no other; says where nothing can be written.

Snakemake locks its working folder with plain files that outlive it. This module's own lock is flock(2), which the
kernel drops when its holder has ended, however it ended: who gets it knows that the files are left over.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import fcntl
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from trainbench import full_disk, locks

LOCK_NAME: Final = "trainbench.lock"
WRITTEN: Final = (".snakemake", "results", "results/runs", "results/tables", "results/figures", "results/logs")
"""Folders that a study writes to, seen from its working folder."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


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
    machine = {socket.gethostname()}
    with suppress(OSError):
        machine.add(_BOOT_ID.read_text(encoding="ascii").strip())
    if machine & set(os.pread(descriptor, 4096, 0).decode(errors="replace").splitlines()):
        shutil.rmtree(snakemake / "locks", ignore_errors=True)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, "\n".join(sorted(machine)).encode(), 0)
    return descriptor


def is_held(snakemake: Path) -> bool:
    """Whether another process holds the folder `snakemake`; False too where that cannot be known."""
    try:
        descriptor = os.open(snakemake / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def unwritable(folder: Path) -> str | None:
    """What is wrong with the working folder `folder` and what to do, where a study cannot write to it.

    Raises:
        OSError: there is no room; that is told in other words.
    """
    made = [name for name in WRITTEN if (folder / name).exists() or (folder / name).is_symlink()]
    # What is not there yet is made in the folder itself.
    for name in made if {".snakemake", "results"} <= set(made) else ["", *made]:
        try:
            with tempfile.TemporaryFile(dir=folder / name):
                pass
        except OSError as error:
            if full_disk.is_cause(error):
                raise
            what = f"{name}/ in {folder}" if name else f"{folder}"
            return (
                f"{what} cannot be written ({str(error.strerror).lower()}); make it writable or give another folder "
                "with --directory"
            )
    return None
