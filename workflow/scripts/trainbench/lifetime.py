"""Ties a process to the one that started it."""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def end_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent, `parent_pid`, dies, however it dies.

    Ctrl-C, which a terminal sends to both, is left to the parent: it ends this process in its own time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(f"process {parent_pid}, which started this one, has ended already")
