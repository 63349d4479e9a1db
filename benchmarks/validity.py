"""Shows that what watches a run is cheap, notices a neighbour, and leaves nothing behind.

    .venv/bin/python benchmarks/validity.py overhead     # runs with and without the monitor, in pairs
    .venv/bin/python benchmarks/validity.py neighbours   # runs beside a busy program, and on the quiet machine
    .venv/bin/python benchmarks/validity.py leases       # 1,000 leases of 4 devices by 12 processes that get killed
    .venv/bin/python benchmarks/validity.py kills        # 50 training processes killed at random moments

Each prints a table; exit code 1 when a goal is missed. Keep the machine idle meanwhile.
"""

import argparse
import contextlib
import math
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil
from scipy import stats

import one_run
from trainbench.errors import RunFailed
from trainbench.machine import gpu_lease
from trainbench.run import launch

MONITOR_SLOWDOWN_GOAL: Final = 0.005
BLOCK_SECONDS: Final = 4.0
MONITOR_CPU_GOAL_PERCENT: Final = 2.0
MONITOR_MEMORY_GOAL_MIB: Final = 60.0
DISTURBANCE_CHECKS: Final = {"other_load", "cpu_pressure"}


def overhead(pairs: int, folder: Path) -> bool:
    """Seconds an epoch with the monitor over without it: runs in pairs, and within single runs, and its own cost.

    Runs differ by more than what is looked for. So the second comparison pauses and resumes (SIGSTOP, SIGCONT) the
    monitor of one long run again and again and compares neighbouring blocks of epochs.
    """
    print("| cell | compared | pairs | median slowdown (%) | 95 % interval of the mean (%) |", flush=True)
    print("|---|---|---|---|---|", flush=True)
    reached = True
    for model, batch_size, epochs, long_epochs in (("logistic", 128, 60, 3000), ("lstm", 512, 5, 120)):
        cell = f"{model} {batch_size}"
        ratios = [_ratio_of_a_pair(folder, model, batch_size, epochs, repeat) for repeat in range(1, pairs + 1)]
        _print_slowdown(cell, "two runs", ratios)
        ratios = _ratios_within_a_run(folder, model, batch_size, long_epochs)
        reached &= _print_slowdown(cell, "blocks of a run", ratios) <= MONITOR_SLOWDOWN_GOAL
    cpu_percent, memory_mib = _cost_of_the_monitor(folder)
    print(f"\nThe monitor uses {cpu_percent:.2f} % of a core and {memory_mib:.0f} MiB.")
    return reached and cpu_percent <= MONITOR_CPU_GOAL_PERCENT and memory_mib <= MONITOR_MEMORY_GOAL_MIB


def _print_slowdown(cell: str, compared: str, ratios: Sequence[float]) -> float:
    """Print a row; the median slowdown as a share."""
    logarithms = [math.log(ratio) for ratio in ratios]
    error = statistics.stdev(logarithms) / math.sqrt(len(ratios))
    half_width = float(stats.t.ppf(0.975, len(ratios) - 1)) * error
    low, high = (100 * (math.exp(statistics.mean(logarithms) + side * half_width) - 1) for side in (-1, 1))
    median = statistics.median(ratios) - 1
    print(f"| {cell} | {compared} | {len(ratios)} | {100 * median:+.2f} | {low:+.2f} to {high:+.2f} |", flush=True)
    return median


def _ratio_of_a_pair(folder: Path, model: str, batch_size: int, epochs: int, repeat: int) -> float:
    """Seconds an epoch of a watched run over those of one with the same seed that nothing watches, in random order."""
    seconds = {}
    for watched in random.sample([True, False], 2):
        change: dict[str, Any] = {} if watched else {"monitor_interval_seconds": None}
        metrics = one_run.measured(one_run.task(folder, model, batch_size, epochs, repeat, **change))
        seconds[watched] = statistics.median(epoch["train_seconds"] for epoch in metrics["epochs"][1:])
    return seconds[True] / seconds[False]


