"""Carries out one run: a fresh training process, watched from outside, and its metrics file.

This process imports no framework. It finds out what the machine is, leases a GPU, sets the environment, starts the
training and the monitor, passes progress on and writes what came of it.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from trainbench import __version__, gpu_lease, host, nvml, record
from trainbench.errors import InputError, RunFailed
from trainbench.study import ALL_CORES

MONITOR_INTERVAL_SECONDS: Final = 0.1
TERMINAL_INTERVAL_SECONDS: Final = 10.0
LOG_TAIL_LINES: Final = 15

SPEED_VARIABLES: Final = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "OMP_PROC_BIND",
    "OMP_PLACES", "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE",
    "GOMP_CPU_AFFINITY", "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "TF_XLA_FLAGS", "XLA_FLAGS",
    "TF_GPU_ALLOCATOR", "TF_GPU_THREAD_MODE", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS", "LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_CONF", "GLIBC_TUNABLES",
)  # fmt: skip
"""Environment variables that change the speed of training; those that are set go into the metrics file."""


@dataclass(frozen=True)
class Task:
    """One run as Snakemake hands it over."""

    settings: Mapping[str, Any]
    dataset: Path
    cores: int
    gpus: int
    metrics: Path
    samples: Path
    log: Path


def run(task: Task, announce: Callable[[str], None]) -> None:
    """Train once and write the metrics file, the samples and the log; `announce` gets lines for the terminal.

    Raises:
        InputError: the run cannot be carried out as asked on this machine.
        RunFailed: the training process ended without an answer.
    """
    if task.gpus != task.settings["device"]["gpus"]:
        raise InputError(
            f"{_name(task.settings)}: Snakemake gave the run {task.gpus} GPUs, its device needs "
            f"{task.settings['device']['gpus']}; raise the limit --resources gpu=N"
        )
    machine = host.inventory()
    threads = _threads(task, machine.usable_threads)
    with _gpu(task.settings["device"], announce) as lease:
        environment = _environment(os.environ, threads, lease)
        started_at = datetime.now(UTC).isoformat()
        answer = _train(task, threads, environment, lease, announce)
    if answer["status"] == "wrong_device":
        raise InputError(f"{_name(task.settings)}: {answer['message']}")
    gpus = [lease.uuid] if lease else []
    metrics = {
        "schema_version": record.SCHEMA_VERSION,
        "run_id": uuid.uuid4().hex,
        "status": answer["status"],
        "message": answer["message"],
        "started_at": started_at,
        **{key: task.settings[key] for key in ("model", "batch_size", "repeat", "seed")},
        "device": task.settings["device"]["name"],
        "settings": dict(task.settings),
        "host": asdict(machine),
        **_measured(answer, task, machine, environment, gpus),
    }
    record.write(metrics, task.metrics)


def _name(settings: Mapping[str, Any]) -> str:
    """A run's name for people: `conv 512 on cpu, repeat 1`."""
    return f"{settings['model']} {settings['batch_size']} on {settings['device']['name']}, repeat {settings['repeat']}"


def _threads(task: Task, usable_threads: int) -> int:
    """Threads to train with.

    Raises:
        InputError: the device asks for more than the run was given or the machine lets it use.
    """
    asked = task.settings["device"]["threads"]
    available = min(task.cores, usable_threads)
    if asked == ALL_CORES:
        return available
    if asked > available:
        raise InputError(
            f"{_name(task.settings)}: device_settings/{task.settings['device']['name']}/threads is {asked}, but the "
            f"run was given {task.cores} cores and may use {usable_threads}; give more with --cores or lower threads"
        )
    return int(asked)


@contextmanager
def _gpu(device: Mapping[str, Any], announce: Callable[[str], None]) -> Iterator[gpu_lease.Lease | None]:
    """Lease a card for a GPU run; a CPU run gets none."""
    if device["kind"] == "cpu":
        yield None
        return
    cards = gpu_lease.pool(nvml.inventory(), os.environ)
    with gpu_lease.leased(cards, gpu_lease.lease_folder(os.environ), announce) as lease:
        yield lease


def _environment(inherited: Mapping[str, str], threads: int, lease: gpu_lease.Lease | None) -> dict[str, str]:
    """The training process' environment: its threads, its one card or none, the package to import."""
    package_folder = str(Path(__file__).resolve().parents[1])
    search_path = [package_folder, *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(search_path),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": lease.uuid if lease else "",
        "TF_CPP_MIN_LOG_LEVEL": inherited.get("TF_CPP_MIN_LOG_LEVEL", "1"),
    }


