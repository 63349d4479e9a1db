"""The fixed computation keeps all cores busy at once, each thread on its own core."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from trainbench.machine import canary
from trainbench.run import launch

CORES = sorted(os.sched_getaffinity(0))
PATIENCE_SECONDS = 20.0


class Work:
    """Notes on which cores it runs, and how often; of all cores at once each waits for the others."""

    def __init__(self, cores: int) -> None:
        self.seen: list[frozenset[int]] = []
        self._all_here = threading.Barrier(cores)

    def __call__(self) -> None:
        self.seen.append(frozenset(os.sched_getaffinity(0)))
        if len(self.seen) % (1 + self._all_here.parties) != 1:  # the first of a round is alone
            self._all_here.wait(PATIENCE_SECONDS)


def test_each_round_runs_on_the_first_core_alone_and_then_on_all_at_the_same_time() -> None:
    work = Work(len(CORES))
    canary.measure(CORES, work)
    whole_round = [{CORES[0]}, *({core} for core in CORES)]
    rounds = [work.seen[: len(whole_round)], work.seen[len(whole_round) :]]
    assert [[seen[0], *sorted(seen[1:], key=min)] for seen in rounds] == [whole_round] * 2


def test_hashing_lets_the_other_cores_work() -> None:
    """Python takes its lock from nobody here: another thread has a turn only when the hashing one lets go of it."""
    hashed = threading.Event()

    def hash_all() -> None:
        canary._hash()
        hashed.set()

    thread = threading.Thread(target=hash_all)
    interval, turns = sys.getswitchinterval(), 0
    sys.setswitchinterval(1000.0)
    try:
        thread.start()
        while not hashed.is_set():
            turns += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert turns > 10


def test_every_time_is_known_and_above_zero() -> None:
    timing = canary.measure(CORES)
    times = (timing.alone_seconds, timing.alone_cpu_seconds, timing.together_seconds, timing.together_cpu_seconds)
    assert min(times) > 0


def test_the_process_keeps_its_cores() -> None:
    canary.measure(CORES[:1])
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_a_core_that_cannot_be_had_ends_the_computation_and_does_not_hang() -> None:
    with pytest.raises((OSError, threading.BrokenBarrierError)):
        canary.measure([CORES[0], 1_000_000])


def test_a_run_goes_on_where_its_cores_cannot_be_timed(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        assert launch._canary([1_000_000], log) is None
    assert "could not be timed" in (tmp_path / "log").read_text()
