"""Builds metrics records of the shape that runs leave behind, for tests of what reads them."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

HOST = "amd-epyc-2t-1a2b3c4d"
TRAIN_SAMPLES = 55_000
MONITOR_INTERVAL_SECONDS = 0.1
ARITHMETIC = {
    "logistic": {"train_flop_per_example": 31_360, "train_bytes_per_example": 3461.0},
    "conv": {"train_flop_per_example": 51_972_732, "train_bytes_per_example": 424_074.0},
    "lstm": {"train_flop_per_example": 879_760, "train_bytes_per_example": 28_617.0},
}
"""At MNIST's size and a batch size of 512, the bytes rounded."""

FRAMEWORKS = {
    "tensorflow": {"version": "2.21.0", "devices": "/device:{kind}:{number}"},
    "jax": {"version": "0.10.2", "devices": "{kind}:{number}"},
    "torch": {"version": "2.13.0", "devices": "{kind}:{number}"},
}
"""Of each framework a version, and what it calls its devices."""

PRODUCTS = {
    "float32": ("float32", 2.1e-7),
    "tf32": ("float32", 2.5e-4),
    "bfloat16": ("bfloat16", 1.7e-3),
    "float16": ("float16", 2.1e-4),
}
"""Of each precision the type that products multiply, and their error."""

CEILINGS: dict[str, dict[str, float]] = {
    "cpu": {
        "flop_per_second": 4e11,
        "bytes_per_second": 2e10,
        "product_size": 2048,
        "array_bytes": 2**27,
        "seconds": 0.9,
    },
    "gpu": {
        "flop_per_second": 5e13,
        "bytes_per_second": 4e12,
        "product_size": 8192,
        "array_bytes": 2**29,
        "seconds": 0.8,
    },
}


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
    host: str = HOST,
    hostname: str = "server7",
    usable_threads: int = 2,
    cpu_percent: float | None = 198.2,
    other_cpu_percent: float | None = 1.2,
    gpus: int | None = None,
    framework: str = "tensorflow",
    precision: str = "float32",
    gpu_driver_version: str | None = None,
    canary_seconds: float = 0.2,
    flags: Sequence[str] = (),
    watched: bool = True,
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
        status: "completed" or "out_of_memory"; a run out of memory has no epochs and knows no device, clock or usage.
        host: The host's id.
        hostname: The host's name.
        usable_threads: Threads of the host, all of them given to a CPU run.
        cpu_percent: 100 = one core busy.
        other_cpu_percent: That of everything else on the host.
        gpus: GPUs of the run; by default one where `kind` is "gpu".
        framework: One of `FRAMEWORKS`, or any other name.
        precision: One of `PRODUCTS`.
        gpu_driver_version: Of the host; by default some version where `kind` is "gpu".
        canary_seconds: Of the fixed computation on all cores, before the run and after it; alone it takes half of that.
        flags: Names of checks that found something of level "warning".
        watched: Whether the monitor ran; without it there is no usage.
        overrides: Keys of the record to replace; mappings are merged key by key, at every depth.
    """
    kind = kind or ("gpu" if device.startswith("gpu") else "cpu")
    completed = status == "completed"
    on_gpu = kind == "gpu"
    cards = [_card(index) for index in range(int(on_gpu) if gpus is None else gpus)]
    identity = hashlib.sha256(f"{model}/{batch_size}/{device}/{repeat}/{host}".encode()).hexdigest()
    seed = int(identity[:7], 16)
    sha256 = hashlib.sha256(b"mnist").hexdigest()
    of_framework = FRAMEWORKS.get(framework, {"version": "1.0", "devices": "{kind}:{number}"})
    device_names = [
        of_framework["devices"].format(kind=kind.upper() if framework == "tensorflow" else kind, number=number)
        for number in range(max(1, len(cards)))
    ]
    product_type, product_error = PRODUCTS[precision]
    # The code of a run is that of its framework's engine too.
    code = b"code" if framework == "tensorflow" else f"code/{framework}".encode()
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
                "train_window_monotonic_seconds": [clock, clock + seconds],
                "eval_window_monotonic_seconds": [clock + seconds, clock + seconds + eval_seconds],
            }
        )
        clock += seconds + eval_seconds
    window = partial(
        _window,
        cpu_percent=cpu_percent,
        other_cpu_percent=other_cpu_percent,
        cards=[card["uuid"] for card in cards],
    )
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
                "gpus": len(cards),
                "framework": framework,
                "precision": precision,
            },
            "validation_samples": 5000,
            "study_seed": 2017,
            "seed": seed,
            "dataset_files_sha256": sha256,
            "isolation": "device",
            "monitor_interval_seconds": MONITOR_INTERVAL_SECONDS,
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
                # Hosts of other names are other machines.
                "model": "AMD EPYC 9B14" if host == HOST else host,
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
            "gpu_driver_version": gpu_driver_version or ("570.86" if on_gpu else None),
            "gpus": cards,
        },
        "software": {
            "trainbench": "0.1.0",
            "python": "3.11.7",
            "code_sha256": hashlib.sha256(code).hexdigest(),
            "framework": framework,
            "versions": {framework: of_framework["version"], "numpy": "2.4.6", "cuda": None, "cudnn": None},
            "flags": {"tf32": precision == "tf32", "deterministic": False, "environment": {"OMP_NUM_THREADS": "2"}},
        },
        "device_used": {
            "kind": kind,
            "name": cards[0]["name"] if cards else "AMD EPYC 9B14",
            "gpu_uuids": [card["uuid"] for card in cards],
            "gpu_wait_seconds": 0.0 if on_gpu else None,
            "gpu_lists_process": True if on_gpu else None,
            "parameters_on": device_names,
            "computation_on": device_names,
            "product_types": [product_type],
            "product_error": product_error,
            "cores_given": usable_threads,
            "cores": list(range(usable_threads)),
            "shared_cores": [],
            "near_cores": list(range(usable_threads)) if on_gpu else None,
            "threads": {"intra_op": usable_threads, "inter_op": 1},
        }
        if completed
        else None,
        "clock": {
            "startup_seconds": 4.1,
            "data_seconds": 0.12,
            "compile_seconds": 0.9,
            "train_seconds": sum(train_seconds),
            "eval_seconds": eval_seconds * len(train_seconds),
            "total_seconds": 5.12 + sum(train_seconds) + eval_seconds * len(train_seconds),
        }
        if completed
        else None,
        "epochs": epochs,
        "resumed_after_epochs": [],
        "samples_trained": samples * len(epochs),
        "peak_memory_mib": 1234.5 if completed else None,
        "arithmetic": ARITHMETIC.get(model, ARITHMETIC["conv"]) if completed else None,
        "loss_scaling": {"scale": 65536.0, "skipped_steps": 2} if completed and precision == "float16" else None,
        "ceilings": CEILINGS[kind] if completed else None,
        "canary": {
            "cores": usable_threads,
            **{
                when: {
                    "alone_seconds": canary_seconds / 2,
                    "alone_cpu_seconds": canary_seconds / 4,
                    "together_seconds": canary_seconds,
                    "together_cpu_seconds": canary_seconds / 4,
                }
                for when in ("before", "after")
            },
        },
        "usage": {
            "startup": window(4.1),
            "first_epoch": window(train_seconds[0]),
            "steady": window(sum(train_seconds[1:])) if len(train_seconds) > 1 else None,
            "span": window(clock - 100.0),
        }
        if completed and watched
        else None,
        "checks": [
            {"name": name, "level": "warning", "finding": f"there was {name}", "advice": f"see to {name}"}
            for name in flags
        ],
    }
    return _merged(record, overrides)


def absent_run(model: str, batch_size: int, device: str, repeat: int, kind: str, status: str) -> dict[str, Any]:
    """What is known of a run of the study that has no results."""
    cell = {"model": model, "batch_size": batch_size, "device": device}
    return {**cell, "repeat": repeat, "device_kind": kind, "status": status}


def as_older_versions_timed(record: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The same run with what was timed before all cores at once were: the fixed computation on one core."""
    return record | {"canary": {"before_seconds": seconds, "after_seconds": seconds}}