def _ratios_within_a_run(folder: Path, model: str, batch_size: int, epochs: int) -> list[float]:
    """Mean seconds of epochs with the monitor at work over those of the neighbouring block with it paused."""
    blocks: list[tuple[bool, float, float]] = []
    ended = threading.Event()
    pausing = threading.Thread(target=_pause_now_and_then, args=(blocks, ended))
    pausing.start()
    try:
        metrics = one_run.measured(one_run.task(folder, model, batch_size, epochs))
    finally:
        ended.set()
        pausing.join()
    windows = [(epoch["train_window_monotonic_seconds"], epoch["train_seconds"]) for epoch in metrics["epochs"][1:]]
    ratios = []
    for pair in zip(blocks[0::2], blocks[1::2], strict=False):
        means = {}
        for watched, begin, end in pair:
            inside = [seconds for window, seconds in windows if begin <= window[0] and window[1] <= end]
            if inside:
                means[watched] = statistics.mean(inside)
        if len(means) == len(pair):
            ratios.append(means[True] / means[False])
    return ratios


def _pause_now_and_then(blocks: list[tuple[bool, float, float]], ended: threading.Event) -> None:
    """Let the monitor work and pause in turn, which first being random, and note when it did which."""
    while not _children("trainbench.run.monitor"):
        if ended.wait(0.1):
            return
    (monitor,) = _children("trainbench.run.monitor")
    while not ended.is_set():
        for watched in random.sample([True, False], 2):
            try:
                monitor.send_signal(signal.SIGCONT if watched else signal.SIGSTOP)
            except psutil.NoSuchProcess:
                return
            begin = time.monotonic()
            ended.wait(BLOCK_SECONDS)
            blocks.append((watched, begin, time.monotonic()))
    with contextlib.suppress(psutil.NoSuchProcess):
        monitor.send_signal(signal.SIGCONT)


def _cost_of_the_monitor(folder: Path, seconds: float = 20.0) -> tuple[float, float]:
    """CPU percent and resident MiB of a monitor that samples ten times a second."""
    watched = subprocess.Popen(["sleep", str(seconds + 10)])  # noqa: S607 - any process will do
    arguments = [str(watched.pid), str(os.getpid()), "0.1", str(folder / "cost.csv"), "0"]
    environment = {**os.environ, "PYTHONPATH": str(one_run.PACKAGE_FOLDER)}
    monitor = subprocess.Popen([sys.executable, "-m", "trainbench.run.monitor", *arguments], env=environment)
    process = psutil.Process(monitor.pid)
    time.sleep(2)  # its start is not what a run feels
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, memory = process.cpu_times(), process.memory_info().rss
    elapsed = time.monotonic() - began
    watched.kill()
    watched.wait()
    monitor.wait()
    return 100 * (after.user + after.system - before.user - before.system) / elapsed, memory / 2**20


