"""Builds studies of single cells, whole but for what a test is about."""

from collections.abc import Mapping
from typing import Any

from trainbench.plan.study import ALL_CORES, Device, ModelSettings, Study

CPU = Device("cpu", "cpu", ALL_CORES, gpus=0)


def make_study(model_settings: Mapping[str, ModelSettings], batch_sizes: tuple[int, ...], **changes: Any) -> Study:
    """A study of these models at these batch sizes, one run each on the CPU, with `changes` of other fields."""
    fields: dict[str, Any] = {
        "models": tuple(model_settings),
        "batch_sizes": batch_sizes,
        "devices": ("cpu",),
        "repeats": 1,
        "seed": 1,
        "isolation": "device",
        "monitor_interval_seconds": 0.1,
        "dataset_path": "data",
        "validation_samples": 0,
        "model_settings": model_settings,
        "device_settings": {"cpu": CPU},
    }
    return Study(**{**fields, **changes})
