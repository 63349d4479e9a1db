"""Starts a run's training process and its monitor, and waits for both.

What the training prints goes to the log and, now and then, to the terminal; what is wrong with it ends the run.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TextIO

from trainbench.errors import InputError, RunFailed
from trainbench.files import full_disk
from trainbench.machine import control_groups, nvml, processes
from trainbench.machine.core_lease import CoreLease
from trainbench.machine.gpu_lease import Lease
from trainbench.run import journal, progress
from trainbench.run.task import Task

TERMINAL_INTERVAL_SECONDS: Final = 10.0
LOG_TAIL_LINES: Final = 15
MONITOR_END_SECONDS: Final = 10.0
KILL_SECONDS: Final = 10.0
"""How long to wait for a process that was killed: one that waits inside a driver may never end."""

_NOT_PRELOADED: Final = "from LD_PRELOAD cannot be preloaded"
"""What glibc's ld.so says of a library that it then does without: the run would be recorded as having had it."""

_OUT_OF_HOST_MEMORY: Final = (
    "the kernel killed the training process because the host, or its control group, had no memory left"
)

Process = subprocess.Popen[Any]


@dataclass(frozen=True)
class Place:
    """What a run holds while it trains; `told` is what its training process has to know of it (`training.Request`)."""

    cores: CoreLease
    gpus: Lease
    environment: Mapping[str, str]
    monitor_environment: Mapping[str, str]
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What was seen of a run while it trained.

    `gpu_listed` says whether NVML lists its process on its cards, None where it cannot tell or there are none;
    `stopped_in` are the epochs of this process, counted from 0, in which it was stopped and continued; `monitor_end` is
    how the monitor ended ("ended with signal 9"), None where it ended with the training.
    """

    gpu_listed: bool | None
    stopped_in: Sequence[int]
    monitor_end: str | None


def train(task: Task, place: Place, log: TextIO, announce: Callable[[str], None]) -> tuple[dict[str, Any], Seen]:
    """Start the training process and the monitor, and wait for both; returns the training's answer and what was seen.

    Raises:
        InputError: the disk is full, the run computes elsewhere than on its GPUs, or a library that its device preloads
            is not there.
        RunFailed: there is no answer, or no progress.
    """
    request = task.unfinished / "request.json"
    task.notes.unlink(missing_ok=True)
    kills_before = control_groups.oom_kills()
    fields = {
        "settings": task.settings,
        "dataset": str(task.dataset),
        **place.told,
        "launcher_pid": os.getpid(),
        "launched_at": time.monotonic(),
        "state": str(task.unfinished / "state.safetensors"),
    }
    request.write_text(json.dumps(fields), encoding="utf-8")
    # Both processes end by themselves when this one dies; leaving the block covers the ways in which it does not.
    with ExitStack() as stack:
        training = stack.enter_context(
            _started(
                ["trainbench.run.training", str(request), str(task.notes)],
                place.environment,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                pass_fds=[*place.cores.descriptors, *place.gpus.descriptors],
            )
        )
        watching = stack.enter_context(_monitor(task, training.pid, place, log))
        stops: list[float] = []
        threading.Thread(target=_note_stops, args=(training.pid, stops), daemon=True).start()
        gpu_listed, epochs_seen, stops_seen = None, 0, 0
        stopped_in: list[int] = []
        for line in _output(training, task, log, announce):
            if _NOT_PRELOADED in line:
                raise InputError(f"{task.name}: {line.strip()}{task.suspicion}")
            if line.startswith("epoch "):
                if len(stops) > stops_seen:
                    stopped_in.append(epochs_seen)
                    stops_seen = len(stops)
                if place.gpus.uuids and not epochs_seen:
                    gpu_listed = _gpus_list(place.gpus.uuids, training.pid)
                    if gpu_listed is False:
                        shutil.rmtree(task.unfinished, ignore_errors=True)
                        raise InputError(
                            f"{task.name}: after the first epoch NVML lists the run's process, but not on each GPU "
                            f"that it leased ({', '.join(place.gpus.uuids)}), so it computes elsewhere; compare "
                            f"{task.log} with nvidia-smi"
                        )
                epochs_seen += 1
            _demand_room(watching, task)
        code = training.wait()
        if watching is not None:
            # It ends by itself, unless a card that fell off the bus holds it up.
            with suppress(subprocess.TimeoutExpired):
                watching.wait(MONITOR_END_SECONDS)
        _demand_room(watching, task)
        _demand_room(training, task)
        answer, kills = journal.read(task.notes), control_groups.oom_kills()
        killed = code == -signal.SIGKILL and kills_before is not None and kills is not None and kills > kills_before
        if "status" not in answer and killed:
            # Whoever else kills the process, the kernel does not count it among those killed for lack of memory.
            answer |= {"status": "out_of_memory", "message": _OUT_OF_HOST_MEMORY}
        if "status" not in answer:
            last_lines = task.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise RunFailed(
                f"{task.name}: the training process {_how_ended(training)} and left no result{task.suspicion}; "
                f"the last lines of {task.log} say why" + "".join(f"\n  {line}" for line in last_lines)
            )
        monitor_end = None if watching is None or watching.poll() == 0 else _how_ended(watching)
        return answer, Seen(gpu_listed, stopped_in, monitor_end)


def _note_stops(pid: int, stops: list[float]) -> None:
    """Note each time when this child was stopped or continued, by whatever signal, until it ends.

    The kernel tells its parent, and once the child has ended no more: waitid(2).
    """
    with suppress(ChildProcessError):
        while True:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WCONTINUED)
            stops.append(time.monotonic())


@contextmanager
def _started(arguments: Sequence[str], environment: Mapping[str, str], **options: Any) -> Iterator[Process]:  # noqa: ANN401 - as subprocess.Popen is typed
    """A process of a module of this package with arguments; it is killed when the block is left while it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        **options,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILL_SECONDS)


