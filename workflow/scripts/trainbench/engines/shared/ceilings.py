"""Finds what a device can do at most: how large two probes are and how often they run, whatever the framework."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
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
    size, product_seconds = _fastest(_products(probes, free_bytes), clock)
    times, addition_seconds = _fastest(_additions(probes, values), clock)
    return Ceilings(
        flop_per_second=2 * size**3 / product_seconds,
        bytes_per_second=3 * BYTES_PER_FLOAT32 * values * times / addition_seconds,
        product_size=size,
        array_bytes=values * BYTES_PER_FLOAT32,
        seconds=clock() - began,
    )


def _products(probes: Probes, free_bytes: float) -> Iterator[tuple[int, Callable[[], None]]]:
    """The products that memory allows, each of twice the size of the one before."""
    size = FIRST_SIZE
    while size == FIRST_SIZE or (size <= MOST_SIZE and 3 * BYTES_PER_FLOAT32 * size**2 <= free_bytes):
        yield size, probes.product(size)
        size *= 2


def _additions(probes: Probes, values: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """So many additions one after another, each time twice as many."""
    call = probes.addition(values)
    for doublings in itertools.count():
        yield 2**doublings, partial(call, 2**doublings)


def _fastest(growing: Iterator[tuple[int, Callable[[], None]]], clock: Callable[[], float]) -> tuple[int, float]:
    """The size of the first call that takes long enough, or of the last, and its seconds where it was fastest.

    The fastest, not the median: this is a ceiling, and whatever disturbs a call can only make it slower. STREAM takes
    the fastest for the same reason.
    """
    ends_at = clock() + PROBE_SECONDS
    for size, call in growing:  # noqa: B007 - the last one counts
        call()  # compiles, and touches memory that is new
        seconds = _seconds(call, clock)
        if seconds >= LONG_ENOUGH_SECONDS:
            break
    repetitions = 1
    while clock() < ends_at or repetitions < LEAST_REPETITIONS:
        seconds = min(seconds, _seconds(call, clock))
        repetitions += 1
    return size, seconds


def _seconds(call: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return clock() - began
