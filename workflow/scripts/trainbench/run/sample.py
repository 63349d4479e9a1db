"""Says what a sample of a run holds, and what each of its readings can be."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Final

from trainbench.machine import nvml


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
