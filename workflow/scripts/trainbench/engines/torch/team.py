"""Threads that do the parts of one piece of work side by side."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def nothing() -> None:
    """Wait for nobody."""


class Team:
    """Threads that each do a part of the work, every operation by one thread alone; one member needs no thread."""

    def __init__(self, members: int) -> None:
        self.members = members
        self._pool = ThreadPoolExecutor(members, initializer=torch.set_num_threads, initargs=(1,))

    def run(self, work: Callable[[int, Callable[[], object]], Any]) -> list[Any]:
        """What `work(number, meet)` gives for each member; in it, `meet()` waits for all members."""
        if self.members == 1:
            return [work(0, nothing)]
        barrier = threading.Barrier(self.members)

        def member(number: int) -> Any:
            try:
                return work(number, barrier.wait)
            except BaseException:
                barrier.abort()
                raise

        futures = [self._pool.submit(member, number) for number in range(self.members)]
        for failure in [future.exception() for future in futures]:
            # The others of the failed one's team only say that it did not come.
            if failure is not None and not isinstance(failure, threading.BrokenBarrierError):
                raise failure
        return [future.result() for future in futures]
