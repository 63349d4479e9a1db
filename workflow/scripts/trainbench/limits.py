"""Refuses, before anything trains, a study that this machine or this data set cannot carry."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainbench import engines, gpu_choice
from trainbench.errors import InputError
from trainbench.idx import Shape
from trainbench.models import BYTES_PER_FLOAT32, MODELS, ImageShape, ModelSpec
from trainbench.study import ALL_CORES, Study, cores_of_run

BYTES_PER_MIB = 2**20
DISK_MIB_PER_RUN = 1.0
"""Generous: a metrics file and a log take kilobytes, samples 100 kB a minute."""


@dataclass(frozen=True)
class Machine:
    """What the machine that trains has; None where that is another machine, whose limits are not known here.

    `cores` are those that `--cores` gives and the machine has. `gpus` are the cards that runs may use.
    `gpu_limit` is `--resources gpu=N`, None where it was not given.
    `frameworks` tells of each framework whether it can use a GPU as it is installed, None where it is not installed.
    """

    cores: int | None
    gpus: gpu_choice.Visible | None
    gpu_limit: int | None
    frameworks: Mapping[str, bool | None] | None
    memory_mib: float | None
    free_disk_mib: float | None


def refuse_impossible(study: Study, shape: Shape, machine: Machine) -> None:
    """Compare the study with the data set and the machine.

    Raises:
        InputError: it cannot be carried out as asked; the text names the config key.
    """
    _refuse_too_few_images(study, shape)
    _refuse_uneven_batches(study)
    _refuse_missing_frameworks(study, machine)
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


def _refuse_uneven_batches(study: Study) -> None:
    for device in study.selected_devices():
        uneven = [size for size in study.batch_sizes if device.gpus > 1 and size % device.gpus]
        if uneven:
            raise InputError(
                f"config key 'batch_sizes' has {uneven[0]}, which the {device.gpus} GPUs of the device '{device.name}' "
                f"cannot share evenly; expected multiples of {device.gpus}"
            )


def _refuse_missing_frameworks(study: Study, machine: Machine) -> None:
    for device in study.selected_devices():
        if machine.frameworks is not None and machine.frameworks[device.framework] is None:
            raise InputError(
                f"config key 'devices' has '{device.name}', which trains with {device.framework}, but that is not "
                f"installed; install it: {engines.how_to_install(device.framework)}"
            )


def _refuse_missing_gpus(study: Study, machine: Machine) -> None:
    if machine.gpus is None:
        return
    gpu_choice.refuse_missing(study.selected_devices(), machine.gpus, machine.gpu_limit)
    for device in study.selected_devices():
        if device.gpus and machine.frameworks is not None and machine.frameworks[device.framework] is False:
            raise InputError(
                f"config key 'devices' has '{device.name}', which needs a GPU, but {device.framework} is installed in "
                f"its build for CPUs alone; install the other build "
                f"({engines.how_to_install(device.framework, for_gpus=True)}) or "
                "select CPU devices (--config 'devices=[cpu]')"
            )


def _refuse_missing_cores(study: Study, machine: Machine) -> None:
    if machine.cores is None:
        return
    if machine.cores < 1:
        raise InputError(f"--cores is {machine.cores}, but a run needs at least 1; give --cores all")
    for device in study.selected_devices():
        given = cores_of_run(device, study.isolation, machine.cores, gpus_side_by_side(study, machine))
        if device.threads != ALL_CORES and device.threads > given:
            raise InputError(
                f"config key 'device_settings/{device.name}/threads' is {device.threads}, but its runs get {given} of "
                f"{machine.cores} usable cores (--cores, the process' affinity and its cgroup counted); lower it or "
                f"give more cores"
            )


def gpus_side_by_side(study: Study, machine: Machine) -> int:
    """How many GPU runs may share the cores."""
    cards = gpu_choice.in_use(study.selected_devices(), machine.gpus.cards) if machine.gpus is not None else ()
    counts = [count for count in (len(cards), machine.gpu_limit) if count]
    return min(counts, default=1)


def gpu_warning(study: Study, machine: Machine, *, is_auto: bool) -> str | None:
    """What should be known of the GPUs before a study begins that uses them, or would with `devices: auto`."""
    wants_gpus = any(device.gpus for device in study.selected_devices())
    if machine.gpus is None or not (wants_gpus or is_auto):
        return None
    choice = gpu_choice.choice(study.selected_devices(), machine.gpus.cards)
    told = [*machine.gpus.doubts, *([choice] if choice else [])]
    return f"GPUs: {'; '.join(told)}." if told else None


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
            f"{needed:.0f} MiB, found {machine.free_disk_mib:.0f} MiB free; free some, or "
            f"make results/ a link to a folder on another disk"
        )
