"""Tells a full disk from other failures to write, and says what to do about it."""

import errno
import os
from pathlib import Path
from typing import Final

EXIT_CODE: Final = os.EX_IOERR
"""Of a process that could not write: on a full disk it cannot leave its reason in a file."""

# No space, no quota left, and a limit of the shell's or the file system's on the size of one file.
_CAUSES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_cause(error: OSError) -> bool:
    """Whether `error` says that there is no room for what was to be written."""
    return error.errno in _CAUSES


def sentence(folder: Path, error: OSError | None = None) -> str:
    """What is wrong and what to do, for a file in `folder` that could not be written."""
    reason = "no space left" if error is None else str(error.strerror).lower()
    return (
        f"{folder} cannot take what was to be written there ({reason}), expected room for a few MiB a run; free some "
        "space on that disk and run the same command again: what is finished is kept"
    )