def _train(
    task: Task,
    threads: int,
    environment: Mapping[str, str],
    lease: gpu_lease.Lease | None,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    """Start the training process and the monitor, wait for both and return the training's answer.

    Raises:
        RunFailed: there is no answer.
    """
    descriptors = (lease.descriptor,) if lease else ()
    task.samples.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trainbench-") as folder, task.log.open("w", encoding="utf-8") as log:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        fields = {
            "settings": task.settings,
            "dataset": str(task.dataset),
            "threads": threads,
            "launcher_pid": os.getpid(),
            "launched_at": time.monotonic(),
        }
        request.write_text(json.dumps(fields), encoding="utf-8")
        # Both processes end by themselves when this one dies; `with` covers the ways in which it does not.
        with (
            _ended_at_exit(
                subprocess.Popen(
                    [sys.executable, "-m", "trainbench.training", str(request), str(answer)],
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    pass_fds=descriptors,
                )
            ) as training,
            _ended_at_exit(
                subprocess.Popen(
                    [
                        sys.executable, "-m", "trainbench.monitor", str(training.pid),
                        str(MONITOR_INTERVAL_SECONDS), str(task.samples), *([lease.uuid] if lease else []),
                    ],
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            ) as watching,
        ):  # fmt: skip
            _relay(training.stdout or (), log, task.settings, announce)
            code = training.wait()
            watching.wait()
        if not answer.exists():
            raise RunFailed(
                f"{_name(task.settings)}: the training process ended with {_exit_text(code)} and left no result. "
                f"The end of its log ({task.log}):\n{_tail(task.log)}"
            )
        answered: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return answered


@contextmanager
def _ended_at_exit(process: "subprocess.Popen[Any]") -> Iterator["subprocess.Popen[Any]"]:
    """Kill `process` when the block is left while it still runs."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _relay(output: Iterable[str], log: TextIO, settings: Mapping[str, Any], announce: Callable[[str], None]) -> None:
    """Copy the training's output to the log; the terminal gets progress now and then, and the last epoch."""
    name = _name(settings)
    last_epoch = f"epoch {settings['epochs']}/"
    announced_at = time.monotonic()
    for line in output:
        log.write(line)
        log.flush()
        is_due = time.monotonic() - announced_at >= TERMINAL_INTERVAL_SECONDS
        if line.startswith("epoch ") and (is_due or line.startswith(last_epoch)):
            announce(f"{name}: {line.rstrip()}")
            announced_at = time.monotonic()


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])


def _measured(
    answer: Mapping[str, Any],
    task: Task,
    machine: host.Host,
    environment: Mapping[str, str],
    gpu_uuids: list[str],
) -> dict[str, Any]:
    """The part of the metrics file that the training and the monitor measured; unknown where it did not complete."""
    software = answer.get("software", {"framework": task.settings["device"]["framework"], "versions": {}, "flags": {}})
    epochs = answer.get("epochs", [])
    train_seconds = sum(epoch["train_seconds"] for epoch in epochs)
    cpu_seconds = sum(epoch["cpu_seconds"] for epoch in epochs)
    return {
        "dataset": answer.get("dataset"),
        "software": {
            "trainbench": __version__,
            "python": platform.python_version(),
            **software,
            "flags": {
                "tf32": None,
                "deterministic": None,
                **software["flags"],
                "environment": {name: environment[name] for name in SPEED_VARIABLES if name in environment},
            },
        },
        "device_used": _device_used(answer["proof"], answer["threads"], task, machine, gpu_uuids) if epochs else None,
        "clock": answer.get("clock"),
        "epochs": epochs,
        "samples_trained": answer.get("samples_trained", 0),
        "usage": {
            "cpu_percent": 100 * cpu_seconds / train_seconds if epochs else None,
            "peak_memory_mib": answer.get("peak_memory_mib"),
            **_gpu_usage(task.samples, [epoch["train_window"] for epoch in epochs], len(gpu_uuids)),
        },
    }


def _device_used(
    proof: Mapping[str, Any], threads: Mapping[str, int], task: Task, machine: host.Host, gpu_uuids: list[str]
) -> dict[str, Any]:
    cards = [gpu.name for gpu in machine.gpus if gpu.uuid in gpu_uuids]
    return {
        "kind": proof["kind"],
        "name": machine.cpu.model if proof["kind"] == "cpu" else next(iter(cards), None),
        "gpu_uuids": gpu_uuids,
        "parameters_on": proof["parameters_on"],
        "computation_on": proof["computation_on"],
        "cores_given": task.cores,
        "threads": threads,
    }


def _gpu_usage(samples: Path, windows: list[list[float]], gpu_count: int) -> dict[str, Any]:
    """Mean utilisation and highest memory of the run's GPU over the samples inside `windows`."""
    utilization: list[float] = []
    memory: list[float] = []
    if gpu_count:
        with samples.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                at = float(row["monotonic_seconds"])
                if any(begin <= at <= end for begin, end in windows):
                    utilization += _known(row["gpu0_utilization_percent"])
                    memory += _known(row["gpu0_memory_used_mib"])
    return {
        "gpu_utilization_percent": sum(utilization) / len(utilization) if utilization else None,
        "gpu_memory_mib": max(memory, default=None),
        "gpu_samples": len(utilization),
    }


def _known(text: str) -> list[float]:
    return [float(text)] if text else []
