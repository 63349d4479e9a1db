"""Carries out one run: a fresh training process, watched from outside, and its metrics file.

This process imports no framework. It finds out what the machine is, leases GPUs and cores, sets the environment,
starts the training and the monitor, passes progress on and writes what came of it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from trainbench.errors import InputError, RunFailed
from trainbench.files import full_disk
from trainbench.machine import (
    canary,
    clean_environment,
    core_lease,
    gpu_choice,
    gpu_lease,
    host,
    locks,
    nvml,
    processes,
)
from trainbench.records import record
from trainbench.run import journal, outcome, progress

TERMINAL_INTERVAL_SECONDS: Final = 10.0
LOG_TAIL_LINES: Final = 15
UNFINISHED_NAME: Final = "unfinished"
"""Folder beside the metrics file: what a run needs while it trains, and to go on after an interruption."""

_NOT_PRELOADED: Final = "from LD_PRELOAD cannot be preloaded"
"""What glibc's ld.so says of a library that it then does without: the run would be recorded as having had it."""

_OUT_OF_HOST_MEMORY: Final = (
    "the kernel killed the training process because the host, or its control group, had no memory left"
)

MONITOR_END_SECONDS: Final = 10.0
KILL_SECONDS: Final = 10.0
"""How long to wait for a process that was killed: one that waits inside a driver may never end."""

_MINUTE_SECONDS: Final = 60


@dataclass(frozen=True)
class _Place:
    """What a run holds while it trains."""

    threads: int
    cores: core_lease.CoreLease
    gpus: gpu_lease.Lease | None
    environment: Mapping[str, str]
    monitor_environment: Mapping[str, str]
    """Without what the device sets, which is for the training alone."""
    unfinished: Path
    identity: Mapping[str, Any]
    """What is known here of all that the rest of an interrupted run depends on."""


@dataclass(frozen=True)
class _Seen:
    """What the launcher saw of a run while it trained; the fields are those of `outcome.Observed`."""

    gpu_listed: bool | None
    stopped_in: Sequence[int]
    monitor_end: str | None


@dataclass(frozen=True)
class Task:
    """One run as Snakemake hands it over, with the patience to wait for a GPU that others hold and for signs of life.

    `code_sha256` is the fingerprint of the code that the run depends on, None where nobody has made one.
    `monitor_interval_seconds` is None where nothing shall watch the run (to measure what watching costs).
    """

    settings: Mapping[str, Any]
    dataset: Path
    cores: int
    gpus: int
    metrics: Path
    samples: Path
    log: Path
    code_sha256: str | None = None
    gpu_wait_seconds: float = gpu_lease.WAIT_LIMIT_SECONDS
    no_progress_seconds: float = progress.LEAST_SECONDS
    monitor_interval_seconds: float | None = 0.1


def run(task: Task, announce: Callable[[str], None]) -> None:
    """Train once and write the metrics file, the samples and the log; `announce` gets lines for the terminal.

    Raises:
        InputError: the run cannot be carried out as asked on this machine.
        RunFailed: the training process ended without an answer, or made no progress any more.
    """
    name = run_name(task.settings)
    if task.gpus != task.settings["device"]["gpus"]:
        raise InputError(
            f"{name}: Snakemake gave the run {task.gpus} GPUs, its device needs {task.settings['device']['gpus']}; "
            "raise the limit --resources gpu=N, and leave gpu out of --set-resources"
        )
    machine = host.inventory()
    threads = _threads(task, machine.usable_threads)
    unfinished = task.metrics.parent / UNFINISHED_NAME
    unfinished.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context(task.log.open("w", encoding="utf-8"))
        gpus = stack.enter_context(_gpus(task, machine, announce))
        near = _near_cores(gpus)
        wanted = core_lease.preferred(os.sched_getaffinity(0), near)
        quota_locks = core_lease.quota_locks(host.read_cpu_quota())
        cores = stack.enter_context(core_lease.leased(threads, wanted, locks.folder(os.environ), quota_locks))
        place = _Place(
            threads=threads,
            cores=cores,
            gpus=gpus,
            environment=environment(os.environ, threads, gpus.uuids if gpus else (), _own_variables(task.settings)),
            monitor_environment=environment(os.environ, threads, gpus.uuids if gpus else ()),
            unfinished=unfinished,
            identity=_identity(task, machine, threads, gpus),
        )
        canary_before = _canary(cores.cores, log)
        started_at = datetime.now(UTC).isoformat()
        answer, seen = _train(task, place, log, announce)
        canary_after = _canary(cores.cores, log)
        shared_cores = cores.shared_by_now()
    if answer["status"] == "refused":
        raise InputError(f"{name}: {answer['message']}")
    observed = outcome.Observed(
        settings=task.settings,
        code_sha256=task.code_sha256,
        started_at=started_at,
        machine=machine,
        environment=place.environment,
        cores_given=task.cores,
        cores=cores.cores,
        shared_cores=shared_cores,
        near_cores=None if near is None else tuple(sorted(near)),
        gpu_uuids=gpus.uuids if gpus else (),
        gpu_wait_seconds=gpus.waited_seconds if gpus else None,
        gpu_listed=seen.gpu_listed,
        stopped_in=seen.stopped_in,
        canary_before=canary_before,
        canary_after=canary_after,
        samples=task.samples if task.monitor_interval_seconds is not None else None,
        monitor_end=seen.monitor_end,
    )
    record.write(outcome.metrics(answer, observed), task.metrics)
    # Only now: until then, an interruption costs at most what the state does not have.
    shutil.rmtree(unfinished, ignore_errors=True)


