"""Says what a study consists of: its cells, its runs, their settings and seeds.

Standard library only: rules import this module whenever Snakemake reads them, also in every submitted job.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

from trainbench.errors import InputError

ALL_CORES: Final = "all"
METRICS_NAME: Final = "metrics.json"
"""The file in a run's folder that says what it measured."""


@dataclass(frozen=True)
class Device:
    """A named way to execute.

    `threads` is a number, or "all" for every core that a run is given; `gpus` counts the cards of one run, which share
    each batch, and `card` is part of the name of these cards, None for those that come first in `gpu_choice.kinds`.
    `environment` has the variables that its runs have beside those that pass (`clean_environment`).
    `entry` is its key in device_settings, which describes several devices where it has a list.
    `resources` are what its runs ask of a scheduler: where they ran is found out by each run, so these are no setting
    of a result.
    """

    name: str
    kind: Literal["cpu", "gpu"]
    threads: int | Literal["all"]
    gpus: int
    framework: str = "tensorflow"
    precision: str = "float32"
    card: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, int | str] = field(default_factory=dict)
    entry: str = ""


@dataclass(frozen=True)
class ModelSettings:
    """How long and with which hyperparameters a model is trained."""

    epochs: int
    hyperparameters: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """One training of one cell: what the wildcards model, batch_size, device and repeat name."""

    model: str
    batch_size: int
    device: str
    repeat: int

    @classmethod
    def named(cls, wildcards: Mapping[str, str]) -> Self:
        """The run that these wildcards name."""
        return cls(wildcards["model"], int(wildcards["batch_size"]), wildcards["device"], int(wildcards["repeat"]))

    @property
    def folder(self) -> str:
        """Where the run's files lie, below the results folder."""
        return f"runs/{self.model}/{self.batch_size}/{self.device}/{self.repeat}"


@dataclass(frozen=True)
class Study:
    """What the config asks for."""

    models: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    devices: tuple[str, ...]
    repeats: int
    seed: int
    isolation: Literal["device", "host", "none"]
    monitor_interval_seconds: float
    dataset_path: str
    validation_samples: int
    model_settings: Mapping[str, ModelSettings]
    device_settings: Mapping[str, Device]

    def runs(self) -> tuple[Run, ...]:
        """Every run of the study."""
        return tuple(
            Run(model, batch_size, device, repeat)
            for repeat in range(1, self.repeats + 1)
            for model in self.models
            for batch_size in self.batch_sizes
            for device in self.devices
        )

    def turns(self) -> tuple[Run, ...]:
        """Every run in the order in which they are to come: repeat by repeat, in each the cells in random order.

        So drift of the machine falls on no cell alone. The order follows from the study's seed.
        """
        return tuple(sorted(self.runs(), key=lambda run: (run.repeat, seed_of(self.seed, run))))

    def selected_devices(self) -> tuple[Device, ...]:
        """The devices that the study measures."""
        return tuple(self.device_settings[name] for name in self.devices)

    def device(self, name: str) -> Device:
        """The device of this name.

        Raises:
            InputError: device_settings does not describe it.
        """
        if name not in self.device_settings:
            raise InputError(_unknown("device", name, self.device_settings))
        return self.device_settings[name]

    def wanted(self, device: Device) -> str:
        """How a sentence begins on what a device needs whose runs are to be carried out."""
        if device.name in self.devices:
            return f"config key 'devices' has '{device.name}', which"
        return f"a run on the device '{device.name}' was asked for, which"

    def settings(self, run: Run, dataset_files_sha256: str) -> dict[str, Any]:
        """Everything that alters the result of `run`, ready for JSON.

        Raises:
            InputError: the run's model or device is not described in the config.
        """
        device = self.device(run.device)
        if run.model not in self.model_settings:
            raise InputError(_unknown("model", run.model, self.model_settings))
        model = self.model_settings[run.model]
        # A device without a card or variables of its own has the settings that it had before there were any.
        left_out = {"resources", "entry", *(key for key in ("card", "environment") if not getattr(device, key))}
        return {
            "model": run.model,
            "batch_size": run.batch_size,
            "repeat": run.repeat,
            "epochs": model.epochs,
            "hyperparameters": dict(model.hyperparameters),
            "device": {key: value for key, value in asdict(device).items() if key not in left_out},
            "isolation": self.isolation,
            "monitor_interval_seconds": self.monitor_interval_seconds,
            "validation_samples": self.validation_samples,
            "study_seed": self.seed,
            "seed": seed_of(self.seed, run),
            "dataset_files_sha256": dataset_files_sha256,
        }


def _unknown(what: str, name: str, known: Mapping[str, object]) -> str:
    return (
        f"the {what} '{name}' is not described in {what}_settings, which has {', '.join(sorted(known))}; "
        f"describe it there or ask for one of these"
    )


def seed_of(study_seed: int, run: Run) -> int:
    """The run's seed, 0 <= seed < 2**31: the same for the same study seed, cell and repeat, else independent."""
    text = f"{study_seed}/{run.model}/{run.batch_size}/{run.device}/{run.repeat}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def cores_of_run(device: Device, isolation: str, cores: int, gpus: int) -> int:
    """How many of `cores` a run reserves when `gpus` cards may work side by side.

    A CPU run reserves all, whatever number of threads it trains with, so that nothing runs beside it; a GPU run its
    card's share. With isolation `host` every run reserves all; with `none` a CPU run reserves just its threads.
    """
    if reserves_machine(device, isolation):
        return cores
    if device.kind == "gpu":
        return max(1, cores * device.gpus // max(1, gpus))
    return cores if device.threads == ALL_CORES else min(cores, device.threads)


def reserves_machine(device: Device, isolation: str) -> bool:
    """Whether nothing else may run on the machine beside a run: the meaning of `isolation` in the config."""
    if isolation == "host":
        return True
    return device.kind == "cpu" and (isolation == "device" or device.threads == ALL_CORES)