def neighbours(runs: int, folder: Path) -> bool:
    """How many runs are flagged beside a program that keeps a core busy from their middle on, and without it."""
    epochs = 60
    flagged = {True: 0, False: 0}
    print("| run | neighbour | flags |\n|---|---|---|", flush=True)
    for number in range(1, runs + 1):
        for busy in random.sample([True, False], 2):
            task = one_run.task(folder, "logistic", 128, epochs, number)
            task.log.unlink(missing_ok=True)
            ended = threading.Event()
            neighbour = threading.Thread(target=_busy_from_the_middle, args=(task.log, epochs // 2, ended))
            if busy:
                neighbour.start()
            metrics = one_run.measured(task)
            ended.set()
            if busy:
                neighbour.join()
            names = [check["name"] for check in metrics["checks"] if check["level"] != "info"]
            flagged[busy] += bool(DISTURBANCE_CHECKS & set(names))
            print(f"| {number} | {'busy' if busy else 'none'} | {' '.join(names) or '-'} |", flush=True)
    print(f"\nflagged: {flagged[True]} of {runs} with a busy neighbour, {flagged[False]} of {runs} without")
    return flagged[True] == runs and flagged[False] <= runs / 20


def _busy_from_the_middle(log: Path, epoch: int, ended: threading.Event) -> None:
    while not ended.wait(0.01):
        if log.exists() and f"epoch {epoch}/" in log.read_text(encoding="utf-8"):
            program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            ended.wait()
            program.kill()
            program.wait()


def leases(count: int, folder: Path) -> bool:
    """Leases by processes of which some are killed while they hold one: overlaps, losses, locks left over."""
    devices, workers, kill_every = [f"GPU-{number}" for number in range(4)], 12, 20
    owners = multiprocessing.RawArray("i", len(devices))
    # Each worker counts for itself: a shared counter's own lock would stay with a worker that is killed.
    acquired, overlaps = multiprocessing.RawArray("i", workers), multiprocessing.RawArray("i", workers)

    def work(worker: int) -> None:
        while sum(acquired) < count:
            with gpu_lease.leased(devices, 1, folder, lambda _: None, wait_limit_seconds=60) as lease:
                number = devices.index(lease.uuids[0])
                # Plain reads and writes: the lease alone has to keep others out.
                holder = owners[number]
                if holder not in (0, os.getpid()) and _lives_on(holder):
                    overlaps[worker] += 1
                owners[number] = os.getpid()
                acquired[worker] += 1
                time.sleep(random.uniform(0.0, 0.01))
                if owners[number] != os.getpid():
                    overlaps[worker] += 1
                owners[number] = 0

    def started(worker: int) -> multiprocessing.Process:
        process = multiprocessing.Process(target=work, args=(worker,))
        process.start()
        return process

    processes, killed, next_kill = [started(worker) for worker in range(workers)], 0, kill_every
    while any(process.is_alive() for process in processes):
        if next_kill <= sum(acquired) < count:
            victim = random.randrange(workers)
            processes[victim].kill()
            processes[victim].join()
            processes[victim] = started(victim)
            killed, next_kill = killed + 1, next_kill + kill_every
        time.sleep(0.002)
    free = 0
    for device in devices:
        with gpu_lease.leased([device], 1, folder, lambda _: None, wait_limit_seconds=1):
            free += 1
    print("| leases | processes | devices | killed | overlaps | free at the end |\n|---|---|---|---|---|---|")
    print(f"| {sum(acquired)} | {workers} | {len(devices)} | {killed} | {sum(overlaps)} | {free} |")
    return sum(acquired) >= count and sum(overlaps) == 0 and free == len(devices)


def _lives_on(pid: int) -> bool:
    """Whether a process is there for another second: one that is being killed drops its locks before it is gone."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.01)
    return True


def kills(tries: int, folder: Path) -> bool:
    """Training processes killed at a random moment: how many monitors and training processes outlive them."""
    left_over = failed = 0
    for _ in range(tries):
        killer = threading.Thread(target=_kill_training, args=(random.uniform(0.2, 6.0),))
        killer.start()
        try:
            launch.run(one_run.task(folder, "lstm", 512, 20), announce=lambda _: None)
        except RunFailed:
            failed += 1
        killer.join()
        left_over += len(_children("trainbench.run.monitor")) + len(_children("trainbench.run.training"))
    print("| tries | runs that failed as killed | processes left over |\n|---|---|---|")
    print(f"| {tries} | {failed} | {left_over} |")
    return left_over == 0 and failed == tries


def _kill_training(after_seconds: float) -> None:
    time.sleep(after_seconds)
    for process in _children("trainbench.run.training"):
        process.send_signal(signal.SIGKILL)


def _children(module: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if module in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that is asked for."""
    benchmarks = {
        "overhead": (overhead, 10),
        "neighbours": (neighbours, 20),
        "leases": (leases, 1000),
        "kills": (kills, 50),
    }
    parser = argparse.ArgumentParser(description="Show that what watches a run is cheap and sees what disturbs it.")
    parser.add_argument("benchmark", choices=benchmarks)
    parser.add_argument("--count", type=int, help="pairs, runs, leases or tries (default: as the goals ask)")
    parsed = parser.parse_args(arguments)
    benchmark, count = benchmarks[parsed.benchmark]
    with tempfile.TemporaryDirectory(prefix="trainbench-validity-") as folder:
        os.environ["TRAINBENCH_LEASE_FOLDER"] = folder
        reached = benchmark(parsed.count or count, Path(folder))
    print(f"\ngoals {'reached' if reached else 'missed'}")
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