def _card(index: int) -> dict[str, Any]:
    return {
        "index": index,
        "name": "NVIDIA H200",
        "uuid": f"GPU-{index}",
        "memory_mib": 143771.0,
        "pci_address": f"00000000:{0x1B + index:02X}:00.0",
    }


def _window(
    seconds: float, *, cpu_percent: float | None, other_cpu_percent: float | None, cards: Sequence[str]
) -> dict[str, Any]:
    """What the monitor saw in a window; each card drew 300 W."""
    samples = int(seconds / MONITOR_INTERVAL_SECONDS)
    return {
        "seconds": seconds,
        "samples": samples,
        "cpu_percent": cpu_percent,
        "resident_memory_mib": 1200.0,
        "process_threads": 12,
        "other_cpu_percent": other_cpu_percent,
        "other_on_cores_percent": other_cpu_percent,
        "cpu_pressure_percent": 2.0,
        "steal_percent": 0.1,
        "cpu_mhz": None,
        "cpu_energy_joules": None,
        "cpu_energy_source": None,
        "gpus": [
            {
                "uuid": uuid,
                "samples": samples,
                "utilization_percent": 75.0,
                "memory_used_mib": 2048.0,
                "process_memory_mib": 1536.0,
                "power_watts": 300.0,
                "energy_joules": 300.0 * seconds,
                "energy_source": "counter",
                "temperature_celsius": 55.0,
                "sm_clock_mhz": 1980.0,
                "sm_clock_min_mhz": 1965.0,
                "throttle_reasons": [],
                "other_processes": 0,
                "problem": None,
            }
            for uuid in cards
        ],
    }


def _merged(record: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(record))
    for key, value in overrides.items():
        old = result.get(key)
        result[key] = (
            _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else copy.deepcopy(value)
        )
    return result
