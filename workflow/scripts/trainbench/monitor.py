"""Watches one run from outside: a process of its own that samples the run, the host and the run's GPUs into a CSV file.

Started by `trainbench.launch` as `python -m trainbench.monitor PID PARENT_PID INTERVAL_SECONDS SAMPLES_CSV CORES
[GPU_UUID ...]`; CORES are the run's logical CPUs, as in `0,1`. It ends when the process PID ends or when its own parent
does. A value that cannot be read stays empty.
"""

import csv
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final, Self

import psutil

from trainbench import full_disk, lifetime, nvml, processes

_SLOW_READ_SECONDS: Final = 1.0
"""How often to read what is slow to read and changes slowly: new descendants, clock rates, lists of GPU processes."""

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class HostSample:
    """The run's process tree and the rest of the host; percentages are of one core, over the time since the sample
    before, except `cpu_pressure_percent`: the share of that time in which some process waited for a core.
    `other_cpu_percent` is a difference of coarse counters and below zero now and then: cutting that off here would
    raise every mean, and would keep the time of a new descendant that was taken for another program's at first.
    """

    monotonic_seconds: float
    cpu_percent: float | None
    resident_memory_mib: float | None
    process_threads: int | None
    other_cpu_percent: float | None
    other_on_cores_percent: float | None
    cpu_pressure_percent: float | None
    steal_percent: float | None
    cpu_mhz: float | None
    cpu_energy_joules: float | None


@dataclass(frozen=True)
class GpuSample:
    """One GPU of the run; `energy_joules` counts since the driver was loaded; `problem` is why a card is not read."""

    uuid: str
    utilization_percent: float | None = None
    memory_used_mib: float | None = None
    process_memory_mib: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    temperature_celsius: float | None = None
    sm_clock_mhz: float | None = None
    throttle_reasons: str | None = None
    other_processes: int | None = None
    problem: str | None = None


def columns(gpu_count: int) -> list[str]:
    """Header of the samples file: the host's columns, then each GPU's as `gpu0_...`, `gpu1_...`."""
    of_gpus = [f"gpu{number}_{field.name}" for number in range(gpu_count) for field in fields(GpuSample)]
    return [*(field.name for field in fields(HostSample)), *of_gpus]


class ProcessTree:
    """A process and its descendants."""

    def __init__(self, root_pid: int) -> None:
        self._root = psutil.Process(root_pid)
        self.members = [self._root]

    @property
    def process_ids(self) -> frozenset[int]:
        """The tree's process ids."""
        return frozenset(process.pid for process in self.members)

    def find_descendants(self) -> None:
        """Look for processes that the tree has started since: reads all of /proc, so not for every sample."""
        self.members = [self._root]
        for pid in processes.descendants(self._root.pid):
            with suppress(psutil.NoSuchProcess):
                self.members.append(psutil.Process(pid))

    def read(self) -> tuple[float, float, int] | None:
        """CPU seconds so far, resident MiB and threads of the tree, or None when its root has ended."""
        cpu_seconds, memory, threads = 0.0, 0, 0
        for process in self.members:
            try:
                with process.oneshot():
                    if process is self._root and process.status() == psutil.STATUS_ZOMBIE:
                        return None
                    times = process.cpu_times()
                    cpu_seconds += times.user + times.system + times.children_user + times.children_system
                    memory += process.memory_info().rss
                    threads += process.num_threads()
            except psutil.NoSuchProcess:
                if process is self._root:
                    return None
            except psutil.AccessDenied:
                # One that works as another user: what it does counts as another program's.
                if process is self._root:
                    raise
        return cpu_seconds, memory / 2**20, threads


@dataclass(frozen=True)
class HostCounters:
    """What the host has counted up to one moment, in seconds: on all CPUs, and on the run's alone."""

    busy: float
    busy_on_cores: float
    steal: float
    pressure: float | None

    @classmethod
    def read(cls, cores: Collection[int], root: Path = Path("/")) -> Self:
        """Read proc(5)'s stat and pressure/cpu; `cores` are the run's logical CPUs."""
        names = {f"cpu{core}" for core in cores}
        busy = busy_on_cores = steal = 0.0
        with (root / "proc/stat").open(encoding="ascii") as file:
            for line in file:
                name, *words = line.split()
                if not name.startswith("cpu"):
                    break
                user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(word) for word in words[:8])
                seconds = (user + nice + system + irq + softirq) / _TICKS_PER_SECOND
                if name == "cpu":
                    busy, steal = seconds, stolen / _TICKS_PER_SECOND
                elif name in names:
                    busy_on_cores += seconds
        return cls(busy, busy_on_cores, steal, _pressure_seconds(root))


