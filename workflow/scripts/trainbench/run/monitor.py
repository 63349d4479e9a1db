"""Watches one run from outside: a process of its own that samples the run, the host and the run's GPUs into a CSV file.

Started by `launch` as `python -m trainbench.run.monitor PID PARENT_PID INTERVAL_SECONDS SAMPLES_CSV CORES
[GPU_UUID ...]`; CORES are the run's logical CPUs, as in `0,1`. It ends when the process PID ends or when its own parent
does. A value that cannot be read stays empty, and no reading ends it, whatever it says: what a value can be stands
beside its column, and is looked at where samples are summed up (`trainbench.run.usage`).
"""

import csv
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import psutil

from trainbench.files import full_disk
from trainbench.machine import lifetime, nvml, processes

_SLOW_READ_SECONDS: Final = 1.0
"""How often to read what is slow to read and changes slowly: new descendants, clock rates, lists of GPU processes."""

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


Value = TypeVar("Value")


@dataclass(frozen=True)
class Bounds:
    """What the readings of a column can be, on any machine; a reading beyond is unknown.

    Attributes:
        low, high: The least and the most; of a percentage of CPU time, `high` is None, for it depends on the machine.
        below_zero: Of a percentage of CPU time: whether it can be as far below zero as above.
        rises_by: Of a counter: by how much it can rise in a second; it never falls. Infinite for a clock.
    """

    low: float = 0.0
    high: float | None = None
    below_zero: bool = False
    rises_by: float | None = None


def _within(bounds: Bounds, **options: Any) -> Any:  # noqa: ANN401 - as dataclasses.field is typed
    return field(metadata={"bounds": bounds}, **options)


_CLOCK: Final = Bounds(high=2**63 / 1e9, rises_by=math.inf)
"""The kernel counts nanoseconds in 64 bits with a sign."""
_CPU_TIME: Final = Bounds()
_MEMORY_MIB: Final = Bounds(high=2.0**32)
"""52 bits, the longest physical address of x86-64 and Armv8, count 4 PiB."""
_CLOCK_MHZ: Final = Bounds(high=10_000.0)
_JOULES: Final = Bounds(high=math.inf, rises_by=100_000.0)
"""100 kW is more than any machine draws, and leaves room for counters that are brought up to date once a second."""


@dataclass(frozen=True)
class HostSample:
    """The run's process tree and the rest of the host; percentages are of one core, over the time since the sample
    before, except `cpu_pressure_percent`: the share of that time in which some process waited for a core.
    `other_cpu_percent` is a difference of coarse counters and below zero now and then: cutting that off here would
    raise every mean, and would keep the time of a new descendant that was taken for another program's at first.
    `unreadable` says which readings could not be understood, and why. Columns without bounds are texts.
    """

    monotonic_seconds: float = _within(_CLOCK)
    cpu_percent: float | None = _within(_CPU_TIME)
    resident_memory_mib: float | None = _within(_MEMORY_MIB)
    process_threads: int | None = _within(Bounds(1, nvml.HIGHEST_PROCESS_ID))
    other_cpu_percent: float | None = _within(Bounds(below_zero=True))
    other_on_cores_percent: float | None = _within(Bounds(below_zero=True))
    cpu_pressure_percent: float | None = _within(_CPU_TIME)
    steal_percent: float | None = _within(_CPU_TIME)
    cpu_mhz: float | None = _within(_CLOCK_MHZ)
    cpu_energy_joules: float | None = _within(_JOULES)
    unreadable: str | None = None


@dataclass(frozen=True)
class GpuSample:
    """One GPU of the run; `energy_joules` counts since the driver was loaded; `problem` is why a card is not read.

    `unreadable` says which readings could not be understood, and why. Columns without bounds are texts.
    """

    uuid: str
    utilization_percent: float | None = _within(Bounds(high=100.0), default=None)
    memory_used_mib: float | None = _within(_MEMORY_MIB, default=None)
    process_memory_mib: float | None = _within(_MEMORY_MIB, default=None)
    power_watts: float | None = _within(Bounds(high=10_000.0), default=None)
    energy_joules: float | None = _within(_JOULES, default=None)
    temperature_celsius: float | None = _within(Bounds(-50.0, 200.0), default=None)
    sm_clock_mhz: float | None = _within(_CLOCK_MHZ, default=None)
    throttle_reasons: str | None = None
    other_processes: int | None = _within(Bounds(high=nvml.HIGHEST_PROCESS_ID), default=None)
    problem: str | None = None
    unreadable: str | None = None


def bounds(gpu_count: int) -> dict[str, Bounds | None]:
    """What the readings of each column can be, in the order of the samples file; None of a column of texts."""
    of_host = {field.name: field for field in fields(HostSample)}
    of_gpus = {f"gpu{number}_{field.name}": field for number in range(gpu_count) for field in fields(GpuSample)}
    return {name: field.metadata.get("bounds") for name, field in {**of_host, **of_gpus}.items()}


def columns(gpu_count: int) -> list[str]:
    """Header of the samples file: the host's columns, then each GPU's as `gpu0_...`, `gpu1_...`."""
    return list(bounds(gpu_count))