@contextmanager
def _monitor(task: Task, pid: int, place: Place, log: TextIO) -> Iterator[Process | None]:
    """The monitor of the process `pid`, or None where nothing shall watch."""
    if task.monitor_interval_seconds is None:
        yield None
        return
    # Snakemake takes a run for failed that leaves no samples file; a monitor killed while it starts has made none.
    task.samples.write_bytes(b"")
    cores = ",".join(str(core) for core in place.cores.cores)
    arguments = [str(pid), str(os.getpid()), str(task.monitor_interval_seconds), str(task.samples), cores]
    command = ["trainbench.run.monitor", *arguments, *place.gpus.uuids]
    with _started(command, place.monitor_environment, stdout=log) as process:
        yield process


def _how_ended(process: Process) -> str:
    code = process.poll()
    if code is None:
        return "hung"
    return f"ended with exit code {code}" if code >= 0 else f"ended with signal {-code}"


def _output(training: Process, task: Task, log: TextIO, announce: Callable[[str], None]) -> Iterator[str]:
    """What the training prints, copied to the log; the terminal gets progress now and then, and the last epoch.

    Raises:
        RunFailed: it makes no progress any more.
    """
    last_epoch = f"epoch {task.settings['epochs']}/"
    announced_at = time.monotonic()
    try:
        for line in progress.lines(training, task.notes, task.settings["batch_size"], task.no_progress_seconds):
            log.write(line)
            log.flush()
            is_due = time.monotonic() - announced_at >= TERMINAL_INTERVAL_SECONDS
            if line.startswith("epoch ") and (is_due or line.startswith(last_epoch)):
                announce(f"{task.name}: {line.rstrip()}")
                announced_at = time.monotonic()
            yield line
    except progress.Stuck as stuck:
        minutes, seconds = divmod(round(stuck.seconds), 60)
        raise RunFailed(
            f"{task.name}: the training process has shown no sign of life for "
            f"{f'{minutes} min' if minutes else f'{seconds} s'}, the last was {stuck.last}; it was ended"
            f"{task.suspicion}. The same command goes on after its last saved epoch; if it needs more "
            f"time, add --set-resources train:no_progress_seconds={round(2 * stuck.seconds)}"
        ) from None


def _demand_room(process: Process | None, task: Task) -> None:
    """Tell of a full disk as soon as a process has ended because of one.

    Raises:
        InputError: `process` has ended and said so.
    """
    if process is not None and process.poll() == full_disk.EXIT_CODE:
        raise InputError(f"{task.name}: {full_disk.sentence(task.metrics.parent)}")


def _gpus_list(gpu_uuids: Sequence[str], training_pid: int) -> bool | None:
    """Whether NVML lists the training's process, or one that it started, on each card; None where it cannot tell."""
    try:
        process_ids = [training_pid, *processes.descendants(training_pid)]
        with nvml.Session() as session:
            return session.lists_processes(gpu_uuids, process_ids)
    except Exception:
        # Whatever a driver says beside the question, it proves nothing.
        return None
