"""Finds what a device can do at most: how large two probes are and how often they run, whatever the framework."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from trainbench.engines.shared.interface import Ceilings, OutOfMemory
from trainbench.machine import host
from trainbench.networks.models import BYTES_PER_FLOAT32

PROBE_SECONDS: Final = 0.35
"""Time for one of the two probes, preparation counted; it may take a repetition longer."""

LEAST_REPETITIONS: Final = 2

LONG_ENOUGH_SECONDS: Final = 0.02
"""A probe grows until a call takes as long: starting one takes 0.1 ms, and small matrices do not fill a large GPU."""

FIRST_SIZE: Final = 512
MOST_SIZE: Final = 8192
"""Rows of the matrices. A call of the largest takes 15 ms on a GPU of 70 TFLOP/s, three of them 0.75 GiB."""

ARRAY_CACHES: Final = 4
"""STREAM's rule: each array has at least four times the size of all last-level caches that the run uses.

Source: J. D. McCalpin, "Memory bandwidth and machine balance in current high performance computers" (IEEE TCCA
Newsletter, 1995) and the run rules in stream.c, https://www.cs.virginia.edu/stream/.
"""

UNKNOWN_CACHE_BYTES: Final = 128 * 2**20
"""Taken for a GPU, which does not tell: as much as the largest second-level caches of today, 126 MB on a B200."""

MOST_ARRAY_BYTES: Final = 2**30
SHARE_OF_FREE_MEMORY: Final = 1 / 8
"""Of one probe: it shall not get in the way of what else lies there."""


@dataclass(frozen=True)
class Room:
    """What bounds the probes' sizes: the device's free memory, None where unknown, and the caches in front of it."""

    free_bytes: float | None
    cache_bytes: int


class Probes(Protocol):
    """The two probes in a framework's own code; a call returns when the device has finished."""

    def product(self, size: int) -> Callable[[], None]:
        """Put two square matrices of `size` rows on the device; a call multiplies them in the run's precision."""

    def addition(self, values: int) -> Callable[[int], None]:
        """Put two arrays of so many float32 on the device; a call adds one to the other in place, so many times."""


def room(kind: str) -> Room:
    """What bounds the probes on this process' own device of `kind` ("cpu" or "gpu"), as it is now."""
    if kind == "cpu":
        caches = host.last_level_cache_bytes(os.sched_getaffinity(0))
        return Room(host.available_memory_mib() * host.BYTES_PER_MIB, caches or UNKNOWN_CACHE_BYTES)
    # Imported late: a run on a CPU shall not need pynvml.
    from trainbench.machine import nvml

    try:
        with nvml.Session() as session:
            # The probes run on the first of a run's cards.
            first_card, *_ = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            free_bytes = session.free_memory_bytes(first_card)
    except (nvml.NvmlUnavailable, nvml.GpuLost):
        free_bytes = None
    return Room(free_bytes, UNKNOWN_CACHE_BYTES)


def measure(probes: Probes, room: Room, clock: Callable[[], float] = time.monotonic) -> Ceilings:
    """The device's ceilings, in `2 * PROBE_SECONDS` and what preparing the probes takes beyond.

    The bytes are those of STREAM's Sum, done in place: for each value two are read and one is written. A plain copy
    would not do: whether the processor first reads what a copy overwrites depends on the instructions chosen, so the
    bytes that move are not known; here the target is read anyway. And a copy into new memory, as frameworks make it,
    would measure the kernel's page faults.

    Raises:
        OutOfMemory: too little memory is free for arrays that no cache holds.
    """
    began = clock()
    free_bytes = float("inf") if room.free_bytes is None else room.free_bytes * SHARE_OF_FREE_MEMORY
    array_bytes = int(min(ARRAY_CACHES * room.cache_bytes, MOST_ARRAY_BYTES, free_bytes / 2))
    if array_bytes < room.cache_bytes:
        raise OutOfMemory(
            f"two arrays of {array_bytes / 2**20:.0f} MiB are all that the free memory allows, expected more than the "
            f"caches' {room.cache_bytes / 2**20:.0f} MiB each"
        )
    values = array_bytes // BYTES_PER_FLOAT32
    flop_per_second, size = _product_rate(probes, free_bytes, clock)
    return Ceilings(
        flop_per_second=flop_per_second,
        bytes_per_second=_addition_rate(probes, values, clock),
        product_size=size,
        array_bytes=values * BYTES_PER_FLOAT32,
        seconds=clock() - began,
    )


def _product_rate(probes: Probes, free_bytes: float, clock: Callable[[], float]) -> tuple[float, int]:
    """FLOP a second of the largest product that time and memory allow, and its size."""
    ends_at = clock() + PROBE_SECONDS
    size = FIRST_SIZE
    call = probes.product(size)
    while (seconds := _warm_seconds(call, clock)) < LONG_ENOUGH_SECONDS and 2 * size <= MOST_SIZE:
        if 3 * BYTES_PER_FLOAT32 * (2 * size) ** 2 > free_bytes:
            break
        size *= 2
        call = probes.product(size)
    return 2 * size**3 / _fastest(call, seconds, ends_at, clock), size


def _addition_rate(probes: Probes, values: int, clock: Callable[[], float]) -> float:
    """Bytes a second."""
    ends_at = clock() + PROBE_SECONDS
    call = probes.addition(values)
    times = 1
    while (seconds := _warm_seconds(partial(call, times), clock)) < LONG_ENOUGH_SECONDS:
        times *= 2
    fastest = _fastest(partial(call, times), seconds, ends_at, clock)
    return 3 * BYTES_PER_FLOAT32 * values * times / fastest


def _warm_seconds(call: Callable[[], None], clock: Callable[[], float]) -> float:
    """Seconds of the second call: the first one compiles, and touches memory that is new."""
    call()
    return _seconds(call, clock)


def _fastest(call: Callable[[], None], seconds: float, ends_at: float, clock: Callable[[], float]) -> float:
    """Seconds of the fastest call, `seconds` among them.

    The fastest, not the median: this is a ceiling, and whatever disturbs a call can only make it slower. STREAM takes
    the fastest for the same reason.
    """
    repetitions = 1
    while clock() < ends_at or repetitions < LEAST_REPETITIONS:
        seconds = min(seconds, _seconds(call, clock))
        repetitions += 1
    return seconds


def _seconds(call: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return clock() - began
