"""Builds metrics records of the shape that runs leave behind, for tests of what reads them."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

TRAIN_SAMPLES = 55_000


def make_record(
    model: str = "conv",
    batch_size: int = 512,
    device: str = "cpu",
    repeat: int = 1,
    *,
    train_seconds: Sequence[float] = (12.2, 12.1),
    eval_seconds: float = 0.6,
    accuracies: Sequence[float] | None = None,
    losses: Sequence[float | None] | None = None,
    kind: str | None = None,
    status: str = "completed",
    host: str = "amd-epyc-2t-1a2b3c4d",
    hostname: str = "server7",
    usable_threads: int = 2,
    cpu_percent: float | None = 198.2,
    **overrides: Any,
) -> dict[str, Any]:
    """A whole metrics record that its schema accepts.

    Args:
        model: Name of the model.
        batch_size: Samples of a step.
        device: Name of the device; one that starts with "gpu" is a GPU unless `kind` says otherwise.
        repeat: Number of the run in its cell.
        train_seconds: Seconds of each epoch; their count is the number of epochs.
        eval_seconds: Seconds of each evaluation.
        accuracies: Accuracy after each epoch; by default it rises to 0.99.
        losses: Loss of each epoch; by default it falls.
        kind: "cpu" or "gpu".
        status: "completed" or "out_of_memory"; a run out of memory has no epochs and knows no usage.
        host: The host's id.
        hostname: The host's name.
        usable_threads: Threads of the host, all of them given to a CPU run.
        cpu_percent: 100 = one core busy.
        overrides: Keys of the record to replace; mappings are merged key by key, at every depth.
    """
    kind = kind or ("gpu" if device.startswith("gpu") else "cpu")
    completed = status == "completed"
    on_gpu = kind == "gpu"
    identity = hashlib.sha256(f"{model}/{batch_size}/{device}/{repeat}/{host}".encode()).hexdigest()
    seed = int(identity[:7], 16)
    sha256 = hashlib.sha256(b"mnist").hexdigest()
    samples = TRAIN_SAMPLES // batch_size * batch_size
    epochs = []
    clock = 100.0
    for index, seconds in enumerate(train_seconds if completed else ()):
        epochs.append(
            {
                "epoch": index + 1,
                "train_seconds": seconds,
                "eval_seconds": eval_seconds,
                "loss": losses[index] if losses is not None else 2.3 / (index + 1),
                "accuracy": accuracies[index] if accuracies is not None else 0.99 - 0.5 / (index + 1),
                "samples": samples,
                "cpu_seconds": seconds * (cpu_percent or 0.0) / 100,
                "train_window": [clock, clock + seconds],
                "eval_window": [clock + seconds, clock + seconds + eval_seconds],
            }
        )
        clock += seconds + eval_seconds
    gpu = {
        "index": 0,
        "name": "NVIDIA H200",
        "uuid": "GPU-0",
        "memory_mib": 143771.0,
        "pci_address": "00000000:1B:00.0",
    }
    record: dict[str, Any] = {
        "schema_version": 1,
        "run_id": identity[:32],
        "status": status,
        "message": None if completed else "the device has no memory left for a batch of this size",
        "started_at": "2026-11-23T08:15:30.123456+00:00",
        "model": model,
        "batch_size": batch_size,
        "device": device,
        "repeat": repeat,
        "settings": {
            "model": model,
            "batch_size": batch_size,
            "repeat": repeat,
            "epochs": len(train_seconds),
            "hyperparameters": {"learning_rate": 0.001, "decay": 0.9, "keep_conv": 0.8, "keep_hidden": 0.5},
            "device": {
                "name": device,
                "kind": kind,
                "threads": "all",
                "gpus": int(on_gpu),
                "framework": "tensorflow",
                "precision": "float32",
            },
            "validation_samples": 5000,
            "study_seed": 2017,
            "seed": seed,
            "dataset_files_sha256": sha256,
        },
        "seed": seed,
        "dataset": {
            "sha256": sha256,
            "train_samples": TRAIN_SAMPLES,
            "test_samples": 10000,
            "height": 28,
            "width": 28,
            "classes": 10,
        },
        "host": {
            "id": host,
            "hostname": hostname,
            "system": "Linux-6.1.0-x86_64",
            "kernel": "6.1.0-18-amd64",
            "cpu": {
                "model": "AMD EPYC 9B14",
                "architecture": "x86_64",
                "sockets": 1,
                "cores": usable_threads,
                "threads": usable_threads,
                "numa_nodes": 1,
                "max_mhz": None,
                "caches": [{"level": 1, "type": "data", "size_kib": 48, "instances": usable_threads}],
            },
            "memory_mib": 24036.5,
            "cgroup_cpu_quota_cores": None,
            "cgroup_memory_limit_mib": None,
            "usable_threads": usable_threads,
            "gpu_driver_version": "570.86" if on_gpu else None,
            "gpus": [gpu] if on_gpu else [],
        },
        "software": {
            "trainbench": "0.1.0",
            "python": "3.11.7",
            "framework": "tensorflow",
            "versions": {"tensorflow": "2.21.0", "numpy": "2.4.6", "cuda": None, "cudnn": None},
            "flags": {"tf32": False, "deterministic": False, "environment": {"OMP_NUM_THREADS": "2"}},
        },
        "device_used": {
            "kind": kind,
            "name": gpu["name"] if on_gpu else "AMD EPYC 9B14",
            "gpu_uuids": [gpu["uuid"]] if on_gpu else [],
            "parameters_on": ["/device:GPU:0" if on_gpu else "/device:CPU:0"],
            "computation_on": "/device:GPU:0" if on_gpu else "/device:CPU:0",
            "cores_given": usable_threads,
            "threads": {"intra_op": usable_threads, "inter_op": 1},
        },
        "clock": {
            "startup_seconds": 4.1,
            "data_seconds": 0.12,
            "compile_seconds": 0.9 if completed else None,
            "train_seconds": sum(train_seconds) if completed else None,
            "eval_seconds": eval_seconds * len(train_seconds) if completed else None,
            "total_seconds": 5.12 + sum(train_seconds) + eval_seconds * len(train_seconds) if completed else None,
        },
        "epochs": epochs,
        "samples_trained": samples * len(epochs),
        "usage": {
            "cpu_percent": cpu_percent if completed else None,
            "peak_memory_mib": 1234.5 if completed else None,
            "gpu_utilization_percent": 75.0 if on_gpu and completed else None,
            "gpu_memory_mib": 2048.0 if on_gpu and completed else None,
            "gpu_samples": 40 if on_gpu and completed else 0,
        },
    }
    return _merged(record, overrides)


def _merged(record: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(record))
    for key, value in overrides.items():
        old = result.get(key)
        result[key] = (
            _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else copy.deepcopy(value)
        )
    return result
