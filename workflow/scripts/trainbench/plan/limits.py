"""Refuses, before anything trains, runs that this machine or this data set cannot carry."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from trainbench import engines
from trainbench.datasets.idx import Shape
from trainbench.errors import InputError
from trainbench.machine import gpu_choice
from trainbench.machine.working_folder import Disk
from trainbench.networks.models import BYTES_PER_FLOAT32, MODELS, ImageShape, ModelSpec
from trainbench.plan import device_cards
from trainbench.plan.study import ALL_CORES, Device, Run, Study, cores_of_run

BYTES_PER_MIB = 2**20
RUNS_FOLDER = "results/runs"
DATA_FOLDER = "results/dataset"
RECORDS_FOLDER = ".snakemake"
DISK_MIB_PER_RUN = 1.0
"""Generous: a metrics file and a log take kilobytes, samples 100 kB a minute."""
RECORDS_MIB_PER_RUN = 0.02
"""What Snakemake keeps of a run: a block (4 KiB) for each of its two outputs, and as long as it lasts two more."""


@dataclass(frozen=True)
class Machine:
    """What the machine that trains has; None where that is another machine, whose limits are not known here.

    `cores` are those that `--cores` gives and the machine has. `max_threads` is `--max-threads`, `set_threads` tells
    whether `--set-threads` sets those of runs. `gpus` are the cards that runs may use.
    `gpu_limit` is `--resources gpu=N`, None where it was not given.
    `frameworks` tells of each framework whether it can use a GPU as it is installed, None where it is not installed.
    `disks` are those that runs write to.
    """

    cores: int | None = None
    max_threads: int | None = None
    set_threads: bool = False
    gpus: gpu_choice.Visible | None = None
    gpu_limit: int | None = None
    frameworks: Mapping[str, bool | None] | None = None
    memory_mib: float | None = None
    disks: Sequence[Disk] | None = None

    @property
    def cards(self) -> tuple[gpu_choice.Card, ...]:
        """The cards that runs may use, none where they are not known."""
        return self.gpus.cards if self.gpus is not None else ()


def refuse_contradictions(study: Study, runs: Collection[Run], shape: Shape) -> None:
    """Compare `runs` with the config and the data set; no machine could carry out what is refused.

    Raises:
        InputError: they cannot be carried out as asked; the text names the config key.
    """
    for run in {(run.model, run.device): run for run in runs}.values():
        study.settings(run, "")  # which says what is not described
    batch_sizes = sorted({run.batch_size for run in runs}, reverse=True)
    left = shape.train_samples - study.validation_samples
    found = (
        f"{shape.train_samples} training images in {study.dataset_path}, of which dataset/validation_samples leaves "
        f"out {study.validation_samples}"
    )
    if left < 1:
        raise InputError(f"nothing is left to train on: found {found}; lower dataset/validation_samples")
    if batch_sizes and batch_sizes[0] > left:
        raise InputError(
            f"config key 'batch_sizes' has {batch_sizes[0]}, expected at most {left}, the size of the training set "
            f"(found {found}); choose a smaller batch size"
        )
    for run in runs:
        device = study.device(run.device)
        if device.gpus > 1 and run.batch_size % device.gpus:
            raise InputError(
                f"config key 'batch_sizes' has {run.batch_size}, which the {device.gpus} GPUs of the device "
                f"'{device.name}' cannot share evenly; expected multiples of {device.gpus}"
            )


def refuse_impossible(study: Study, runs: Collection[Run], shape: Shape, machine: Machine, *, prepared: bool) -> None:
    """Compare the runs that are to be carried out, and no others, with the machine.

    `prepared` says that the prepared data set is there already.

    Raises:
        InputError: they cannot be carried out as asked; the text names the config key.
    """
    if not runs:
        return
    refuse_contradictions(study, runs, shape)
    devices = [study.device(name) for name in dict.fromkeys(run.device for run in runs)]
    _refuse_missing_frameworks(study, devices, machine)
    _refuse_missing_gpus(study, devices, machine)
    _refuse_missing_cores(study, devices, machine)
    _refuse_missing_memory(study, runs, shape, machine)
    _refuse_missing_disk(runs, None if prepared else shape, machine)


def _refuse_missing_frameworks(study: Study, devices: Sequence[Device], machine: Machine) -> None:
    for device in devices:
        if machine.frameworks is not None and machine.frameworks[device.framework] is None:
            raise InputError(
                f"{study.wanted(device)} trains with {device.framework}, but that is not installed; install it: "
                f"{engines.how_to_install(device.framework)}"
            )


def _refuse_missing_gpus(study: Study, devices: Sequence[Device], machine: Machine) -> None:
    if machine.gpus is None:
        return
    device_cards.refuse_missing(study, devices, machine.gpus, machine.gpu_limit)
    for device in devices:
        if device.gpus and machine.frameworks is not None and machine.frameworks[device.framework] is False:
            raise InputError(
                f"{study.wanted(device)} needs a GPU, but {device.framework} is installed in its build for CPUs alone; "
                f"install the other build ({engines.how_to_install(device.framework, for_gpus=True)}) or "
                "select CPU devices (--config 'devices=[cpu]')"
            )


def refuse_no_core(machine: Machine) -> None:
    """Where there is anything to do.

    Raises:
        InputError: there is no core for it, and Snakemake would wait for one for ever.
    """
    if machine.cores is not None and machine.cores < 1:
        raise InputError(f"--cores is {machine.cores}, but a run needs at least 1; give --cores all")


def refuse_impatience(resources: Mapping[str, object]) -> None:
    """Look at the resources of a run that say how long it waits, which --set-resources alters.

    Raises:
        InputError: one of them is no number of seconds, or so few that no run could be carried out.
    """
    for name, least in (("gpu_wait_seconds", 0), ("no_progress_seconds", 1)):
        value = resources[name]
        if not isinstance(value, int) or value < least:
            raise InputError(
                f"the resource '{name}' of rule train is {value!r}, expected whole seconds, at least {least}; leave it "
                f"out for an hour, or give --set-resources train:{name}=7200"
            )


def _refuse_missing_cores(study: Study, devices: Sequence[Device], machine: Machine) -> None:
    # Snakemake hands out no more than these to a run, which would then not reserve what keeps others off.
    fewer = machine.max_threads is not None and (machine.cores is None or machine.max_threads < machine.cores)
    if fewer or machine.set_threads:
        option = "--max-threads" if fewer else "--set-threads"
        raise InputError(
            f"{option} alters how many cores runs reserve, expected that to follow from the config; leave it out, and "
            f"give threads in device_settings"
        )
    if machine.cores is None:
        return
    for device in devices:
        given = cores_of_run(device, study.isolation, machine.cores, gpus_side_by_side(study, machine))
        if device.threads != ALL_CORES and device.threads > given:
            raise InputError(
                f"the threads of '{device.name}' in device_settings are {device.threads}, but its runs get {given} of "
                f"{machine.cores} usable cores (--cores, the process' affinity and its cgroup counted); lower it or "
                f"give more cores"
            )


def gpus_side_by_side(study: Study, machine: Machine) -> int:
    """How many GPU runs may share the cores."""
    cards = device_cards.in_use(study.selected_devices(), machine.cards)
    counts = [count for count in (len(cards), machine.gpu_limit) if count]
    return min(counts, default=1)


def gpu_warning(study: Study, machine: Machine, *, is_auto: bool) -> str | None:
    """What should be known of the GPUs before a study begins that uses them, or would with `devices: auto`."""
    wants_gpus = any(device.gpus for device in study.selected_devices())
    if machine.gpus is None or not (wants_gpus or is_auto):
        return None
    choice = device_cards.choice(study.selected_devices(), machine.gpus.cards)
    told = [*machine.gpus.doubts, *([choice] if choice else [])]
    if told and is_auto and not machine.gpus.cards:
        told.append("so 'devices: auto' measures the CPU alone")
    return f"GPUs: {'; '.join(told)}." if told else None


def needed_memory_mib(spec: ModelSpec, batch_size: int, shape: Shape) -> float:
    """Lower bound of a run's memory: data set, one step's activations, parameters with gradient and optimiser."""
    data = (shape.train_samples + shape.test_samples) * shape.height * shape.width
    activations = batch_size * spec.activations_per_example
    parameters = 3 * spec.parameter_count
    return (data + activations + parameters) * BYTES_PER_FLOAT32 / BYTES_PER_MIB


def _refuse_missing_memory(study: Study, runs: Collection[Run], shape: Shape, machine: Machine) -> None:
    if machine.memory_mib is None:
        return
    images = ImageShape(shape.height, shape.width, classes=2)
    for model in dict.fromkeys(run.model for run in runs):
        batch_size = max(run.batch_size for run in runs if run.model == model)
        spec = MODELS[model].specify(images, study.model_settings[model].hyperparameters)
        needed = needed_memory_mib(spec, batch_size, shape)
        if needed > machine.memory_mib:
            raise InputError(
                f"not enough memory for model '{model}' at batch size {batch_size}: it needs at least {needed:.0f} "
                f"MiB, found {machine.memory_mib:.0f} MiB available; choose smaller batch_sizes or free memory"
            )


def _refuse_missing_disk(runs: Collection[Run], to_prepare: Shape | None, machine: Machine) -> None:
    """Compare what is written into each folder with the disk that it lies on; `to_prepare` is None where nothing is."""
    needed_mib = {RUNS_FOLDER: DISK_MIB_PER_RUN * len(runs), RECORDS_FOLDER: RECORDS_MIB_PER_RUN * len(runs)}
    if to_prepare is not None:
        values = (to_prepare.train_samples + to_prepare.test_samples) * to_prepare.height * to_prepare.width
        needed_mib[DATA_FOLDER] = values / BYTES_PER_MIB
    for disk in machine.disks or ():
        written = [folder for folder in disk.folders if folder in needed_mib]
        needed = sum(needed_mib[folder] for folder in written)
        if needed > disk.free_mib:
            elsewhere = (
                "give another working folder with --directory"
                if written == [RECORDS_FOLDER]
                else "make results/ a link to a folder on another disk"
            )
            raise InputError(
                f"not enough disk space for {' and '.join(f'{folder}/' for folder in written)}: {len(runs)} runs"
                f"{' and the prepared data set' if DATA_FOLDER in written else ''} need about {_mib(needed)} MiB, "
                f"found {_mib(disk.free_mib)} MiB free; free some, or {elsewhere}"
            )


def _mib(amount: float) -> str:
    """Whole numbers, but two digits of what is less than one."""
    return f"{amount:.0f}" if amount >= 1 else f"{amount:.2g}"
