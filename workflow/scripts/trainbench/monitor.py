"""Watches one run from outside: a process of its own that samples the run's processes and GPUs into a CSV file.

Started by `trainbench.launch` as `python -m trainbench.monitor PID INTERVAL_SECONDS SAMPLES_CSV [GPU_UUID ...]`. It
ends when the process PID ends or when its own parent does. A value that cannot be read stays empty.
"""

import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from trainbench import nvml

PROCESS_COLUMNS: Final = ("monotonic_seconds", "cpu_percent", "resident_memory_mib", "process_threads")
GPU_COLUMNS: Final = ("uuid", "utilization_percent", "memory_used_mib")
_TREE_SCAN_SECONDS: Final = 1.0


def columns(gpu_count: int) -> list[str]:
    """Header of the samples file: the run's process tree, then each of its GPUs as `gpu0_...`, `gpu1_...`."""
    return [*PROCESS_COLUMNS, *(f"gpu{number}_{name}" for number in range(gpu_count) for name in GPU_COLUMNS)]


@dataclass(frozen=True)
class TreeReading:
    """What a process tree has used so far and uses now."""

    cpu_seconds: float
    resident_memory_mib: float
    threads: int


class ProcessTree:
    """A process and its descendants; looks for new descendants once a second, since that reads all of /proc."""

    def __init__(self, root_pid: int) -> None:
        self._root = psutil.Process(root_pid)
        self._members = [self._root]
        self._next_scan = 0.0

    def read(self) -> TreeReading | None:
        """CPU time, memory and threads of the tree, or None when its root has ended."""
        now = time.monotonic()
        try:
            if now >= self._next_scan:
                self._members = [self._root, *self._root.children(recursive=True)]
                self._next_scan = now + _TREE_SCAN_SECONDS
            if self._root.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        cpu_seconds, memory, threads = 0.0, 0, 0
        for process in self._members:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    cpu_seconds += times.user + times.system + times.children_user + times.children_system
                    memory += process.memory_info().rss
                    threads += process.num_threads()
            except psutil.NoSuchProcess:
                continue
        return TreeReading(cpu_seconds, memory / 2**20, threads)


def samples(
    tree: ProcessTree, session: nvml.Session | None, gpu_uuids: Sequence[str], interval_seconds: float
) -> Iterator[list[float | str | None]]:
    """A row of `columns` every interval, until the watched process ends or this one's parent does."""
    parent = os.getppid()
    before: tuple[float, float] | None = None
    due = time.monotonic()
    while os.getppid() == parent:
        now = time.monotonic()
        reading = tree.read()
        if reading is None:
            return
        cpu_percent = None
        if before is not None and now > before[0]:
            cpu_percent = 100 * max(0.0, reading.cpu_seconds - before[1]) / (now - before[0])
        before = (now, reading.cpu_seconds)
        row: list[float | str | None] = [now, cpu_percent, reading.resident_memory_mib, reading.threads]
        for uuid in gpu_uuids:
            row += _gpu_row(session, uuid)
        yield row
        # Sleep until the next whole interval: a slow reading delays one sample, not all that follow.
        due += interval_seconds * max(1, -(-(time.monotonic() - due) // interval_seconds))
        time.sleep(max(0.0, due - time.monotonic()))


def _gpu_row(session: nvml.Session | None, uuid: str) -> list[float | str | None]:
    if session is None:
        return [uuid, None, None]
    try:
        reading = session.read(uuid)
    except nvml.GpuLost:
        return [uuid, None, None]
    return [uuid, reading.utilization_percent, reading.memory_used_mib]


def main(arguments: list[str]) -> int:
    """Sample until the watched process ends."""
    pid, interval_seconds, path, *gpu_uuids = arguments
    with ExitStack() as stack:
        file = stack.enter_context(Path(path).open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns(len(gpu_uuids)))
        file.flush()
        session = None
        if gpu_uuids:
            try:
                session = stack.enter_context(nvml.Session())
            except nvml.NvmlUnavailable:
                session = None
        for row in samples(ProcessTree(int(pid)), session, gpu_uuids, float(interval_seconds)):
            writer.writerow(["" if value is None else value for value in row])
            file.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
