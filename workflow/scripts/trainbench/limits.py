"""Refuses, before anything trains, a study that this machine or this data set cannot carry."""

from dataclasses import dataclass

from trainbench.errors import InputError
from trainbench.idx import Shape
from trainbench.models import MODELS, ImageShape, ModelSpec
from trainbench.study import ALL_CORES, Study

BYTES_PER_FLOAT32 = 4
BYTES_PER_MIB = 2**20
DISK_MIB_PER_RUN = 1.0
"""Generous: a metrics file and a log take kilobytes, samples 100 kB a minute."""


@dataclass(frozen=True)
class Machine:
    """What the machine that trains has; None where that is another machine, whose limits are not known here.

    `gpu_limit` is `--resources gpu=N`, None where it was not given. `gpu_problem` says why NVML finds no card.
    """

    cores: int | None
    gpus: int | None
    gpu_problem: str | None
    gpu_limit: int | None
    memory_mib: float | None
    free_disk_mib: float | None


def refuse_impossible(study: Study, shape: Shape, machine: Machine) -> None:
    """Compare the study with the data set and the machine.

    Raises:
        InputError: it cannot be carried out as asked; the text names the config key.
    """
    _refuse_too_few_images(study, shape)
    _refuse_missing_gpus(study, machine)
    _refuse_missing_cores(study, machine)
    _refuse_missing_memory(study, shape, machine)
    _refuse_missing_disk(study, shape, machine)


def _refuse_too_few_images(study: Study, shape: Shape) -> None:
    left = shape.train_samples - study.validation_samples
    found = (
        f"{shape.train_samples} training images in {study.dataset_path}, of which dataset/validation_samples leaves "
        f"out {study.validation_samples}"
    )
    if left < 1:
        raise InputError(f"nothing is left to train on: found {found}; lower dataset/validation_samples")
    too_large = [batch_size for batch_size in study.batch_sizes if batch_size > left]
    if too_large:
        raise InputError(
            f"config key 'batch_sizes' has {too_large[0]}, expected at most {left}, the size of the training set "
            f"(found {found}); choose a smaller batch size"
        )


def _refuse_missing_gpus(study: Study, machine: Machine) -> None:
    asking = [device for device in study.selected_devices() if device.gpus > 0]
    if not asking or machine.gpus is None:
        return
    remedy = "select CPU devices (--config 'devices=[cpu]') or run on a machine with enough cards"
    if machine.gpus == 0:
        because = f" (NVML: {machine.gpu_problem})" if machine.gpu_problem else ""
        raise InputError(
            f"config key 'devices' has '{asking[0].name}', which needs a GPU, but none is found{because}; {remedy}"
        )
    if machine.gpu_limit is not None and machine.gpu_limit > machine.gpus:
        raise InputError(
            f"--resources gpu={machine.gpu_limit} asks for more GPUs than there are: found {machine.gpus}; "
            f"give --resources gpu={machine.gpus} or leave it out"
        )
    available = machine.gpus if machine.gpu_limit is None else machine.gpu_limit
    for device in asking:
        if device.gpus > available:
            raise InputError(
                f"config key 'devices' has '{device.name}', which needs {device.gpus} GPU, but --resources gpu="
                f"{available} allows {available}; raise it to at most {machine.gpus} or {remedy}"
            )


def _refuse_missing_cores(study: Study, machine: Machine) -> None:
    if machine.cores is None:
        return
    for device in study.selected_devices():
        if device.threads != ALL_CORES and device.threads > machine.cores:
            raise InputError(
                f"config key 'device_settings/{device.name}/threads' is {device.threads}, but only {machine.cores} "
                f"cores can be used (--cores, the process' affinity and its cgroup counted); lower it or "
                f"give more cores"
            )


def needed_memory_mib(spec: ModelSpec, batch_size: int, shape: Shape) -> float:
    """Lower bound of a run's memory: data set, one step's activations, parameters with gradient and optimiser."""
    data = (shape.train_samples + shape.test_samples) * shape.height * shape.width
    activations = batch_size * spec.activations_per_example
    parameters = 3 * spec.parameter_count
    return (data + activations + parameters) * BYTES_PER_FLOAT32 / BYTES_PER_MIB


def _refuse_missing_memory(study: Study, shape: Shape, machine: Machine) -> None:
    if machine.memory_mib is None:
        return
    images = ImageShape(shape.height, shape.width, classes=2)
    batch_size = max(study.batch_sizes)
    for model in study.models:
        spec = MODELS[model].specify(images, study.model_settings[model].hyperparameters)
        needed = needed_memory_mib(spec, batch_size, shape)
        if needed > machine.memory_mib:
            raise InputError(
                f"not enough memory for model '{model}' at batch size {batch_size}: it needs at least {needed:.0f} "
                f"MiB, found {machine.memory_mib:.0f} MiB available; choose smaller batch_sizes or free memory"
            )


def _refuse_missing_disk(study: Study, shape: Shape, machine: Machine) -> None:
    if machine.free_disk_mib is None:
        return
    data = (shape.train_samples + shape.test_samples) * shape.height * shape.width / BYTES_PER_MIB
    needed = data + DISK_MIB_PER_RUN * len(study.runs())
    if needed > machine.free_disk_mib:
        raise InputError(
            f"not enough disk space for results/: {len(study.runs())} runs and the prepared data set need about "
            f"{needed:.0f} MiB, found {machine.free_disk_mib:.0f} MiB free; free some or use "
            f"--directory on another disk"
        )
