"""Tells a full disk, and one that cannot be used, from failures of the program, and says what to do about it."""

import errno
import os
from pathlib import Path
from typing import Final

EXIT_CODE: Final = os.EX_IOERR
"""Of a process that could not write: on a full disk it cannot leave its reason in a file."""

# No space, no quota left, and a limit of the shell's or the file system's on the size of one file.
_CAUSES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# No permission, mounted for reading alone, a disk or a server of files that fails: errno(3).
_UNUSABLE: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.EUCLEAN}
)


def is_cause(error: OSError) -> bool:
    """Whether `error` says that there is no room for what was to be written."""
    return error.errno in _CAUSES


def told(error: OSError, folder: Path) -> str | None:
    """What is wrong with a file that could not be read or written, and what to do; None where no disk is the cause.

    `folder` is told where a full disk does not say which file it had no room for.
    """
    if is_cause(error):
        return sentence(Path(error.filename).parent if error.filename else folder, error)
    if error.errno in _UNUSABLE and error.filename:
        return (
            f"{error.filename} cannot be read or written ({str(error.strerror).lower()}), expected a file that this "
            "user may use on a disk that works; mend that and run the same command again: what is finished is kept"
        )
    return None


def sentence(folder: Path, error: OSError | None = None) -> str:
    """What is wrong and what to do, for a file in `folder` that could not be written."""
    reason = "no space left" if error is None else str(error.strerror).lower()
    return (
        f"{folder} cannot take what was to be written there ({reason}), expected room for a few MiB a run; free some "
        "space on that disk and run the same command again: what is finished is kept"
    )