def _canary(cores: Sequence[int], log: TextIO) -> canary.Timing | None:
    """How fast these cores are, None where that cannot be told: no run is lost to it."""
    try:
        return canary.measure(cores)
    except (OSError, RuntimeError) as error:
        log.write(f"the fixed computation could not be timed on the run's cores: {type(error).__name__} {error}\n")
        return None


def _identity(task: Task, machine: host.Host, threads: int, gpus: gpu_lease.Lease | None) -> dict[str, Any]:
    uuids = gpus.uuids if gpus else ()
    # Of a card without a name nothing is known but which one it is.
    cards = [name or uuid for name, uuid in zip(gpu_choice.names(machine.gpus, uuids), uuids, strict=True)]
    return {
        "settings": task.settings,
        "code_sha256": task.code_sha256,
        "schema_version": record.SCHEMA_VERSION,
        "host": machine.id,
        "gpus": cards,
        "threads": threads,
    }


def run_name(settings: Mapping[str, Any]) -> str:
    """A run's name for people: `conv 512 on cpu, repeat 1`."""
    return f"{settings['model']} {settings['batch_size']} on {settings['device']['name']}, repeat {settings['repeat']}"


def _threads(task: Task, usable_threads: int) -> int:
    """Threads to train with.

    Raises:
        InputError: the device asks for more than the run was given or the machine lets it use.
    """
    asked = task.settings["device"]["threads"]
    available = min(task.cores, usable_threads)
    if asked == "all":
        return available
    if asked > available:
        raise InputError(
            f"{run_name(task.settings)}: device_settings/{task.settings['device']['name']}/threads is {asked}, but the "
            f"run was given {task.cores} cores and may use {usable_threads}; give more with --cores or lower threads"
        )
    return int(asked)


@contextmanager
def _gpus(task: Task, machine: host.Host, announce: Callable[[str], None]) -> Iterator[gpu_lease.Lease | None]:
    """Lease its cards for a GPU run; a CPU run gets none."""
    if task.settings["device"]["kind"] == "cpu":
        yield None
        return
    device, name = task.settings["device"], run_name(task.settings)
    visible = gpu_choice.usable(machine.gpus, os.environ)
    cards = [card.uuid for card in gpu_choice.of_device(visible, device["name"], device.get("card"), task.gpus)]

    def report(line: str) -> None:
        announce(f"{name}: {line}")

    with gpu_lease.leased(cards, task.gpus, locks.folder(os.environ), report, task.gpu_wait_seconds) as lease:
        yield lease


def _near_cores(gpus: gpu_lease.Lease | None) -> frozenset[int] | None:
    """The cores near any of the cards, None where NVML does not know those of all."""
    if gpus is None:
        return None
    try:
        with nvml.Session() as session:
            near = [session.near_cores(uuid) for uuid in gpus.uuids]
    except (nvml.NvmlUnavailable, nvml.GpuLost):
        return None
    known = [cores for cores in near if cores is not None]
    return frozenset().union(*known) if len(known) == len(near) else None


def _own_variables(settings: Mapping[str, Any]) -> Mapping[str, str]:
    variables: Mapping[str, str] = settings["device"].get("environment", {})
    return variables


