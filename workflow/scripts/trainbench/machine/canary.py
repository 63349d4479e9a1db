"""Times a fixed computation on a run's cores, alone and all at once: is the machine as fast as before, and each core?

Virtual cores can be two threads of one physical core without the machine being told: each is as fast as ever while the
other rests, and both are slow at once. So one core computes alone first, then all at once.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

# Fits into the cache of any core, so that memory, which cores share by nature, plays no part; and hashing so much at a
# time, for which hashlib lets go of Python's lock, takes a hundred times as long as a turn at that lock.
_BLOCK: Final = bytes(2**18)
_BLOCKS: Final = 200
_ROUNDS: Final = 2


@dataclass(frozen=True)
class Timing:
    """What the computation took: on the first core alone, and on the slowest of all cores at once.

    `..._cpu_seconds` are CPU time, of the faster round. Other programs of this machine do not add to it, as they do to
    the clock's, but what slows down the core itself does: a lower clock, or another thread on the same physical core.
    """

    alone_seconds: float
    alone_cpu_seconds: float
    together_seconds: float
    together_cpu_seconds: float


def _hash() -> None:
    digest = hashlib.blake2b()
    for _ in range(_BLOCKS):
        digest.update(_BLOCK)


def measure(cores: Sequence[int], work: Callable[[], object] = _hash) -> Timing:
    """Time hashing 100 MiB with BLAKE2b, about 0.1 s on a core of 2020, alone and on all; `work` is half of it.

    Raises:
        OSError, RuntimeError: a thread could not be started or bound to its core.
    """
    rounds = [(*_at_once(cores[:1], work), *_at_once(cores, work)) for _ in range(_ROUNDS)]
    alone, alone_cpu, together, together_cpu = zip(*rounds, strict=True)
    return Timing(sum(alone), min(alone_cpu), sum(together), min(together_cpu))


def _at_once(cores: Sequence[int], work: Callable[[], object]) -> tuple[float, float]:
    """Seconds and CPU seconds of `work` on the slowest core; all begin together."""
    all_ready = threading.Barrier(len(cores))

    def timed(core: int) -> tuple[float, float]:
        try:
            os.sched_setaffinity(0, {core})  # of this thread alone
        except OSError:
            all_ready.abort()
            raise
        all_ready.wait()
        began, cpu_began = time.monotonic(), time.thread_time()
        work()
        return time.monotonic() - began, time.thread_time() - cpu_began

    with ThreadPoolExecutor(len(cores)) as pool:
        try:
            timings = [pool.submit(timed, core) for core in cores]
        except RuntimeError:  # no more threads
            all_ready.abort()
            raise
        seconds, cpu_seconds = zip(*(timing.result() for timing in timings), strict=True)
        return max(seconds), max(cpu_seconds)
