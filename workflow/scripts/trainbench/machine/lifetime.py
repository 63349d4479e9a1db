"""Ties a process to the one that started it."""

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Final

from trainbench.machine import processes

SNAKEMAKE_VARIABLE: Final = "TRAINBENCH_SNAKEMAKE_PID"
"""Environment variable in which Snakemake's process tells those that it starts its number."""

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_SYS_PIDFD_OPEN: Final = 434  # include/uapi/asm-generic/unistd.h; of all architectures but Alpha


def end_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent, `parent_pid`, dies, however it dies.

    Ctrl-C, which a terminal sends to both, is left to the parent: it ends this process in its own time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(f"process {parent_pid}, which started this one, has ended already")


def end_with_snakemake(environment: Mapping[str, str]) -> None:
    """Have this process killed when the Snakemake that started it dies, however it dies.

    A shell may stand between the two, so that the parent's death is not enough. Nothing happens where no Snakemake has
    told its number.
    """
    told = environment.get(SNAKEMAKE_VARIABLE)
    if told is None:
        return
    try:
        descriptor = _pidfd_open(int(told))
    except ProcessLookupError:
        sys.exit(f"Snakemake, process {told}, has ended already")
    except OSError:
        # A kernel before 5.3, or a sandbox that does not allow it: nothing then ties the two together.
        return
    if processes.descends_from(int(told)) is False:
        # Its number was given to another process meanwhile.
        sys.exit(f"Snakemake, process {told}, has ended already")
    threading.Thread(target=_die_with, args=(descriptor,), daemon=True).start()


def _pidfd_open(pid: int) -> int:
    """pidfd_open(2) by its number: `os` lacks it where Python was built for an old C library, as conda's is.

    Raises:
        OSError: there is no such process, or the kernel does not know or allow the call.
    """
    descriptor = int(ctypes.CDLL(None, use_errno=True).syscall(*map(ctypes.c_long, (_SYS_PIDFD_OPEN, pid, 0))))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def _die_with(descriptor: int) -> None:
    # A process' descriptor becomes readable when the process ends: pidfd_open(2).
    select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGKILL)
