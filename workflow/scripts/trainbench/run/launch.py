"""Carries out one run: takes stock of the machine, leases cores and GPUs, has it trained, and writes its metrics file.

This process imports no framework.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import UTC, datetime
from typing import Any, TextIO

from trainbench.errors import InputError
from trainbench.machine import (
    canary,
    clean_environment,
    control_groups,
    core_lease,
    gpu_choice,
    gpu_lease,
    host,
    locks,
    nvml,
)
from trainbench.records import record
from trainbench.run import outcome, watched_training
from trainbench.run.task import Task


def run(task: Task, announce: Callable[[str], None]) -> None:
    """Train once and write the metrics file, the samples and the log; `announce` gets lines for the terminal.

    Raises:
        InputError: the run cannot be carried out as asked on this machine.
        RunFailed: the training process ended without an answer, or made no progress any more.
    """
    if task.gpus != task.device["gpus"]:
        raise InputError(
            f"{task.name}: Snakemake gave the run {task.gpus} GPUs, its device needs {task.device['gpus']}; "
            "raise the limit --resources gpu=N, and leave gpu out of --set-resources"
        )
    machine = host.inventory()
    threads = _threads(task, machine.usable_threads)
    task.unfinished.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context(task.log.open("w", encoding="utf-8"))
        gpus = stack.enter_context(_gpus(task, machine, announce))
        near = _near_cores(gpus)
        wanted = core_lease.preferred(os.sched_getaffinity(0), near)
        quota_locks = core_lease.quota_locks(control_groups.cpu_quota())
        cores = stack.enter_context(core_lease.leased(threads, wanted, locks.folder(os.environ), quota_locks))
        place = watched_training.Place(
            cores=cores,
            gpus=gpus,
            environment=clean_environment.of_process(os.environ, threads, gpus.uuids, task.own_variables),
            # What the device sets is for the training alone.
            monitor_environment=clean_environment.of_process(os.environ, threads, gpus.uuids),
            told={
                "threads": threads,
                "cores": cores.cores,
                "identity": _identity(task, machine, threads, gpus),
            },
        )
        canary_before = _canary(cores.cores, log)
        started_at = datetime.now(UTC).isoformat()
        answer, seen = watched_training.train(task, place, log, announce)
        canary_after = _canary(cores.cores, log)
        shared_cores = cores.shared_by_now()
    if answer["status"] == "refused":
        raise InputError(f"{task.name}: {answer['message']}")
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
        gpu_uuids=gpus.uuids,
        gpu_wait_seconds=gpus.waited_seconds,
        canary_before=canary_before,
        canary_after=canary_after,
        samples=None if task.monitor_interval_seconds is None else task.samples,
        seen=seen,
    )
    record.write(outcome.metrics(answer, observed), task.metrics)
    # Only now: until then, an interruption costs at most what the state does not have.
    shutil.rmtree(task.unfinished, ignore_errors=True)


def _threads(task: Task, usable_threads: int) -> int:
    """Threads to train with.

    Raises:
        InputError: the device asks for more than the run was given or the machine lets it use.
    """
    asked = task.device["threads"]
    available = min(task.cores, usable_threads)
    if asked == "all":
        return available
    if asked > available:
        raise InputError(
            f"{task.name}: the threads of its device in device_settings are {asked}, but the run was given "
            f"{task.cores} cores and may use {usable_threads}; give more with --cores or lower threads"
        )
    return int(asked)


def _gpus(task: Task, machine: host.Host, announce: Callable[[str], None]) -> AbstractContextManager[gpu_lease.Lease]:
    """Lease its cards for a GPU run; a CPU run gets none."""
    if task.device["kind"] == "cpu":
        return nullcontext(gpu_lease.Lease((), (), None))
    visible = gpu_choice.usable(machine.gpus, os.environ)
    of_device = gpu_choice.of_device(visible, task.device["name"], task.device.get("card"), task.gpus)
    cards, folder = [card.uuid for card in of_device], locks.folder(os.environ)
    return gpu_lease.leased(
        cards, task.gpus, folder, lambda line: announce(f"{task.name}: {line}"), task.gpu_wait_seconds
    )


def _near_cores(gpus: gpu_lease.Lease) -> frozenset[int] | None:
    """The cores near any of the cards, None where there is none or NVML does not know those of all."""
    if not gpus.uuids:
        return None
    try:
        with nvml.Session() as session:
            near = [session.near_cores(uuid) for uuid in gpus.uuids]
    except (nvml.NvmlUnavailable, nvml.GpuLost):
        return None
    known = [cores for cores in near if cores is not None]
    return frozenset().union(*known) if len(known) == len(near) else None


def _identity(task: Task, machine: host.Host, threads: int, gpus: gpu_lease.Lease) -> dict[str, Any]:
    """What is known here of all that the rest of an interrupted run depends on."""
    names = gpu_choice.names(machine.gpus, gpus.uuids)
    return {
        "settings": task.settings,
        "code_sha256": task.code_sha256,
        "schema_version": record.SCHEMA_VERSION,
        "host": machine.id,
        # Of a card without a name nothing is known but which one it is.
        "gpus": [name or uuid for name, uuid in zip(names, gpus.uuids, strict=True)],
        "threads": threads,
    }


def _canary(cores: Sequence[int], log: TextIO) -> canary.Timing | None:
    """How fast these cores are, None where that cannot be told: no run is lost to it."""
    try:
        return canary.measure(cores)
    except (OSError, RuntimeError) as error:
        log.write(f"the fixed computation could not be timed on the run's cores: {type(error).__name__} {error}\n")
        return None
