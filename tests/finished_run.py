"""A run that has ended, as the launcher knows it: for tests of what becomes of it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trainbench.machine import host
from trainbench.machine.canary import Timing
from trainbench.machine.gpu_cards import Gpu
from trainbench.run import outcome
from trainbench.run.watched_training import Seen

CARDS = [Gpu(number, "NVIDIA H200", f"GPU-{number + 1}", 143_771.0, f"00000000:{number}B:00.0") for number in (0, 1)]
CARD = CARDS[0]
TIMES = np.arange(100.5, 126.55, 0.1)
"""Samples begin, as the monitor does, a little after the training process."""

TIMING = Timing(0.1, 0.05, 0.11, 0.05)

OUT_OF_MEMORY = {"status": "out_of_memory", "message": "the device has no memory left for a batch of this size"}

COMPLETED = {
    "status": "completed",
    "message": None,
    "dataset": {
        "sha256": "ab" * 32,
        "train_samples": 55_000,
        "test_samples": 10_000,
        "height": 28,
        "width": 28,
        "classes": 10,
    },
    "software": {
        "framework": "tensorflow",
        "versions": {"tensorflow": "2.21.0", "cuda": None},
        "flags": {"tf32": False, "deterministic": False},
    },
    "launched_at": 100.0,
    "proof": {
        "kind": "cpu",
        "parameters_on": ["/device:CPU:0"],
        "computation_on": ["/device:CPU:0"],
        "product_types": ["float32"],
        "product_error": 2.1e-7,
    },
    "threads": {"intra_op": 2, "inter_op": 1},
    "clock": {
        "startup_seconds": 4.0,
        "data_seconds": 0.1,
        "compile_seconds": 0.9,
        "train_seconds": 19.0,
        "eval_seconds": 1.5,
        "total_seconds": 25.5,
    },
    "epochs": [
        {
            "epoch": epoch,
            "train_seconds": end - begin,
            "eval_seconds": 0.5,
            "loss": None if epoch == 3 else 2.3,
            "accuracy": 0.5,
            "samples": 54_784,
            "cpu_seconds": cpu_seconds,
            "train_window_monotonic_seconds": [begin, end],
            "eval_window_monotonic_seconds": [end, end + 0.5],
        }
        for epoch, begin, end, cpu_seconds in ((1, 105.0, 112.0, 14.0), (2, 112.5, 118.5, 9.0), (3, 119.0, 125.0, 6.0))
    ],
    "samples_trained": 164_352,
    "peak_memory_mib": 1234.5,
    "arithmetic": {"train_flop_per_example": 51_972_732, "train_bytes_per_example": 424_074.47},
    "ceilings": {
        "flop_per_second": 2e11,
        "bytes_per_second": 4e10,
        "product_size": 2048,
        "array_bytes": 134_217_728,
        "seconds": 0.8,
    },
}


def settings(kind: str, gpus: int) -> dict[str, Any]:
    return {
        "model": "conv",
        "batch_size": 512,
        "repeat": 2,
        "epochs": 3,
        "hyperparameters": {"learning_rate": 0.001, "decay": 0.9},
        "device": {
            "name": f"my-{kind}",
            "kind": kind,
            "threads": "all",
            "gpus": gpus,
            "framework": "tensorflow",
            "precision": "float32",
        },
        "isolation": "device",
        "monitor_interval_seconds": 0.1,
        "validation_samples": 5000,
        "study_seed": 2017,
        "seed": 123,
        "dataset_files_sha256": "cd" * 32,
    }


def completed_on(kind: str, devices: int = 1) -> dict[str, Any]:
    names = [f"/device:{kind.upper()}:{number}" for number in range(devices)]
    on_device = {"kind": kind, "parameters_on": names, "computation_on": names}
    return {**COMPLETED, "proof": {**COMPLETED["proof"], **on_device}}


def completed_between(begin: float, end: float, kind: str = "cpu") -> dict[str, Any]:
    """A run whose three epochs were trained and evaluated between two moments of the monotonic clock."""
    edges = np.linspace(begin, end, 7).tolist()
    epochs = [
        {
            **epoch,
            "train_window_monotonic_seconds": [edges[2 * at], edges[2 * at + 1]],
            "eval_window_monotonic_seconds": [edges[2 * at + 1], edges[2 * at + 2]],
        }
        for at, epoch in enumerate(COMPLETED["epochs"])
    ]
    return {**completed_on(kind), "launched_at": begin - 0.5, "epochs": epochs}


@cache
def this_machine() -> host.Host:
    return replace(host.inventory(), cgroup_cpu_quota_cores=None, gpus=tuple(CARDS))


def observed(samples: Path | None, gpu_uuids: Sequence[str] = (), **changes: Any) -> outcome.Observed:
    """What a launcher on this machine saw of a run on a CPU, or on these cards."""
    on_gpu = bool(gpu_uuids)
    seen: dict[str, Any] = {
        "settings": settings("gpu" if on_gpu else "cpu", len(gpu_uuids)),
        "code_sha256": "ef" * 32,
        "started_at": "2026-11-23T08:15:30.123456+00:00",
        "machine": this_machine(),
        "environment": {"OMP_NUM_THREADS": "2", "HOME": "/home/someone"},
        "cores_given": 2,
        "cores": (0, 1),
        "shared_cores": (),
        "near_cores": (0, 1) if on_gpu else None,
        "gpu_uuids": tuple(gpu_uuids),
        "gpu_wait_seconds": 0.5 if on_gpu else None,
        "canary_before": TIMING,
        "canary_after": TIMING,
        "samples": samples,
        "seen": Seen(gpu_listed=True if on_gpu else None, stopped_in=(), monitor_end=None),
    }
    return outcome.Observed(**{**seen, **changes})