class _Attempts:
    """Takes readings, and notes what was wrong with those that could not be understood: they are unknown."""

    def __init__(self) -> None:
        self._failures: list[str] = []

    def take(self, name: str, read: Callable[[], Value]) -> Value | None:
        """What `read` gives, or None where it fails, for whatever reason but that the watched process has ended."""
        try:
            return read()
        except psutil.NoSuchProcess:
            raise
        except Exception as error:
            self._failures.append(f"{name}: {error or type(error).__name__}")
            return None

    @property
    def failures(self) -> str | None:
        """All that failed since it was asked last, as one text."""
        text, self._failures = "; ".join(self._failures), []
        return text or None


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
        for pid in processes.descendants(self._root.pid, psutil.PROCFS_PATH):
            with suppress(psutil.NoSuchProcess):
                self.members.append(psutil.Process(pid))

    def read(self) -> tuple[float, float, int]:
        """CPU seconds so far, resident MiB and threads of the tree.

        Raises:
            psutil.NoSuchProcess: the tree's root has ended.
            psutil.AccessDenied: the root cannot be read; a descendant that cannot be, is left out.
        """
        cpu_seconds, memory, threads = 0.0, 0, 0
        for process in self.members:
            try:
                with process.oneshot():
                    if process is self._root and process.status() == psutil.STATUS_ZOMBIE:
                        raise psutil.NoSuchProcess(process.pid)  # noqa: TRY301 - as where it is gone already
                    times = process.cpu_times()
                    cpu_seconds += times.user + times.system + times.children_user + times.children_system
                    memory += process.memory_info().rss
                    threads += process.num_threads()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                # One that has ended, or works as another user: what it does then counts as another program's.
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
        some = (root / "proc/pressure/cpu").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    return int(some.rpartition("total=")[2]) / 1e6


def cpu_mhz(cores: Collection[int], root: Path = Path("/")) -> float | None:
    """Mean clock of `cores` as the frequency driver has it, or None where there is none."""
    clocks = []
    for core in cores:
        path = root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"
        try:
            text = path.read_text(encoding="ascii")
        except OSError:
            return None
        clocks.append(int(text) / 1000)
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
    """How far a counter has come; one that went back has passed its end, `limit`, and begun anew.

    One that went back for another reason rises by far more than its bounds allow.
    """
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
        text = path.read_text(encoding="ascii")
    except OSError:
        return None
    return int(text)


@dataclass(frozen=True)
class _Counted:
    """What had been counted at one moment, in seconds: of the run, of the host, of the monitor itself."""

    at: float
    tree: float | None
    host: HostCounters | None
    own: float


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
    attempts = _Attempts()
    rapl = attempts.take("energy of the CPU", lambda: Rapl(root))
    before: _Counted | None = None
    due = next_slow_read = time.monotonic()
    while True:
        now = time.monotonic()
        slow = now >= next_slow_read
        try:
            if slow:
                next_slow_read = now + _SLOW_READ_SECONDS
                attempts.take("processes", tree.find_descendants)
            reading = attempts.take("the run's processes", tree.read)
        except psutil.NoSuchProcess:
            return
        tree_seconds, memory, threads = reading or (None, None, None)
        counters = attempts.take("/proc/stat", lambda: HostCounters.read(cores, root))
        count = _Counted(now, tree_seconds, counters, time.process_time())
        percent, other, other_on_cores, pressure, steal = _percentages(before, count)
        before = count
        clock = attempts.take("cpufreq", lambda: cpu_mhz(cores, root)) if slow else None
        joules = attempts.take("energy of the CPU", rapl.joules) if rapl else None
        host = HostSample(
            *(now, percent, memory, threads, other, other_on_cores, pressure, steal, clock, joules, attempts.failures)
        )
        yield host, [_gpu_sample(session, uuid, tree.process_ids, with_processes=slow) for uuid in gpu_uuids]
        # Sleep until the next whole interval: a slow reading delays one sample, not all that follow.
        due += interval_seconds * max(1, -(-(time.monotonic() - due) // interval_seconds))
        time.sleep(max(0.0, due - time.monotonic()))


def _percentages(before: _Counted | None, now: _Counted) -> tuple[float | None, ...]:
    """CPU time since `before` in percent: the run's, others', others' on the run's cores, waiting, stolen."""
    if before is None:
        return (None,) * 5
    elapsed = now.at - before.at
    tree = None if now.tree is None or before.tree is None else max(0.0, now.tree - before.tree)
    percent = None if tree is None else 100 * tree / elapsed
    if now.host is None or before.host is None:
        return percent, None, None, None, None
    other = other_on_cores = pressure = None
    if tree is not None:
        other = 100 * (now.host.busy - before.host.busy - tree - (now.own - before.own)) / elapsed
        other_on_cores = 100 * (now.host.busy_on_cores - before.host.busy_on_cores - tree) / elapsed
    if now.host.pressure is not None and before.host.pressure is not None:
        pressure = 100 * (now.host.pressure - before.host.pressure) / elapsed
    return percent, other, other_on_cores, pressure, 100 * (now.host.steal - before.host.steal) / elapsed


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
        other_processes=len(set(listed or ()) - process_ids) if tells else None,
        unreadable=f"list of processes: process number {impossible[0]}" if impossible else None,
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