def environment(
    inherited: Mapping[str, str], threads: int, gpu_uuids: Sequence[str], own: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The training process' environment: what passes of the caller's, the variables of its device (`own`), its threads,
    its cards or none, the package to import.
    """
    package_folder = str(Path(__file__).resolve().parents[2])
    given = {"TF_CPP_MIN_LOG_LEVEL": "1", **clean_environment.of_run(inherited, own or {})}
    search_path = [package_folder, *filter(None, [given.get("PYTHONPATH")])]
    return {
        **given,
        "PYTHONPATH": os.pathsep.join(search_path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # the log's, whatever the terminal's is
        "OMP_NUM_THREADS": str(threads),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpu_uuids),
        # TensorFlow imports Keras along with itself, a quarter of its time, unless it is to take Keras from the package
        # tf_keras instead, which is not installed. Nothing here uses either.
        "TF_USE_LEGACY_KERAS": "1",
    }


def _train(task: Task, place: _Place, log: TextIO, announce: Callable[[str], None]) -> tuple[dict[str, Any], _Seen]:
    """Start the training process and the monitor, and wait for both; returns the training's answer and what was seen.

    Raises:
        InputError: the disk is full, the run computes elsewhere than on its GPUs, or a library that its device preloads
            is not there.
        RunFailed: there is no answer, or no progress.
    """
    with ExitStack() as stack:
        request, notes = place.unfinished / "request.json", place.unfinished / "journal.jsonl"
        notes.unlink(missing_ok=True)
        fields = {
            "settings": task.settings,
            "dataset": str(task.dataset),
            "threads": place.threads,
            "cores": place.cores.cores,
            "launcher_pid": os.getpid(),
            "launched_at": time.monotonic(),
            "state": str(place.unfinished / "state.safetensors"),
            "identity": place.identity,
        }
        kills_before = host.read_oom_kills()
        request.write_text(json.dumps(fields), encoding="utf-8")
        # Both processes end by themselves when this one dies; leaving the block covers the ways in which it does not.
        training = stack.enter_context(
            _ended_at_exit(
                subprocess.Popen(
                    [sys.executable, "-m", "trainbench.run.training", str(request), str(notes)],
                    env=dict(place.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    pass_fds=[*place.cores.descriptors, *(place.gpus.descriptors if place.gpus else ())],
                )
            )
        )
        watching = stack.enter_context(_watching(task, training.pid, place, log))
        gpu_listed, epochs_seen = None, 0
        stopped_in: list[int] = []
        for line in _relay(_lines(training, notes, task), log, task.settings, announce):
            if _NOT_PRELOADED in line:
                raise InputError(f"{run_name(task.settings)}: {line.strip()}; {_suspicion(task.settings)}")
            if line.startswith("epoch "):
                if _was_stopped(training.pid):
                    stopped_in.append(epochs_seen)
                if place.gpus is not None and not epochs_seen:
                    gpu_listed = _gpus_list(place.gpus.uuids, training.pid)
                    if gpu_listed is False:
                        _refuse_elsewhere(task, place)
                epochs_seen += 1
            _demand_room(watching, task)
        code = training.wait()
        if watching is not None:
            # It ends by itself, unless a card that fell off the bus holds it up.
            with suppress(subprocess.TimeoutExpired):
                watching.wait(MONITOR_END_SECONDS)
        _demand_room(watching, task)
        _demand_room(training, task)
        answer = journal.read(notes)
        if "status" not in answer and code == -signal.SIGKILL and _more(kills_before, host.read_oom_kills()):
            # Whoever else kills the process, the kernel does not count it among those killed for lack of memory.
            answer |= {"status": "out_of_memory", "message": _OUT_OF_HOST_MEMORY}
        if "status" not in answer:
            raise RunFailed(
                f"{run_name(task.settings)}: the training process ended with {_exit_text(code)} and left no result"
                f"{_and(_suspicion(task.settings))}; the last lines of {task.log} say why\n{_tail(task.log)}"
            )
        return answer, _Seen(gpu_listed, stopped_in, None if watching is None else _monitor_end(watching.poll()))


def _was_stopped(pid: int) -> bool:
    """Whether this child was stopped since it was asked last, by whatever signal and for however short a time.

    The kernel keeps that for its parent until it is asked: waitid(2).
    """
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG) is not None
    except ChildProcessError:
        return False


def _monitor_end(code: int | None) -> str | None:
    if code is None:
        return "hung"
    return None if code == 0 else f"ended with {_exit_text(code)}"


def _refuse_elsewhere(task: Task, place: _Place) -> NoReturn:
    """End a run that computes on another GPU, with all that it would go on from.

    Raises:
        InputError: always.
    """
    shutil.rmtree(place.unfinished, ignore_errors=True)
    raise InputError(
        f"{run_name(task.settings)}: after the first epoch NVML lists the run's process, but not on each GPU that it "
        f"leased ({', '.join(place.gpus.uuids if place.gpus else ())}), so it computes elsewhere; compare {task.log} "
        "with nvidia-smi"
    )


def _lines(training: "subprocess.Popen[str]", notes: Path, task: Task) -> Iterator[str]:
    """What the training prints.

    Raises:
        RunFailed: it makes no progress any more.
    """
    try:
        yield from progress.lines(training, notes, task.settings["batch_size"], task.no_progress_seconds)
    except progress.Stuck as stuck:
        minutes, seconds = divmod(round(stuck.seconds), _MINUTE_SECONDS)
        raise RunFailed(
            f"{run_name(task.settings)}: the training process has shown no sign of life for "
            f"{f'{minutes} min' if minutes else f'{seconds} s'}, the last was {stuck.last}; it was ended"
            f"{_and(_suspicion(task.settings))}. The same command goes on after its last saved epoch; if it needs more "
            f"time, add --set-resources train:no_progress_seconds={round(2 * stuck.seconds)}"
        ) from None


def _suspicion(settings: Mapping[str, Any]) -> str:
    return clean_environment.suspicion(settings["device"]["name"], tuple(_own_variables(settings)))


def _and(part: str) -> str:
    return f"; {part}" if part else ""


def _demand_room(process: "subprocess.Popen[Any] | None", task: Task) -> None:
    """Tell of a full disk as soon as a process has ended because of one.

    Raises:
        InputError: `process` has ended and said so.
    """
    if process is not None and process.poll() == full_disk.EXIT_CODE:
        raise InputError(f"{run_name(task.settings)}: {full_disk.sentence(task.metrics.parent)}")


def _more(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


@contextmanager
def _watching(task: Task, pid: int, place: _Place, log: TextIO) -> Iterator["subprocess.Popen[bytes] | None"]:
    """The monitor of the process `pid`, or None where nothing shall watch."""
    if task.monitor_interval_seconds is None:
        yield None
        return
    arguments = [
        str(pid),
        str(os.getpid()),
        str(task.monitor_interval_seconds),
        str(task.samples),
        ",".join(str(core) for core in place.cores.cores),
        *(place.gpus.uuids if place.gpus else ()),
    ]
    with _ended_at_exit(
        subprocess.Popen(
            [sys.executable, "-m", "trainbench.run.monitor", *arguments],
            env=dict(place.monitor_environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    ) as process:
        yield process


def _gpus_list(gpu_uuids: Sequence[str], training_pid: int) -> bool | None:
    """Whether NVML lists the training's process, or one that it started, on each card; None where it cannot tell."""
    try:
        process_ids = [training_pid, *processes.descendants(training_pid)]
        with nvml.Session() as session:
            return session.lists_processes(gpu_uuids, process_ids)
    except Exception:
        # Whatever a driver says beside the question, it proves nothing.
        return None


@contextmanager
def _ended_at_exit(process: "subprocess.Popen[Any]") -> Iterator["subprocess.Popen[Any]"]:
    """Kill `process` when the block is left while it still runs."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILL_SECONDS)


def _relay(
    output: Iterable[str], log: TextIO, settings: Mapping[str, Any], announce: Callable[[str], None]
) -> Iterator[str]:
    """Copy the training's output to the log and on; the terminal gets progress now and then, and the last epoch."""
    name = run_name(settings)
    last_epoch = f"epoch {settings['epochs']}/"
    announced_at = time.monotonic()
    for line in output:
        log.write(line)
        log.flush()
        is_due = time.monotonic() - announced_at >= TERMINAL_INTERVAL_SECONDS
        if line.startswith("epoch ") and (is_due or line.startswith(last_epoch)):
            announce(f"{name}: {line.rstrip()}")
            announced_at = time.monotonic()
        yield line


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])