def _pressure_seconds(root: Path) -> float | None:
    """Total time in which some process waited for a core (kernel's Documentation/accounting/psi.rst)."""
    try:
        some = (root / "proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


def cpu_mhz(cores: Collection[int], root: Path = Path("/")) -> float | None:
    """Mean clock of `cores` as the frequency driver has it, or None where there is none."""
    clocks = []
    for core in cores:
        path = root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"
        try:
            clocks.append(int(path.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            return None
    return sum(clocks) / len(clocks) if clocks else None


class Rapl:
    """Energy that all CPU packages have used since this was made, from the kernel's powercap counters (mostly root's).

    Source: Linux, Documentation/power/powercap/powercap.rst.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        # Other zones are parts of a package, or the whole platform ("psys"), which has the packages in it.
        self._zones = [zone for zone in zones if _name(zone).startswith("package")]
        self._last = [_microjoules(zone / "energy_uj") for zone in self._zones]
        self._range = [_microjoules(zone / "max_energy_range_uj") for zone in self._zones]
        self._total = 0

    def joules(self) -> float | None:
        """Joules since the start, or None where a counter cannot be read."""
        now = [_microjoules(zone / "energy_uj") for zone in self._zones]
        rises = [_rise(*counter) for counter in zip(self._last, now, self._range, strict=True)]
        known = [rise for rise in rises if rise is not None]
        if not known or len(known) < len(rises):
            return None
        self._last = now
        self._total += sum(known)
        return self._total / 1e6


def _rise(before: int | None, after: int | None, limit: int | None) -> int | None:
    """How far a counter has come; one that went back has passed its end, `limit`, and begun anew."""
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    return None if limit is None else after - before + limit


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii")
    except OSError:
        return ""


def _microjoules(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def samples(
    tree: ProcessTree,
    cores: Collection[int],
    session: nvml.Session | str,
    gpu_uuids: Sequence[str],
    interval_seconds: float,
) -> Iterator[tuple[HostSample, list[GpuSample]]]:
    """A sample of all every interval, until the watched process ends; `session` is text where NVML cannot be used."""
    rapl = Rapl()
    before: tuple[float, float, HostCounters, float] | None = None
    due = next_slow_read = time.monotonic()
    while True:
        now = time.monotonic()
        slow = now >= next_slow_read
        try:
            if slow:
                next_slow_read = now + _SLOW_READ_SECONDS
                tree.find_descendants()
            reading = tree.read()
        except psutil.NoSuchProcess:
            return
        if reading is None:
            return
        tree_seconds, memory, threads = reading
        counters, own_seconds = HostCounters.read(cores), time.process_time()
        percent = other = other_on_cores = pressure = steal = None
        if before is not None:
            then, tree_before, counters_before, own_before = before
            elapsed = now - then
            tree_used = max(0.0, tree_seconds - tree_before)
            percent = 100 * tree_used / elapsed
            rest = counters.busy - counters_before.busy - tree_used - (own_seconds - own_before)
            other = 100 * rest / elapsed
            other_on_cores = 100 * (counters.busy_on_cores - counters_before.busy_on_cores - tree_used) / elapsed
            steal = 100 * (counters.steal - counters_before.steal) / elapsed
            if counters.pressure is not None and counters_before.pressure is not None:
                pressure = min(100.0, 100 * (counters.pressure - counters_before.pressure) / elapsed)
        before = (now, tree_seconds, counters, own_seconds)
        clock = cpu_mhz(cores) if slow else None
        host = HostSample(now, percent, memory, threads, other, other_on_cores, pressure, steal, clock, rapl.joules())
        yield host, [_gpu_sample(session, uuid, tree.process_ids, with_processes=slow) for uuid in gpu_uuids]
        # Sleep until the next whole interval: a slow reading delays one sample, not all that follow.
        due += interval_seconds * max(1, -(-(time.monotonic() - due) // interval_seconds))
        time.sleep(max(0.0, due - time.monotonic()))


def _gpu_sample(
    session: nvml.Session | str, uuid: str, process_ids: frozenset[int], *, with_processes: bool
) -> GpuSample:
    if isinstance(session, str):
        return GpuSample(uuid, problem=session)
    try:
        reading = session.read(uuid, process_ids, with_processes=with_processes)
    except nvml.GpuLost as error:
        return GpuSample(uuid, problem=str(error))
    listed = reading.process_ids
    return GpuSample(
        uuid=uuid,
        utilization_percent=reading.utilization_percent,
        memory_used_mib=reading.memory_used_mib,
        process_memory_mib=reading.process_memory_mib,
        power_watts=reading.power_watts,
        energy_joules=reading.energy_joules,
        temperature_celsius=reading.temperature_celsius,
        sm_clock_mhz=reading.sm_clock_mhz,
        throttle_reasons=None if reading.throttle_reasons is None else " ".join(reading.throttle_reasons) or "none",
        # A container numbers its processes anew: with none of ours in the list, it says nothing of others.
        other_processes=None if listed is None or process_ids.isdisjoint(listed) else len(set(listed) - process_ids),
    )


def main(arguments: list[str]) -> int:
    """Sample until the watched process or the parent ends, or the disk is full."""
    _, parent_pid, *_ = arguments
    lifetime.end_with(int(parent_pid))
    try:
        return _sample(arguments)
    except OSError as error:
        if not full_disk.is_cause(error):
            raise
        return full_disk.EXIT_CODE


def _sample(arguments: list[str]) -> int:
    pid, _, interval_seconds, path, cores, *gpu_uuids = arguments
    with ExitStack() as stack:
        file = stack.enter_context(Path(path).open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns(len(gpu_uuids)))
        session: nvml.Session | str = "no GPU to read"
        if gpu_uuids:
            try:
                session = stack.enter_context(nvml.Session())
            except nvml.NvmlUnavailable as error:
                session = f"NVML cannot be used: {error}"
        try:
            tree = ProcessTree(int(pid))
        except psutil.NoSuchProcess:
            return 0
        own_cores = [int(core) for core in cores.split(",")]
        for host, gpus in samples(tree, own_cores, session, gpu_uuids, float(interval_seconds)):
            values = [*astuple(host), *(value for gpu in gpus for value in astuple(gpu))]
            writer.writerow(["" if value is None else value for value in values])
            file.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
