"""Tells which processes started which, as far as /proc shows them.

Mounted with `hidepid`, /proc keeps the processes of other users from this one: it refuses their files, or does not list
them (proc(5)). What it keeps is unknown, and ends nothing. psutil gives up on all processes at the first such one.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import os
from pathlib import Path


def descends_from(ancestor: int) -> bool | None:
    """Whether `ancestor` started this process, or one that did; None where a process between the two is hidden."""
    pid: int | None = os.getppid()
    while pid != ancestor:
        if pid is None:
            return None
        if pid <= 1:
            return False
        pid = _parent(pid)
    return True


def descendants(root: int, proc: str = "/proc") -> list[int]:
    """The processes that `root` has started and those that they have, without what is hidden: reads all of `proc`."""
    children: dict[int | None, list[int]] = {}
    with os.scandir(proc) as entries:
        for pid in (int(entry.name) for entry in entries if entry.name.isdecimal()):
            children.setdefault(_parent(pid, proc), []).append(pid)
    found: list[int] = []
    pending = [root]
    while pending:
        # What was taken is not met again, should numbers that were given anew meanwhile make a circle.
        own = children.pop(pending.pop(), [])
        found += own
        pending += own
    return found


def _parent(pid: int, proc: str = "/proc") -> int | None:
    """The process that started `pid`, or took it over; None where it has ended or is hidden."""
    try:
        text = Path(f"{proc}/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name before the bracket may hold anything: proc(5), /proc/pid/stat.
        return int(text.rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None
