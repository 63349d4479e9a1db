"""Reads what the kernel has counted: of a run's processes, of the host's CPUs, of their energy.

What cannot be read is None; a ValueError says that something is there which cannot be understood.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

from trainbench.machine import processes
from trainbench.machine.kernel_files import CPUS, text

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


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
        # Total time in which some process waited for a core (kernel's Documentation/accounting/psi.rst).
        told = text(root / "proc/pressure/cpu")
        waited = None if told is None else int(told.partition("\n")[0].rpartition("total=")[2]) / 1e6
        return cls(busy, busy_on_cores, steal, waited)


def cpu_mhz(cores: Collection[int], root: Path = Path("/")) -> float | None:
    """Mean clock of `cores` as the frequency driver has it, or None where there is none."""
    clocks_khz = [_number(root / CPUS / f"cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    known = [clock / 1000 for clock in clocks_khz if clock is not None]
    return sum(known) / len(known) if len(known) == len(clocks_khz) > 0 else None


class Rapl:
    """Energy that all CPU packages have used since this was made, from the kernel's powercap counters (mostly root's).

    Source: Linux, Documentation/power/powercap/powercap.rst.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        # Other zones are parts of a package, or the whole platform ("psys"), which has the packages in it.
        self._zones = [zone for zone in zones if (text(zone / "name") or "").startswith("package")]
        self._last = self._read("energy_uj")
        self._range = self._read("max_energy_range_uj")
        self._microjoules = 0

    def joules(self) -> float | None:
        """Joules since the start, or None where a counter cannot be read."""
        now = self._read("energy_uj")
        rises = [_rise(*counter) for counter in zip(self._last, now, self._range, strict=True)]
        known = [rise for rise in rises if rise is not None]
        if not known or len(known) < len(rises):
            return None
        self._last = now
        self._microjoules += sum(known)
        return self._microjoules / 1e6

    def _read(self, name: str) -> list[int | None]:
        return [_number(zone / name) for zone in self._zones]


def _rise(before: int | None, after: int | None, limit: int | None) -> int | None:
    """How far a counter has come; one that went back has passed its end, `limit`, and begun anew.

    One that went back for another reason rises by far more than its bounds allow.
    """
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    return None if limit is None else after - before + limit


def _number(path: Path) -> int | None:
    told = text(path)
    return None if told is None else int(told)
