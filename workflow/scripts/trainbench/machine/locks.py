"""Locks named things of this machine (a GPU, a CPU core) for as long as a process holds them.

A lock is flock(2) on a file in a folder that all users of the machine share. The kernel drops it when the last process
that holds the open file has ended, however it ended, so that no lock outlives its run and none needs cleaning up.

Why no library does it is in docs/architecture.md.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from trainbench.errors import InputError

FOLDER_VARIABLE: Final = "TRAINBENCH_LEASE_FOLDER"
DEFAULT_FOLDER: Final = Path("/tmp/trainbench-leases")  # noqa: S108 - one folder for all users, by intent

_LOOK_AGAIN_SECONDS: Final = 10.0
"""How often the files of held locks are looked at: for so long at most is one that was removed not made again."""


def folder(environment: Mapping[str, str]) -> Path:
    """Where the lock files are: local to this machine, the same for all its users; made where it is missing.

    Raises:
        InputError: it cannot be made.
    """
    path = Path(environment.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    try:
        _make(path)
    except OSError as error:
        raise InputError(_unusable(path, error)) from error
    return path


def _make(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if path.stat().st_uid == os.getuid():
        # Whether files can be made in it is seen when one is: a file system may know no such modes.
        with suppress(OSError):
            path.chmod(0o1777)


def _unusable(path: Path, error: OSError) -> str:
    return (
        f"the folder of locks {path} cannot be used ({error}), expected one on a file system with locks (flock) that "
        f"all users of this machine can write to (mode 1777); have its owner mend it, or name another in "
        f"{FOLDER_VARIABLE}"
    )


def try_lock_in(folder: Path, name: str) -> int | None:
    """`try_lock` on a file of the lock folder, which is made again where a cleaner has removed it.

    Raises:
        InputError: the folder, or its file system, has no such locks for this user.
    """
    try:
        try:
            return try_lock(folder / name, for_all_users=True)
        except FileNotFoundError:
            _make(folder)
            return try_lock(folder / name, for_all_users=True)
    except OSError as error:
        raise InputError(_unusable(folder, error)) from error


def take(held: dict[str, int], count: int, names: Sequence[str], folder: Path, least: int = 0) -> int:
    """Add to `held` the first `count` of these locks that are free, and return how many that were.

    As soon as fewer than `least` are left to try, no more is locked: of two runs that want both of two, the one that
    comes second to the first leaves the other alone.

    Raises:
        InputError: as `try_lock_in`.
    """
    taken = 0
    for position, name in enumerate(names):
        if taken == count or taken + len(names) - position < least:
            break
        descriptor = try_lock_in(folder, name)
        if descriptor is not None:
            # Marks on it were meant for who held it before.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            held[name] = descriptor
            taken += 1
    return taken


def mark(folder: Path, name: str) -> None:
    """Tell who holds this lock that its thing is used by another all the same: a byte in the file says so.

    Where the file cannot be written nobody is told, and nothing else depends on it.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError), os.fdopen(os.open(folder / name, flags), "ab") as file:
        file.write(b"+")


def is_marked(descriptor: int) -> bool:
    """Whether somebody has marked this lock since it was taken."""
    return os.fstat(descriptor).st_size > 0


@contextmanager
def kept(folder: Path, held: Mapping[str, int]) -> Iterator[None]:
    """Keep the locks in `held`, descriptors by name of file in the lock folder, and give them back in the end.

    A lock on a file that was removed keeps nobody off the next file of that name. Cleaners of temporary folders remove
    what is old, so the files are kept young; one that is gone all the same is made and locked again.
    """
    ended = threading.Event()
    made_again: dict[str, int] = {}

    def keep() -> None:
        while not ended.wait(_LOOK_AGAIN_SECONDS):
            for name, descriptor in (dict(held) | made_again).items():
                # What does not work now may later; the lock itself is held either way.
                with suppress(OSError, InputError):
                    os.utime(descriptor)
                    if not _is_at(descriptor, folder / name) and (again := try_lock_in(folder, name)) is not None:
                        if name in made_again:
                            os.close(made_again[name])
                        made_again[name] = again

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        for descriptor in (*held.values(), *made_again.values()):
            os.close(descriptor)


def try_lock(path: Path, *, for_all_users: bool = False) -> int | None:
    """An open descriptor that holds the lock on `path`, or None while another process does.

    A process that inherits the descriptor holds the lock too. A file that is not there is made, and can be locked by
    all users or, as the umask has it, by some.

    Raises:
        OSError: the file cannot be opened or made, or its file system has no such locks.
    """
    while True:
        descriptor = _open(path, for_all_users=for_all_users)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        # Removed between the two calls, it is not the file that others lock.
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _open(path: Path, *, for_all_users: bool) -> int:
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
        if for_all_users:
            os.fchmod(descriptor, 0o666)
        return descriptor
