"""Watches one run from outside: a process of its own that samples the run, the host and the run's GPUs into a CSV file.

Started by `watched_training` as `python -m trainbench.run.monitor PID PARENT_PID INTERVAL_SECONDS SAMPLES_CSV CORES
[GPU_UUID ...]`; CORES are the run's logical CPUs, as in `0,1`. It ends when the process PID ends or when its own parent
does. A value that cannot be read stays empty, and no reading ends it, whatever it says: what a value can be stands
beside its column, and is looked at where samples are summed up (`trainbench.run.usage`).
"""

import csv
import math
import operator
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Final, TypeVar

import psutil

from trainbench.files import full_disk
from trainbench.machine import lifetime, nvml
from trainbench.run.counters import HostCounters, ProcessTree, Rapl, cpu_mhz
from trainbench.run.sample import GpuSample, HostSample, columns

_SLOW_READ_SECONDS: Final = 1.0
"""How often to read what is slow to read and changes slowly: new descendants, clock rates, lists of GPU processes."""

Value = TypeVar("Value")


_Counted = tuple[float, ...]
"""Seconds at one moment, NaN where unknown: its own, the monitor's, the run's, and the fields of `HostCounters`."""


def _attempt(name: str, read: Callable[[], Value], failures: list[str]) -> Value | None:
    """What `read` gives; None where it fails, for whatever reason but that the watched process has ended.

    What was wrong with a reading that could not be understood is added to `failures`.
    """
    try:
        return read()
    except psutil.NoSuchProcess:
        raise
    except Exception as error:
        failures.append(f"{name}: {error or type(error).__name__}")
        return None


def samples(
    tree: ProcessTree,
    cores: Collection[int],
    session: nvml.Session | str,
    gpu_uuids: Sequence[str],
    interval_seconds: float,
    *,
    root: Path = Path("/"),
) -> Iterator[tuple[HostSample, list[GpuSample]]]:
    """A sample of all every interval, until the watched process ends; `session` is text where NVML cannot be used."""
    failures: list[str] = []
    rapl = _attempt("energy of the CPU", lambda: Rapl(root), failures)
    before: _Counted = (math.nan,) * 7
    due = next_slow_read = time.monotonic()
    while True:
        now = time.monotonic()
        slow = now >= next_slow_read
        try:
            if slow:
                next_slow_read = now + _SLOW_READ_SECONDS
                _attempt("processes", tree.find_descendants, failures)
            reading = _attempt("the run's processes", tree.read, failures)
        except psutil.NoSuchProcess:
            return
        tree_seconds, memory, threads = reading or (None, None, None)
        counters = _attempt("/proc/stat", lambda: HostCounters.read(cores, root), failures)
        of_host = astuple(counters) if counters else (None,) * 4
        told = (now, time.process_time(), tree_seconds, *of_host)
        count = tuple(math.nan if seconds is None else seconds for seconds in told)
        percent, other, other_on_cores, pressure, steal = _percentages(before, count)
        before = count
        clock = _attempt("cpufreq", lambda: cpu_mhz(cores, root), failures) if slow else None
        joules = _attempt("energy of the CPU", rapl.joules, failures) if rapl else None
        unreadable = "; ".join(failures) or None
        failures.clear()
        host = HostSample(
            *(now, percent, memory, threads, other, other_on_cores, pressure, steal, clock, joules, unreadable)
        )
        yield host, [_gpu_sample(session, uuid, tree.process_ids, with_processes=slow) for uuid in gpu_uuids]
        # Sleep until the next whole interval: a slow reading delays one sample, not all that follow.
        due += interval_seconds * max(1, -(-(time.monotonic() - due) // interval_seconds))
        time.sleep(max(0.0, due - time.monotonic()))


def _percentages(before: _Counted, now: _Counted) -> list[float | None]:
    """CPU time since `before` in percent: the run's, others', others' on the run's cores, waiting, stolen."""
    elapsed, own, tree, busy, on_cores, steal, pressure = map(operator.sub, now, before)
    tree = max(tree, 0.0)  # which NaN stays
    percentages = [100 * seconds / elapsed for seconds in (tree, busy - tree - own, on_cores - tree, pressure, steal)]
    return [None if math.isnan(percent) else percent for percent in percentages]


def _gpu_sample(
    session: nvml.Session | str, uuid: str, process_ids: frozenset[int], *, with_processes: bool
) -> GpuSample:
    if isinstance(session, str):
        return GpuSample(uuid, problem=session)
    try:
        reading = session.read(uuid, process_ids, with_processes=with_processes)
    except nvml.GpuLost as error:
        return GpuSample(uuid, problem=str(error))
    except Exception as error:
        return GpuSample(uuid, problem=f"GPU {uuid} could not be read ({type(error).__name__}: {error})")
    listed = reading.process_ids
    impossible = [pid for pid in listed or () if not 0 < pid <= nvml.HIGHEST_PROCESS_ID]
    # A container numbers its processes anew: with none of ours in the list, it says nothing of others.
    tells = listed is not None and not impossible and not process_ids.isdisjoint(listed)
    values = {name: value for name, value in vars(reading).items() if name not in {"throttle_reasons", "process_ids"}}
    return GpuSample(
        uuid,
        **values,
        throttle_reasons=None if reading.throttle_reasons is None else " ".join(reading.throttle_reasons) or "none",
        other_processes=len(set(listed or ()) - process_ids) if tells else None,
        unreadable=f"list of processes: process number {impossible[0]}" if impossible else None,
    )


def main(arguments: list[str]) -> int:
    """Sample until the watched process or the parent ends, or the disk is full."""
    pid, parent_pid, interval_seconds, path, cores, *gpu_uuids = arguments
    lifetime.end_with(int(parent_pid))
    session: nvml.Session | str = "no GPU to read"
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file, ExitStack() as stack:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns(len(gpu_uuids)))
            if gpu_uuids:
                try:
                    session = stack.enter_context(nvml.Session())
                except nvml.NvmlUnavailable as error:
                    session = f"NVML cannot be used: {error}"
            own_cores = [int(core) for core in cores.split(",")]
            with suppress(psutil.NoSuchProcess):
                tree = ProcessTree(int(pid))
                for host, gpus in samples(tree, own_cores, session, gpu_uuids, float(interval_seconds)):
                    values = [*astuple(host), *(value for gpu in gpus for value in astuple(gpu))]
                    writer.writerow(["" if value is None else value for value in values])
                    file.flush()
    except OSError as error:
        if not full_disk.is_cause(error):
            raise
        return full_disk.EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
